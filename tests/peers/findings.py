# Proof of the rules: programs that are bound in exactly one way, each with its cured twin, in turns. The rule must be the first finding on
# the first, be absent on the second, and have promised no less than the cure gave. Needs PyTorch for those with one; prints a table.
#   findings.py STEPTOP FOLDER [CASE...]
import json
import os
import statistics
import subprocess
import sys

PROGRAM = r"""
import os, sys, time, torch
import torch.nn.functional as F
torch.set_num_threads(1)
torch.manual_seed(0)
device = os.environ.get("DEVICE", "cpu")
case, ill = sys.argv[1], sys.argv[2] == "ill"
D, NARROW = 192, 16

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(D, 4 * D), torch.nn.Linear(4 * D, D)
    def forward(self, x):
        if case == "layout" and ill:
            for _ in range(60):
                x = x.transpose(0, 1).contiguous().transpose(0, 1).contiguous()
        if case == "launch" and ill:
            until = time.perf_counter() + 0.02
            while time.perf_counter() < until:
                pass
        if case == "sync" and ill:
            x.sum().item()
        return x + self.b(F.gelu(self.a(x)))

class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(D, 3 * D), torch.nn.Linear(D, D)
    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = (y.view(n, t, 6, D // 6).transpose(1, 2) for y in self.qkv(x).split(D, 2))
        if ill:
            s = q @ k.transpose(-2, -1) / (D // 6) ** 0.5
            s = s.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
            y = torch.softmax(s, -1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(y.transpose(1, 2).reshape(n, t, D))

blocks = [Block() for _ in range(1 if case == "optimizer" else 4)]
if case == "attention":
    blocks = [Attention() for _ in range(3)]
if case == "optimizer":
    blocks = [torch.nn.Sequential(*[torch.nn.Linear(D, D) for _ in range(40)])]
if case == "loss":  # a narrow head over a large vocabulary
    blocks.append(torch.nn.Linear(D, NARROW))
model = torch.nn.Sequential(*blocks).to(device)
head = torch.nn.Linear(NARROW if case == "loss" else D, 32000 if case == "loss" else 100).to(device)
parameters = list(model.parameters()) + list(head.parameters())
if case == "optimizer":
    optimizer = torch.optim.AdamW(parameters, **({"foreach": False} if ill else {"fused": True}))
else:
    optimizer = torch.optim.SGD(parameters, lr=1e-3)
shape = {"attention": (2, 512, D), "optimizer": (256, D), "loss": (256, D), "layout": (16, 64, D)}.get(case, (512, D))
x = torch.randn(*shape)
rows = x.numel() // D
y = torch.randint(0, 100, (rows,))
if case == "precision":
    torch.set_float32_matmul_precision("highest" if ill else "high")
if case != "copies" or not ill:
    x = x.to(device)
y = y.to(device)

def work(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 60
    def __getitem__(self, index):
        if ill and case == "input":
            time.sleep(0.04)
        if ill and case == "starved":
            work(0.15)
        return index

run = model
if case == "recompile":
    run = torch.compile(model, backend="aot_eager", dynamic=False)
    for _ in range(3):  # its first graph is warm-up's
        run(x).sum().backward()
loader = None
if case in ("input", "starved"):
    loader = torch.utils.data.DataLoader(Data(), batch_size=None, num_workers=1 if case == "starved" else 0)
kept = []
for step in loader if loader else range(60):
    if case == "outside" and ill:
        time.sleep(0.04)
    if case == "stall" and ill and step % 10 == 9:
        time.sleep(0.5)
    batch = x
    if case == "recompile" and ill and step % 6 == 5:
        batch = x[: rows - step]
    h = run(batch.to(device)).reshape(len(batch) if case == "recompile" else rows, -1)
    if case == "loss" and not ill:
        logits, target = head(h)[:, :1000], y
    else:
        logits, target = head(h), y[: len(h)]
    loss = F.cross_entropy(logits, target)
    optimizer.zero_grad()
    loss.backward()
    if case == "creep" and ill:
        kept.append(torch.ones(1 << 20) * step)
    optimizer.step()
"""

OWN = ["--d-model", "128", "--d-ff", "256", "--num-layers", "4", "--num-heads", "4", "--vocab-size", "512", "--batch-size", "4",
       "--passes", "train_step", "--warmup", "5", "--steps", "40", "--batch", "--quiet"]
CASES = {  # rule: (ill, cured) arguments of a run of our own, or a program above
    "threads": (["--context-length", "128", "--threads", "1"], ["--context-length", "128"]),
    "recompute": (["--context-length", "128", "--checkpoint", "block"], ["--context-length", "128"]),
    "fusion": (["--context-length", "64", "--d-ff", "1024"], ["--context-length", "64", "--d-ff", "1024", "--compile", "true"]),
    "input": None, "outside": None, "launch": None, "optimizer": None, "layout": None, "loss": None, "attention": None, "stall": None,
    "starved": None, "recompile": None, "creep": None,
    "sync": None, "copies": None, "precision": None,  # on a card: DEVICE=cuda
}
RULE = {"starved": "input"}  # where a case is not called as its rule
WORDS = {"starved": "1 worker computes all the time", "input": "no workers and mostly waits itself"}  # that its sentence holds
NO_GAIN = ("creep",)  # rules that cannot tell
CARD = ("sync", "copies", "precision")
TURNS = int(os.environ.get("TURNS", "3"))


def arguments(base, more):
    keys = set(more[::2])
    kept = []
    i = 0
    while i < len(base):
        if base[i] in keys:
            i += 2
            continue
        kept.append(base[i])
        i += 1
    return kept + more


def measure(steptop, folder, case, ill):
    path = os.path.join(folder, "%s-%s.yaml" % (case, "ill" if ill else "cured"))
    own = CASES[case]
    if own:
        command = [steptop, "run"] + arguments(OWN, own[0 if ill else 1]) + ["-o", path]
    else:
        program = os.path.join(folder, "program.py")
        with open(program, "w") as file:
            file.write(PROGRAM)
        python = os.environ.get("PYTHON", sys.executable)
        command = [steptop, "attach", "--batch", "--skip", "3", "-o", path, "--", python, program, case, "ill" if ill else "cured"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cell = json.loads(subprocess.run([steptop, "report", path, "--format", "json"], check=True, capture_output=True).stdout)["cells"][0]
    return cell["passes"]["train_step"]["phases"]["total"], cell.get("findings", [])


def main():
    steptop, folder = sys.argv[1], sys.argv[2]
    failed = 0
    print("| case | first finding on it | promised | gave | on the cured twin |\n|:---|:---|---:|---:|:---|")
    for case in sys.argv[3:] or [case for case in CASES if case not in CARD]:
        turns = []
        for _ in range(TURNS):
            turns.append((measure(steptop, folder, case, True), measure(steptop, folder, case, False)))
        rule = RULE.get(case, case)
        # The rules that speak of single steps speak of the mean, the others of the median.
        which = "mean_ns" if rule in ("stall", "recompile") else "median_ns"
        gave = [1 - cured[0][which] / ill[0][which] for ill, cured in turns]
        first = [ill[1][0]["rule"] if ill[1] else "none" for ill, _ in turns]
        own = [f for ill, _ in turns for f in ill[1] if f["rule"] == rule]
        promised = [f["gain"] for f in own if "gain" in f]
        after = [",".join("%s %.0f %%" % (f["rule"], 100 * f.get("gain", 0)) for f in cured[1]) or "none" for _, cured in turns]
        still = sum(rule in [f["rule"] for f in cured[1]] for _, cured in turns)
        said = all(WORDS.get(case, "") in f["sentence"] for f in own)
        kept = bool(own) if case in NO_GAIN else promised and max(promised) >= min(gave)
        good = first.count(rule) * 2 > TURNS and still * 2 < TURNS and kept and said
        failed += not good
        print("| %s%s | %s | %s | %.0f %% [%.0f, %.0f] | %s |" % (
            case, "" if good else " (FAILED)", ", ".join(sorted(set(first))),
            "%.0f %% [%.0f, %.0f]" % tuple(100 * f(promised) for f in (statistics.median, min, max)) if promised else "n/a",
            100 * statistics.median(gave), 100 * min(gave), 100 * max(gave), "; ".join(sorted(set(after)))), flush=True)
    return 1 if failed else 0


sys.exit(main())
