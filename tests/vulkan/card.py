"""The Vulkan device beside CUDA's on one card: card.py STEPTOP KEEP [PRODUCTS]. Runs model S by both, compiled and eager, and one
larger batch for the kernels that memory bounds; PRODUCTS is what bench_vulkan printed. Prints a row a goal, "what TAB measured TAB goal
TAB ok|MISSED", and what lies behind: products' fastest candidates, time a class of kernels. VULKAN and CUDA name the devices, MODEL,
STEPS, LARGE (batch x context), COMPILE, LIMIT (seconds a run). Exit status 1 when a figure is missing."""
import json
import os
import statistics
import subprocess
import sys

steptop, keep = sys.argv[1], sys.argv[2]
vulkan, cuda = os.environ.get("VULKAN", "vulkan:0"), os.environ.get("CUDA", "cuda:0")
missing = 0


def row(what, measured, goal, least):
    global missing
    if measured is None:
        missing += 1
        print("%s\tnone\t%s\tMISSED" % (what, goal))
        return
    good = measured >= goal if least else measured <= goal
    print("%s\t%.3f\t%s\t%s" % (what, measured, goal, "ok" if good else "MISSED"))
    sys.stdout.flush()


def run(name, device, dtypes, compiled, steps, batch, context):
    """The cells that have figures, by dtype and whether they were compiled."""
    report = os.path.join(keep, name + ".yaml")
    command = [steptop, "run", "--device", device, "--model", os.environ.get("MODEL", "S"), "--dtype", dtypes, "--compile", compiled,
               "--passes", "train_step", "--steps", str(steps), "--warmup", "5", "--batch-size", str(batch), "--context-length",
               str(context), "-o", report, "--batch", "-q"]
    with open(os.path.join(keep, name + ".log"), "w") as log:
        try:
            subprocess.run(command, stdout=log, stderr=log, timeout=int(os.environ.get("LIMIT", "150")), check=False)
        except subprocess.TimeoutExpired:
            print("%s: stopped at its limit" % name)
    shown = subprocess.run([steptop, "report", report, "--format", "json"], capture_output=True, check=False)
    cells = {}
    for cell in json.loads(shown.stdout)["cells"] if shown.returncode == 0 else []:
        if cell["status"] in ("ok", "unreliable"):
            cells[cell["requested"]["dtype"], cell["requested"]["compile"]] = cell
        else:
            print("%s: %s" % (name, cell.get("error", cell["status"])))
    return cells


def step(cell, profiled=False):
    """ms of forward and backward, or of whole steps, profiled or not: medians."""
    if not cell:
        return None
    phases = cell["passes"]["train_step"]["phases"]
    if profiled:
        samples = phases["total"].get("profiled_ns")
        return statistics.median(samples) / phases["total"]["median_ns"] if samples else None
    return sum(phases[p]["median_ns"] for p in ("fwd", "loss", "bwd")) / 1e6


def over(a, b):
    return a / b if a and b else None


def classes(cell):
    sums = {}
    for kernel in cell["kernels"] if cell else []:
        entry = sums.setdefault(kernel["class"], [0, 0])
        entry[0] += kernel["total_ns"] / max(1, len(cell["passes"]["train_step"]["phases"]["total"].get("profiled_ns", [1])))
        entry[1] += kernel.get("bytes", 0)
    return sums


best = {}
if len(sys.argv) > 3:
    for line in open(sys.argv[3]):
        word = line.split()
        if len(word) < 6 or word[0] != "product":
            continue
        if word[2] == "4096x4096x4096" and word[4].replace(".", "").isdigit():
            kind = "matrices" if " matrices" in line else "plain"
            best[word[1], kind] = max(best.get((word[1], kind), 0), float(word[4]))
    row("products fp32 4096, TFLOP/s", best.get(("fp32", "plain")), 30, True)
    row("products bf16 4096 by KHR matrices, TFLOP/s", best.get(("bf16", "matrices")), 150, True)

steps = int(os.environ.get("STEPS", "20"))
compiled_too = os.environ.get("COMPILE", "true,false")
ours = run("vulkan-S", vulkan, "bf16,fp32", compiled_too, steps, 4, 256)
theirs = run("cuda-S", cuda, "bf16,fp32", compiled_too, steps, 4, 256)
for (dtype, compiled), cell in sorted(ours.items()):
    name = "S %s %s" % (dtype, "compile" if compiled else "eager")
    other = theirs.get((dtype, compiled))
    print("%s, fwd+bwd: %.2f ms, CUDA's %s ms" % (name, step(cell), "%.2f" % step(other) if other else "n/a"))
for dtype, limit in (("fp32", 2), ("bf16", 4)):
    row("S %s compiled, over our CUDA device's" % dtype, over(step(ours.get((dtype, True))), step(theirs.get((dtype, True)))), limit, False)
for (dtype, compiled), cell in sorted(ours.items()):
    row("S %s %s, profiled over timed" % (dtype, "compile" if compiled else "eager"), step(cell, True), 1.15, False)

batch, context = (int(n) for n in os.environ.get("LARGE", "8x1024").split("x"))
wide = run("vulkan-large", vulkan, "fp32", "false", 3, batch, context).get(("fp32", False))
wide_theirs = run("cuda-large", cuda, "fp32", "false", 3, batch, context).get(("fp32", False))


def beside(name, one, two):
    for kind in sorted(one):
        if kind in two and one[kind][0]:
            print("%s, class %-12s %9.3f ms a step, CUDA's %9.3f, its rate over CUDA's %.2f" %
                  (name, kind, one[kind][0] / 1e6, two[kind][0] / 1e6, two[kind][0] / one[kind][0]))


one, two = classes(wide), classes(wide_theirs)
beside("S eager fp32 %dx%d" % (batch, context), one, two)
for dtype in ("bf16", "fp32"):
    beside("S %s compiled" % dtype, classes(ours.get((dtype, True))), classes(theirs.get((dtype, True))))
row("element-wise kernels' rate over CUDA's", over(two.get("elementwise", [0])[0], one.get("elementwise", [0])[0]), 0.85, True)
row("copy's rate over CUDA's", over(wide and wide["ceilings"].get("bytes_per_s"), wide_theirs and wide_theirs["ceilings"].get("bytes_per_s")),
    0.85, True)
sys.exit(missing != 0)
