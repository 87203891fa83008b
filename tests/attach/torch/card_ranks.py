# Ranks of PyTorch that torchrun started, under one steptop attach: card_ranks.py STEPTOP FOLDER RANKS. DistributedDataParallel by NCCL on a
# card each, by gloo where DEVICE=cpu. Prints rows "what<TAB>measured<TAB>goal<TAB>verdict", as card.py does. Neither of the two runs is waited for
# longer than RUN_LIMIT seconds (300): each imports PyTorch three times, some 20 s of processor time.
import json
import os
import signal
import subprocess
import sys
import time

STEPS, WIDTH, LAYERS, BATCH, LENGTH, VOCABULARY = 30, 768, 12, 4, 256, 10000
if os.environ.get("DEVICE") == "cpu":
    WIDTH, LAYERS, BATCH, LENGTH, VOCABULARY = 64, 2, 2, 32, 256


def program():
    import torch
    import torch.distributed as dist
    import torch.nn as nn
    import torch.nn.functional as F

    cards = os.environ.get("DEVICE") != "cpu"
    local = int(os.environ["LOCAL_RANK"])
    device = "cuda:%d" % local if cards else "cpu"
    if cards:
        torch.cuda.set_device(local)
    else:
        torch.set_num_threads(1)
    dist.init_process_group("nccl" if cards else "gloo")
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            return x + self.down(F.gelu(self.up(self.norm(x))))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)
            self.layers = nn.ModuleList(Block() for _ in range(LAYERS))

        def forward(self, x):
            x = self.tokens(x)
            for layer in self.layers:
                x = layer(x)
            return self.head(x)

    model = nn.parallel.DistributedDataParallel(Model().to(device), device_ids=[local] if cards else None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.randint(0, VOCABULARY, (BATCH, LENGTH), device=device)
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(ids).view(-1, VOCABULARY), ids.view(-1))
        loss.backward()
        optimizer.step()
        value = loss.item()
        times.append(time.perf_counter() - start)
    if dist.get_rank() == 0:
        print(json.dumps({"ms": 1e3 * sorted(times[5:])[len(times[5:]) // 2], "loss": value.hex()}), flush=True)
    dist.destroy_process_group()


def row(what, measured, goal, good):
    print("%s\t%s\t%s\t%s" % (what, measured, goal, "ok" if good else "MISSED"), flush=True)


def run(words, path):
    # Into files: what a killed launcher leaves behind would hold pipes open, and whoever reads them to their end would wait for it.
    limit = int(os.environ.get("RUN_LIMIT", "300"))
    with open(path + ".out", "w+") as out, open(path + ".err", "w+") as err:
        started = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        try:
            code = str(started.wait(limit))
        except subprocess.TimeoutExpired:
            code = "none in %d s" % limit
            for number in (signal.SIGTERM, signal.SIGKILL):  # torchrun ends its ranks, which have sessions of their own, when it is asked to
                try:
                    os.killpg(started.pid, number)
                    started.wait(20)
                    break
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass
        out.seek(0)
        err.seek(0)
        said = [json.loads(line) for line in out if line.startswith("{")]
        return code, err.read(), said[-1] if said else {"ms": float("nan"), "loss": ""}


def main():
    steptop, folder, ranks = sys.argv[1], sys.argv[2], int(sys.argv[3])
    report = os.path.join(folder, "attached-ranks.json")
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks), os.path.abspath(__file__)]
    plain, plain_errors, alone = run(started, os.path.join(folder, "attached-alone"))
    done, errors, under = run([steptop, "attach", "--batch", "--json", report, "-o", report.replace(".json", ".yaml"), "--"] + started, report.replace(".json", ""))
    row("%d ranks of torchrun, exit codes alone, attached" % ranks, "%s, %s" % (plain, done), "0, 0", plain == done == "0")
    if plain != "0" or done != "0" or not os.path.exists(report):
        print((plain_errors + errors)[-2000:], file=sys.stderr)
        row("attached ranks in the report", "none", ranks, False)
        return
    with open(report) as file:
        cell = json.load(file)["cells"][0]
    found = cell.get("ranks", [])
    row("attached ranks in the report", len(found), ranks, len(found) == ranks)
    # Steps that are recorded: on the CPU the first sixteen at least, less two of warm-up; on a card one burst before the first pause.
    least = 14 if os.environ.get("DEVICE") == "cpu" else 2
    row("recorded steps of each", ", ".join(str(one.get("steps")) for one in found), least, all(one.get("steps", 0) >= least for one in found))
    waited = [one.get("exposed_ns", 0) / 1e6 for one in found]
    row("ms a step of each with nothing but a collective", ", ".join("%.3f" % ms for ms in waited), "> 0", len(waited) == ranks and all(ms > 0 for ms in waited))
    named = sorted({kernel["name"] for kernel in cell["kernels"] if kernel.get("class") == "collective"})
    print("collectives: " + ", ".join(named)[:300], file=sys.stderr)
    row("same loss to the last bit", under["loss"], alone["loss"], under["loss"] == alone["loss"] != "")
    row("attached / alone, ms a step", "%.3f / %.3f = %.3f" % (under["ms"], alone["ms"], under["ms"] / alone["ms"]), "", True)


main() if len(sys.argv) > 1 else program()
