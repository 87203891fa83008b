# Ranks of PyTorch that torchrun started, under one steptop attach: card_ranks.py STEPTOP FOLDER RANKS. DistributedDataParallel by NCCL on a
# card each, by gloo where DEVICE=cpu. Prints rows "what<TAB>measured<TAB>goal<TAB>verdict", as card.py does.
import json
import os
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


def run(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, said[-1] if said else {"ms": float("nan"), "loss": ""}


def main():
    steptop, folder, ranks = sys.argv[1], sys.argv[2], int(sys.argv[3])
    report = os.path.join(folder, "attached-ranks.json")
    started = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(ranks), "--master_port", "29655", os.path.abspath(__file__)]
    plain, alone = run(started)
    done, under = run([steptop, "attach", "--batch", "--json", report, "-o", report.replace(".json", ".yaml"), "--"] + started)
    row("%d ranks of torchrun, exit codes alone, attached" % ranks, "%d, %d" % (plain.returncode, done.returncode), "0, 0", plain.returncode == done.returncode == 0)
    if plain.returncode or done.returncode or not os.path.exists(report):
        print((plain.stderr + done.stderr)[-2000:], file=sys.stderr)
        row("attached ranks in the report", "none", ranks, False)
        return
    with open(report) as file:
        cell = json.load(file)["cells"][0]
    found = cell.get("ranks", [])
    row("attached ranks in the report", len(found), ranks, len(found) == ranks)
    row("steps of each", ", ".join(str(one.get("steps")) for one in found), STEPS - 4, all(one.get("steps", 0) >= STEPS - 4 for one in found))
    moved = [one.get("communication_ns", 0) / 1e6 for one in found]
    row("communication ms a step of each", ", ".join("%.3f" % ms for ms in moved), "> 0", len(moved) == ranks and all(ms > 0 for ms in moved))
    named = sorted({kernel["name"] for kernel in cell["kernels"] if kernel.get("class") == "collective"})
    print("collectives: " + ", ".join(named)[:300], file=sys.stderr)
    row("same loss to the last bit", under["loss"], alone["loss"], under["loss"] == alone["loss"] != "")
    row("attached / alone, ms a step", "%.3f / %.3f = %.3f" % (under["ms"], alone["ms"], under["ms"] / alone["ms"]), "", True)


main() if len(sys.argv) > 1 else program()
