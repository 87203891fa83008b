# What attaching costs on a card and what it sees there: card.py STEPTOP FOLDER. Programs in turns, alone and attached, and under
# torch.profiler; then what a report must say of each. Prints rows "what<TAB>measured<TAB>goal<TAB>verdict" for scripts/gpu-check.
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
STEPTOP, FOLDER = sys.argv[1], sys.argv[2]
TURNS = int(os.environ.get("TURNS", "3"))
failed = []


def row(what, measured, goal, good):
    print("%s\t%s\t%s\t%s" % (what, measured, goal, "ok" if good else "MISSED"), flush=True)
    if not good:
        failed.append(what)


def program(mode, *more):
    done = subprocess.run([sys.executable, os.path.join(HERE, "card_program.py"), mode, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def attached(mode):
    report = os.path.join(FOLDER, "attach-%s.json" % mode)
    done = subprocess.run(
        [STEPTOP, "attach", "--batch", "--json", report, "-o", report.replace(".json", ".yaml"), "--", sys.executable, os.path.join(HERE, "card_program.py"), mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with open(report) as file:
        return json.loads(done.stdout.splitlines()[-1]), json.load(file)["cells"][0]


def notes(cell):
    return {note["key"]: note["text"] for note in cell["notes"]}


def share_with_a_name(cell):
    named = total = 0
    for entry in cell["kernel_layers"]:
        phase = cell["kernels"][entry["kernel"]]["phase"]
        total += entry["total_ns"]
        named += entry["total_ns"] if entry.get("layer") is not None or phase in ("fwd", "bwd", "loss", "opt", "recompute") else 0
    return named / total


for mode, goal in (("eager", 1.12), ("graph", 1.05)):
    # Neighbours in time are compared: the host's own pace wanders more than what is asked for.
    alone, beside, cell = [], [], None
    for _ in range(TURNS):
        one = program(mode)
        alone.append(one)
        two, cell = attached(mode)
        beside.append(two)
    ratios = [statistics.mean(b["ms"]) / statistics.mean(a["ms"]) for a, b in zip(alone, beside)]
    floors = min(min(b["ms"]) for b in beside) / min(min(a["ms"]) for a in alone)
    profiled = program(mode, "profile")
    ratio = statistics.median(ratios)
    theirs = statistics.mean(profiled["ms"]) / statistics.median([statistics.mean(a["ms"]) for a in alone])
    print("# %s alone %s ms, attached %s ms, torch.profiler %.2f ms" % (mode, *(" ".join("%.2f" % statistics.mean(r["ms"]) for r in runs) for runs in (alone, beside)), statistics.mean(profiled["ms"])))
    row("attached, %s, mean of whole runs, ratio" % mode, "%.3f" % ratio, goal, ratio <= goal)
    row("attached, %s, least block of ten, ratio" % mode, "%.3f" % floors, goal, floors <= goal)
    row("  torch.profiler, %s, ratio" % mode, "%.3f" % theirs, "more", theirs > ratio)
    row("  losses to the last bit, %s" % mode, len({r["loss"] for r in alone + beside}), 1, len({r["loss"] for r in alone + beside}) == 1)
    overhead = cell["passes"]["train_step"].get("overhead") or {}
    print("# %s recorded: %s; steps: %s; overhead of a recorded step %s" % (mode, notes(cell).get("recorded"), notes(cell).get("steps"), overhead.get("median")))
    named = share_with_a_name(cell)
    row("  kernel time with a layer or a phase, %s, %%" % mode, "%.2f" % (100 * named), 98, named >= 0.98)
    if mode == "eager":
        memory = notes(cell).get("memory", "")
        print("# memory: " + memory)
        share = float(memory.split(": ")[-1].rstrip(" %")) if "%" in memory else 0
        row("  kept for backward and outputs, of the allocator's, %", "%.1f" % share, "98..102", 98 <= share <= 102)
for mode, reason in (("item", "sync_ns"), ("loader", "data_ns"), ("tiny", "launch_ns")):
    _, cell = attached(mode)
    idle = cell["passes"]["train_step"]["idle"]
    reasons = {key: value for key, value in idle.items() if key.endswith("_ns") and key not in ("total_ns", "sync_layer_ns")}
    print("# %s: %s" % (mode, ", ".join("%s %.2f ms" % (key[:-3], value / 1e6) for key, value in sorted(reasons.items()) if value)))
    known = 1 - idle["unknown_ns"] / idle["total_ns"]
    row("idle with a reason, %s, %%" % mode, "%.1f" % (100 * known), 90, known >= 0.9)
    largest = max(reasons, key=reasons.get)
    row("  the largest reason, %s" % mode, largest[:-3], reason[:-3], largest == reason)
sys.exit(1 if failed else 0)
