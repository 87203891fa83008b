# What attaching costs, in turns: turns.py STEPTOP FOLDER MODEL [ROUNDS]. One program a way of looking at it, all of them alive, each doing
# some steps in its turn: a shared machine's pace wanders by a third within seconds, and so weighs on all alike. Prints, of each way, the
# median of its turns' ratios to the program alone in the same round with an interval of 95 of 100, by the clock and by time on processors.
# MODEL: card (12 layers in bf16), small (operators of some 5 µs on a processor), middle (of some 50 µs).
import os
import random
import socket
import statistics
import subprocess
import sys
import time

MODELS = {  # device, width, heads, layers, length, batch, vocabulary, steps of a turn
    "card": ("cuda", 768, 12, 12, 256, 4, 1000, 8),
    "small": ("cpu", 64, 4, 4, 32, 2, 256, 3),
    "middle": ("cpu", 256, 4, 12, 64, 2, 512, 1),
}
ATTACH = {
    "hook in, nothing recorded": ["--steps", "1", "--", "env", "-u", "CUDA_INJECTION64_PATH"],
    "left after a step": ["--steps", "1", "--"],
    "layers alone": ["--detail", "layers", "--"],
    "attached": ["--"],
}
OTHERS = {"TraceML": "traceml", "gpuprof": "gpuprof", "torch.profiler": "torch.profiler"}


def make_step(model):
    """A step of the model, to call."""
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    device, width, heads, layers, length, batch, vocabulary, _ = MODELS[model]
    torch.manual_seed(0)
    if device == "cpu":
        torch.set_num_threads(1)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
            self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

        def forward(self, x):
            h = self.norm1(x)
            q, k, v = (p(h).view(batch, length, heads, -1).transpose(1, 2) for p in (self.q, self.k, self.v))
            x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape))
            return x + self.down(self.act(self.up(self.norm2(x))))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.layers = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

        def forward(self, ids):
            x = self.tokens(ids)
            for layer in self.layers:
                x = layer(x)
            return self.head(self.norm(x))

    with torch.device(device):
        net = Model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, **({"capturable": True} if device == "cuda" else {"foreach": False}))
    ids = torch.randint(0, vocabulary, (batch, length), device=device)

    def step():
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = F.cross_entropy(net(ids).view(-1, vocabulary), ids.view(-1))
        loss.backward()
        optimizer.step()

    return step, net


def member(model, other):
    import torch

    step, net = make_step(model)
    wait = torch.cuda.synchronize if MODELS[model][0] == "cuda" else lambda: None
    if other == "traceml":
        import traceml_ai

        traceml_ai.init(mode="auto", on_missing_aggregator="warn")  # by `traceml run`, where there is one
        inner = step

        def step():
            with traceml_ai.trace_step(net):
                inner()
    elif other == "gpuprof":
        import gpuprof

        gpuprof.profile("turns", summary=False).__enter__()

    def turn(steps):
        step()  # whoever was away first finds its things again
        wait()
        start, busy = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        busy = time.process_time() - busy
        wait()
        return (time.perf_counter() - start) * 1e3 / steps, busy * 1e3 / steps

    for _ in range(4):
        step()
    # Not by its input and output, which some of those that look on keep.
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ["TURNS_SOCKET"])
        with line.makefile("rw") as words:
            print(os.environ["TURNS_WAY"], file=words, flush=True)
            for word in iter(words.readline, ""):
                if other == "torch.profiler":
                    with torch.profiler.profile():
                        done = turn(int(word))
                else:
                    done = turn(int(word))
                print("%.6f %.6f" % done, file=words, flush=True)


def interval(values, of):
    # By resampling: 95 of 100.
    choose = random.Random(0)
    found = sorted(of(choose.choices(values, k=len(values))) for _ in range(2000))
    return found[50], found[1949]


def ratios(rounds, way, which):
    return [now[way][which] / now["alone"][which] for now in rounds if way in now]


def mean_ratio(rounds, way, which):
    # Of all that was done: what is recorded in bursts costs in some turns and not in others.
    both = [(now[way][which], now["alone"][which]) for now in rounds if way in now]
    of = lambda some: sum(a for a, _ in some) / sum(b for _, b in some)
    return of(both), *interval(both, of)


def median_ratio(rounds, way, which):
    found = ratios(rounds, way, which)
    return statistics.median(found), *interval(found, statistics.median)


def measure(steptop, folder, model, rounds, ways):
    """A list of rounds: of each way the ms that a step took and that it was on processors."""
    members, lines, done = {}, {}, []
    path = os.path.join(folder, "turns.sock")
    with socket.socket(socket.AF_UNIX) as door:
        if os.path.exists(path):
            os.unlink(path)
        door.bind(path)
        door.listen()
        door.settimeout(float(os.environ.get("START_SECONDS", "300")))
        mine = [sys.executable, os.path.abspath(__file__), "member", model]
        for way in ways:
            command = mine + [OTHERS.get(way, "-")]
            if way in ATTACH:
                command = [steptop, "attach", "--batch", "-o", os.path.join(folder, "turns-%d.yaml" % len(members)), *ATTACH[way]] + command
            if way == "TraceML":
                command = [os.path.join(os.path.dirname(sys.executable), "traceml"), "run", "--logs-dir", folder, mine[1], "--args", *command[2:]]
            members[way] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                            env={**os.environ, "TURNS_SOCKET": path, "TURNS_WAY": way})
        try:
            while len(lines) < len(members):
                line = door.accept()[0].makefile("rw")
                lines[line.readline().strip()] = line
        except socket.timeout:
            print("# did not begin: " + ", ".join(way for way in members if way not in lines), flush=True)
    try:
        for _ in range(rounds):
            now = {}
            for way in random.sample(list(lines), len(lines)):
                print(MODELS[model][-1], file=lines[way], flush=True)
                now[way] = [float(word) for word in lines[way].readline().split()]
            done.append(now)
    finally:
        for line in lines.values():
            line.close()
        for one in members.values():
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.kill()
    return done


def least(values):
    return sorted(values)[len(values) // 10]


def least_ratio(rounds, way, which):
    # Of the tenth that was disturbed least: on a machine that others use.
    both = [(now[way][which], now["alone"][which]) for now in rounds if way in now]
    of = lambda some: least([a for a, _ in some]) / least([b for _, b in some])
    return of(both), *interval(both, of)


def table(rounds, ways):
    if not rounds or "alone" not in rounds[0]:
        return print("nothing was measured")
    # Recording that comes in bursts is in some turns and not in others: there the mean says what it costs.
    heads = "by the clock, median", "on processors, median", "on processors, mean", "on processors, least tenth"
    print("%-28s " % "" + " ".join("%-26s" % head for head in heads))
    for way in ways:
        if way in rounds[0]:
            of = [median_ratio(rounds, way, 0), median_ratio(rounds, way, 1), mean_ratio(rounds, way, 1), least_ratio(rounds, way, 1)]
            print("%-28s " % way + " ".join("%.3f [%.3f, %.3f]     " % one for one in of), flush=True)
    alone = [[now["alone"][which] for now in rounds] for which in (0, 1)]
    print("alone: %.2f ms a step by the clock, %.2f on processors, medians of %d turns" % (*map(statistics.median, alone), len(rounds)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "member":
        member(*sys.argv[2:4])
    else:
        STEPTOP, FOLDER, MODEL = sys.argv[1:4]
        os.makedirs(FOLDER, exist_ok=True)
        WAYS = ["alone", "alone again", *ATTACH, *(OTHERS if MODELS[MODEL][0] == "cpu" else [])]
        table(measure(STEPTOP, FOLDER, MODEL, int(sys.argv[4]) if len(sys.argv) > 4 else 24, WAYS), WAYS[1:])
