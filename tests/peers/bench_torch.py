"""steptop's CPU step against PyTorch's, the same model and shapes, one process a side.

First PyTorch's best setting is looked for (attention as written or scaled_dot_product_attention, how waiting threads
wait, how memory is allocated), a fresh process each, unless --eager and --compile name it. Then that one and steptop take
turns, one step each; whoever does not have its turn is stopped (SIGSTOP), so that its waiting threads take nothing. Between
steps a third process measures what the machine does at that time: the best sgemm rate and the copy rate. Printed are
the ratios that matter, each the median of its pairs with the range, and the peaks of resident memory.
"""
import argparse
import os
import signal
import statistics
import subprocess
import sys
import time

PRESETS = {  # d_model, d_ff, layers, heads
    "tiny": (256, 1024, 4, 4), "S": (768, 3072, 12, 12), "M": (1024, 4096, 24, 16), "L": (1280, 5120, 36, 20),
}
VOCABULARY = 10000

ENVIRONMENTS = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "active": {"OMP_WAIT_POLICY": "active"},
    # Large blocks stay with the process and lie on huge pages: glibc's own switches.
    "kept memory": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824"
                                      ":glibc.malloc.trim_threshold=17179869184"},
    "passive, kept memory": {"OMP_WAIT_POLICY": "passive",
                             "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824"
                                               ":glibc.malloc.trim_threshold=17179869184"},
}


def build_model(preset, attention):
    """The model of the course, stated in PyTorch: pre-norm blocks, RoPE, SwiGLU, no biases, untied embeddings."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    width, hidden, layers, heads = PRESETS[preset]

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width))

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight

    def linear(wide_in, wide_out):
        layer = nn.Linear(wide_in, wide_out, bias=False)
        sigma = (2 / (wide_in + wide_out)) ** 0.5
        nn.init.trunc_normal_(layer.weight, std=sigma, a=-3 * sigma, b=3 * sigma)
        return layer

    def turn(x, cosine, sine):
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln1, self.ln2 = Norm(), Norm()
            self.q, self.k, self.v, self.o = (linear(width, width) for _ in range(4))
            self.w1, self.w3, self.w2 = linear(width, hidden), linear(width, hidden), linear(hidden, width)

        def forward(self, x, cosine, sine, mask):
            batch, context, _ = x.shape
            h = self.ln1(x)
            q, k, v = (f(h).view(batch, context, heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
            q, k = turn(q, cosine, sine), turn(k, cosine, sine)
            if attention == "sdpa":
                a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5
                a = torch.softmax(scores.masked_fill(mask, float("-inf")), dim=-1) @ v
            x = x + self.o(a.transpose(1, 2).reshape(batch, context, width))
            h = self.ln2(x)
            return x + self.w2(F.silu(self.w1(h)) * self.w3(h))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, width)
            nn.init.trunc_normal_(self.embedding.weight, std=1, a=-3, b=3)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = Norm(), linear(width, VOCABULARY)

        def forward(self, tokens, cosine, sine, mask):
            x = self.embedding(tokens)
            for block in self.blocks:
                x = block(x, cosine, sine, mask)
            return self.head(self.norm(x))

    return Model()


def peak_resident():
    """Of this process alone: what getrusage says starts with the parent's."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def serve(options):
    """One forward and backward a line of standard input; answers "seconds loss peak_resident_bytes"."""
    import torch
    from torch.nn import functional as F

    torch.manual_seed(0)
    torch.set_num_threads(options.threads or os.cpu_count())
    width, _, _, heads = PRESETS[options.model]
    model = build_model(options.model, options.attention).train()
    tokens, targets = (torch.randint(VOCABULARY, (options.batch, options.context)) for _ in range(2))
    size = width // heads
    angles = torch.arange(options.context)[:, None] * 10000.0 ** (-torch.arange(0, size, 2) / size)
    cosine, sine = angles.cos(), angles.sin()
    mask = torch.ones(options.context, options.context, dtype=torch.bool).triu(1)
    run = torch.compile(model) if options.compiled else model
    for _ in sys.stdin:
        model.zero_grad(set_to_none=True)
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bf16"):
            logits = run(tokens, cosine, sine, mask)
            loss = F.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))
        loss.backward()
        seconds = time.perf_counter() - start
        print(f"{seconds:.6f} {loss.item():.7g} {peak_resident()}", flush=True)


class Server:
    """A process that does one thing a line, stopped between its turns."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})
        self.stopped = False

    def ask(self, what="step"):
        if self.stopped:
            self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().split()
        if not line:
            raise RuntimeError(f"{self.process.args} ended without an answer")
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True
        return [float(field) for field in line]

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


def torch_server(options, case, compiled, setting):
    attention, environment = setting
    command = [sys.executable, __file__, "--serve", "--model", case[0], "--batch", str(options.batch), "--context",
               str(case[1]), "--attention", attention, "--threads", str(options.threads), "--dtype", options.dtype]
    return Server(command + (["--compiled"] if compiled else []), ENVIRONMENTS[environment])


def steptop_server(options, model, context, *flags, dtype=None):
    # Waiting threads as steptop's worker sets them.
    return Server([options.steptop, "--serve", "--model", model, "--batch", str(options.batch), "--context", str(context),
                   "--dtype", dtype or options.dtype, *flags], {"GOMP_SPINCOUNT": options.spin})


def best_setting(options, case, compiled):
    """The quickest of all attentions and environments: the least of some steps after one uncounted."""
    best = None
    for attention in options.attentions:
        for environment in options.environments:
            server = torch_server(options, case, compiled, (attention, environment))
            try:
                server.ask()
                seconds = min(server.ask()[0] for _ in range(options.trials))
            finally:
                server.end()
            print(f"  torch {'compile' if compiled else 'eager'}, {attention}, {environment}: {seconds:.3f} s",
                  flush=True)
            if best is None or seconds < best[0]:
                best = (seconds, (attention, environment))
    return best[1]


def in_turns(servers, rounds):
    """What each answered in each round, after one round that does not count."""
    try:
        for server, what in servers:
            server.ask(what)
        return [[server.ask(what) for server, what in servers] for _ in range(rounds)]
    finally:
        for server in {id(server): server for server, _ in servers}.values():
            server.end()


def row(case, what, ours, theirs, ratios, goal, format_one):
    """A line of the table: medians, the median of the ratios with their range, and whether the goal is met."""
    ratios = sorted(ratios)
    ratio = statistics.median(ratios)
    line = (f"| {case[0]}, {case[1]} | {what} | {format_one(statistics.median(ours))} "
            f"| {format_one(statistics.median(theirs))} | {ratio:.3f} | {ratios[0]:.3f} … {ratios[-1]:.3f} | {len(ratios)} "
            f"| {goal} | {'met' if ratio <= goal else 'missed'} |")
    print(line, flush=True)
    return line


def seconds(value):
    return f"{value:.3f} s"


def mebibytes(value):
    return f"{value / 2**20:.0f} MiB"


def against_torch(options, case, compiled, rounds):
    """One mode of both sides in turns, with the machine's sgemm rate between them."""
    mode = "compile" if compiled else "eager"
    setting = (options.compile if compiled else options.eager) or best_setting(options, case, compiled)
    ours = steptop_server(options, *case, *(["--compile"] if compiled else []))
    gemm_flops = ours.ask("about")[0]
    rates = steptop_server(options, "tiny", 32)
    answers = in_turns([(ours, "step"), (torch_server(options, case, compiled, setting), "step"), (rates, "rates")], rounds)
    a, b = [answer[0][0] for answer in answers], [answer[1][0] for answer in answers]
    name = f"{'torch.compile' if compiled else 'PyTorch eager'} ({', '.join(setting)})"
    goal = 0.8 if options.dtype == "bf16" else 0.85
    lines = [row(case, f"{mode} ÷ {name}", a, b, [x / y for x, y in zip(a, b)], goal, seconds)]
    if options.dtype == "bf16":
        lines.append(against_fp32(options, case, compiled, rounds))
    if compiled:
        rate = max(answer[2][0] for answer in answers)
        alone = gemm_flops / rate
        lines.append(row(case, f"compile ÷ its {gemm_flops / 1e9:.0f} GFLOP of linear layers at the run's best rate of products, "
                               f"{rate / 1e9:.1f} GFLOP/s", a, [alone], [x / alone for x in a], 1.15, seconds))
    return lines, answers[-1][0][2], answers[-1][1][2], name


def against_fp32(options, case, compiled, rounds):
    """bf16 and fp32 of steptop in turns."""
    flags = ["--compile"] if compiled else []
    answers = in_turns([(steptop_server(options, *case, *flags), "step"),
                        (steptop_server(options, *case, *flags, dtype="fp32"), "step")], rounds)
    a, b = [answer[0][0] for answer in answers], [answer[1][0] for answer in answers]
    return row(case, f"{'compile' if compiled else 'eager'}, bf16 ÷ steptop's fp32", a, b, [x / y for x, y in zip(a, b)],
               0.65, seconds)


def optimizer_alone(options, case, rounds):
    """What a training step takes beyond its own forward and backward, over the copy rate of the run. The difference of two
    whole steps would be smaller than their noise."""
    ours = steptop_server(options, *case, "--compile", "--pass", "train_step")
    parameters = ours.ask("about")[1]
    rates = steptop_server(options, "tiny", 32)
    answers = in_turns([(ours, "step"), (rates, "rates")], rounds)
    copy = max(answer[1][1] for answer in answers)
    extra = [answer[0][3] for answer in answers]
    floor = 28 * parameters / copy
    return row(case, f"train_step beyond its fwd_bwd ÷ 28 bytes a parameter at the run's copy rate, {copy / 1e9:.1f} GB/s",
               extra, [floor], [x / floor for x in extra], 1.3, seconds)


def compare(options, case, rounds):
    lines, peaks = [], {}
    for mode in options.modes:
        if mode == "train_step":
            lines.append(optimizer_alone(options, case, rounds))
            continue
        new, ours, theirs, name = against_torch(options, case, mode == "compile", rounds)
        lines += new
        peaks[mode] = (ours, theirs, name)
    for mode, (ours, _, _) in peaks.items():
        if "eager" in peaks:
            theirs, name = peaks["eager"][1:]
            lines.append(row(case, f"{mode}, peak resident ÷ {name}", [ours], [theirs], [ours / theirs], 0.6, mebibytes))
    return lines


def cpu_model():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown CPU"


def setting_of(text):
    attention, _, environment = text.partition(",")
    if attention not in ("sdpa", "written") or environment not in ENVIRONMENTS:
        raise argparse.ArgumentTypeError(f"'{text}': sdpa or written, a comma, and one of {', '.join(ENVIRONMENTS)}")
    return attention, environment


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steptop", default="build/bench/bench_cpu", help="the program bench_cpu")
    parser.add_argument("--model", default="S", choices=PRESETS)
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"], help="bf16: both sides' autocast")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0, help="PyTorch's threads; 0: one a core")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of one step each; with --all a third for the larger")
    parser.add_argument("--trials", type=int, default=2, help="steps for each setting of PyTorch, after one uncounted")
    parser.add_argument("--environments", nargs="+", default=list(ENVIRONMENTS), choices=ENVIRONMENTS)
    parser.add_argument("--attentions", nargs="+", default=["sdpa", "written"], choices=["sdpa", "written"])
    parser.add_argument("--eager", type=setting_of, help="PyTorch's setting, not looked for: sdpa,passive")
    parser.add_argument("--compile", type=setting_of, help="the same for torch.compile")
    parser.add_argument("--modes", nargs="*", default=["eager", "compile", "train_step"],
                        choices=["eager", "compile", "train_step"])
    parser.add_argument("--all", action="store_true", help="S, M, and S at context 1024")
    parser.add_argument("--search", action="store_true", help="look for PyTorch's best settings and end")
    parser.add_argument("--spin", default="1000", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--attention", default="written", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    import torch
    cases = [("S", 256), ("M", 256), ("S", 1024)] if options.all else [(options.model, options.context)]
    if options.search:
        for mode in options.modes:
            if mode != "train_step":
                best_setting(options, cases[0], mode == "compile")
        return
    lines = []
    for i, case in enumerate(cases):
        lines += compare(options, case, options.repeats if i == 0 else (options.repeats + 2) // 3)
    print(f"\n{time.strftime('%Y-%m-%d %H:%M')}, {cpu_model()}, {os.cpu_count()} cores, PyTorch {torch.__version__}, "
          f"batch {options.batch}, {options.dtype}, forward + backward; medians, and ratios with their range over rounds of turns\n")
    print("| model, context | what | steptop | against | ratio | range | n | goal | |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
