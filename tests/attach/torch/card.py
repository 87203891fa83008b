# What attaching costs on a card and what it sees there: card.py STEPTOP FOLDER. Programs in turns, alone and attached, and under
# torch.profiler; then what a report must say of each. Prints rows "what<TAB>measured<TAB>goal<TAB>verdict" for scripts/gpu-check.
# PARTS: which (eager graph bound turns plain large compiled); TURNS: pairs of programs; SECONDS: no part begins after so many.
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import time

import turns

HERE = os.path.dirname(os.path.abspath(__file__))
STEPTOP, FOLDER = sys.argv[1], sys.argv[2]
TURNS = int(os.environ.get("TURNS", "3"))
PARTS = os.environ.get("PARTS", "eager graph bound turns plain large compiled").split()
END = time.monotonic() + float(os.environ.get("SECONDS", "3600"))
PROGRAM_S = 90
failed = []


def row(what, measured, goal, good):
    print("%s\t%s\t%s\t%s" % (what, measured, goal, "ok" if good else "MISSED"), flush=True)
    if not good:
        failed.append(what)


def program(mode, *more):
    done = subprocess.run([sys.executable, os.path.join(HERE, "card_program.py"), mode, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=PROGRAM_S)
    return json.loads(done.stdout.splitlines()[-1])


def attached(mode):
    report = os.path.join(FOLDER, "attach-%s.json" % mode)
    done = subprocess.run(
        [STEPTOP, "attach", "--batch", "--json", report, "-o", report.replace(".json", ".yaml"), "--", sys.executable, os.path.join(HERE, "card_program.py"), mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=PROGRAM_S,
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


def in_turns(mode, turns):
    # Neighbours in time are compared: the host's own pace wanders more than what is asked for.
    alone, beside, cell = [], [], None
    for turn in range(turns):
        if turn and time.monotonic() > END:
            break
        alone.append(program(mode))
        one, cell = attached(mode)
        beside.append(one)
        print("# %s: alone %.2f ms (least block %.2f), attached %.2f (%.2f)" % (mode, *(f(r["ms"]) for r in (alone[-1], one) for f in (statistics.mean, min))), flush=True)
    return alone, beside, cell


def judge(mode, goal, turns, beside_profiler=True):
    alone, beside, cell = in_turns(mode, turns)
    ratio = statistics.median([statistics.mean(b["ms"]) / statistics.mean(a["ms"]) for a, b in zip(alone, beside)])
    floors = min(min(b["ms"]) for b in beside) / min(min(a["ms"]) for a in alone)
    row("attached, %s, mean of whole runs, ratio" % mode, "%.3f" % ratio, goal, ratio <= goal)
    row("attached, %s, least block of ten, ratio" % mode, "%.3f" % floors, goal, floors <= goal)
    row("  losses to the last bit, %s" % mode, len({r["loss"] for r in alone + beside}), 1, len({r["loss"] for r in alone + beside}) == 1)
    overhead = cell["passes"]["train_step"].get("overhead") or {}
    print("# %s recorded: %s; steps: %s; overhead of a recorded step %s" % (mode, notes(cell).get("recorded"), notes(cell).get("steps"), overhead.get("median")))
    named = share_with_a_name(cell)
    row("  kernel time with a layer or a phase, %s, %%" % mode, "%.2f" % (100 * named), 98, named >= 0.98)
    if beside_profiler:
        profiled = program(mode, "profile")
        theirs = statistics.mean(profiled["ms"]) / statistics.median([statistics.mean(a["ms"]) for a in alone])
        row("  torch.profiler, %s, ratio" % mode, "%.3f" % theirs, "more", theirs > ratio)
    return cell


def whole_steps(cell, mode):
    # What is recorded of a step is all of it: each kernel as often as there are steps, or a multiple; but for one step before it was known
    # what the steps are.
    steps = cell["passes"]["train_step"]["profiled_steps"]
    of_pass = [k for k in cell["kernels"] if k["pass"] == "train_step" and k["calls"] >= steps]
    odd = [k for k in of_pass if abs(k["calls"] - round(k["calls"] / steps) * steps) > k["calls"] / steps]
    for kernel in odd[:4]:
        print("# %s: %d calls of %s in %d steps" % (mode, kernel["calls"], kernel["name"][:60], steps))
    row("  kernels that are in each recorded step, %s" % mode, len(of_pass) - len(odd), len(of_pass), not odd)


def work(cell):
    # By shapes, forward and backward: products of 4 × 256 tokens in 12 layers and the head, and attention's causal half.
    tokens, width, layers, heads, length, vocabulary = 1024, 768, 12, 12, 256, 50257
    products = 3 * 2 * tokens * (layers * 12 * width * width + width * vocabulary)
    pairs = 4 * heads * layers * length * (length + 1) // 2
    expected = products + 7 * 2 * pairs * (width // heads)
    found = cell.get("step_flops", {}).get("train_step")
    print("# flops: " + notes(cell).get("flops", "no note"))
    row("  GFLOP of a step by its shapes", "%.3f" % ((found or 0) / 1e9), "%.3f" % (expected / 1e9), found == expected)
    step = cell["passes"]["train_step"]["profiled_steps"]
    kernels = sum(k.get("flops") or 0 for k in cell["kernels"] if k["pass"] == "train_step")
    row("  GFLOP on kernels of their layers, a step", "%.3f" % (kernels / step / 1e9), "99.9 %", abs(kernels / step / expected - 1) < 0.001)


def memory(cell):
    said = notes(cell).get("memory", "")
    print("# memory: " + said)
    share = float(said.split(": ")[-1].rstrip(" %")) if "%" in said else 0
    row("  kept for backward and outputs, of the allocator's, %", "%.1f" % share, "98..102", 98 <= share <= 102)


def bound(mode, reason):
    _, cell = attached(mode)
    idle = cell["passes"]["train_step"]["idle"]
    reasons = {key: value for key, value in idle.items() if key.endswith("_ns") and key not in ("total_ns", "sync_layer_ns")}
    print("# %s: %s" % (mode, ", ".join("%s %.2f ms" % (key[:-3], value / 1e6) for key, value in sorted(reasons.items()) if value)))
    known = 1 - idle["unknown_ns"] / idle["total_ns"]
    row("idle with a reason, %s, %%" % mode, "%.1f" % (100 * known), 90, known >= 0.9)
    largest = max(reasons, key=reasons.get)
    row("  the largest reason, %s" % mode, largest[:-3], reason[:-3], largest == reason)


def in_rounds():
    # All ways in turns. What is recorded in bursts is judged by the mean of all turns, the others by the median of theirs.
    goals = {"hook in, nothing recorded": 1.005, "left after a step": 1.01, "layers alone": 1.01, "attached": 1.12}
    rounds = turns.measure(STEPTOP, FOLDER, "card", int(os.environ.get("ROUNDS", "24")), ["alone", "alone again", *goals])
    turns.table(rounds, ["alone again", *goals])
    for way, goal in goals.items():
        found, low, high = (turns.mean_ratio if way == "attached" else turns.median_ratio)(rounds, way, 0)
        row("eager in turns, %s, ratio" % way, "%.3f [%.3f, %.3f]" % (found, low, high), goal, found <= goal)


def plain():
    # Programs of C: of the driver's own calls, and of a runtime that is linked into them. Nothing may be missing.
    for name in ("driver", "runtime"):
        path = os.path.join(os.path.dirname(os.path.abspath(STEPTOP)), "tests", "card_" + name)
        if not os.path.exists(path):
            print("# no %s" % path)
            continue
        report = os.path.join(FOLDER, "attach-%s.json" % name)
        done = subprocess.run([STEPTOP, "attach", "--batch", "--json", report, "-o", report.replace(".json", ".yaml"), "--", path, "6"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=PROGRAM_S)
        said = json.loads(done.stdout.splitlines()[-1])
        with open(report) as file:
            cell = json.load(file)["cells"][0]
        calls = sum(k["calls"] for k in cell["kernels"] if k["name"] == "add_one")
        print("# %s: steps %s; recorded %s" % (name, notes(cell).get("steps"), notes(cell).get("recorded")))
        row("a %s program's result after its launches" % name, said["result"], said["launches"], done.returncode == 0 and said["result"] == said["launches"])
        # Windows of a second are its steps: four of them after the first, whose beginning nobody saw; then recording pauses.
        windows = next(iter(cell["passes"].values()))
        a_second = said["launches"] / said["seconds"]
        row("  launches seen in a second that is recorded", "%.0f" % (calls / windows["profiled_steps"]), "%.0f" % a_second, abs(calls / windows["profiled_steps"] / a_second - 1) < 0.25)
        row("  records that were lost", cell.get("dropped", 0), 0, not cell.get("dropped"))
        idle = windows.get("idle")
        if not idle:
            row("  idle with a reason, %s" % name, "none was told of", 90, False)
            continue
        known = 1 - idle["unknown_ns"] / idle["total_ns"]
        row("  idle with a reason, %%, most %s" % max((k for k in idle if k.endswith("_ns") and k not in ("total_ns", "sync_layer_ns")), key=idle.get)[:-3], "%.1f" % (100 * known), 90, known >= 0.9)


def eager():
    cell = judge("eager", 1.12, TURNS)
    work(cell)
    memory(cell)


def all_bound():
    # Programs that wait for one thing each do not disturb each other much: side by side.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for done in [pool.submit(bound, *which) for which in (("item", "sync_ns"), ("loader", "data_ns"), ("tiny", "launch_ns"))]:
            done.result()


for part, run in {
    "eager": eager,
    "graph": lambda: whole_steps(judge("graph", 1.05, max(1, TURNS - 1)), "graph"),
    "bound": all_bound,
    "turns": in_rounds,
    "plain": plain,
    "large": lambda: judge("large", 1.12, 1, beside_profiler=False),
    "compiled": lambda: judge("compiled", 1.05, 1),
}.items():
    if part not in PARTS:
        continue
    if time.monotonic() > END:
        print("# %s: no time left" % part)
        continue
    try:
        run()
    except Exception as error:  # the others are asked all the same
        row(part, type(error).__name__ + ": " + str(error).replace("\n", " ")[:160], "", False)
sys.exit(1 if failed else 0)
