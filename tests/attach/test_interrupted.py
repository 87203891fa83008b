# test_interrupted.py STEPTOP: calls of modules and optimizers that are broken off between any two instructions of the hook, as a signal's
# handler that raises does it. The library has to be right again with the module around them, or at the next step.
import json
import os
import subprocess
import sys
import tempfile

STEPTOP = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
failures = 0


def check(good, what):
    global failures
    failures += not good
    print(("ok   " if good else "FAIL ") + what, flush=True)


LAYERS = ["Block", "Other", "part0", "part0.part0", "part0.part1", "part1"]
WAYS = ["%s-%s-%s" % (function, when, what) for function in ("enter", "leave") for when in ("before", "behind") for what in ("model", "layer")]
for way in WAYS + [way + "-optimizer" for way in WAYS] + ["step"]:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        done = subprocess.run([STEPTOP, "attach", "--batch", "--json", path, "--", sys.executable, os.path.join(HERE, "interrupted_program.py"), way],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        with open(path) as file:
            cell = json.load(file)["cells"][0]
    check(done.returncode == 0 and "ended at -1" in done.stdout, "%s: outside of all modules at the end: %s" % (way, done.stdout.split("\n")[0]))
    paths = [row["path"] for row in cell["layers"]]
    check(sorted(paths) == LAYERS, "%s: %s" % (way, " ".join(paths)))
    by_optimizer = way == "step" or way.endswith("-optimizer")
    steps = cell["passes"]["train_step" if by_optimizer else "fwd"]["phases"]["total"]["n"]
    # Of 30 steps 6 are broken off; what the optimizer does not end is in the step after.
    most, least = (29, 22) if by_optimizer else (29, 30 - 9 - 6)
    check(least <= steps <= most, "%s: %d steps" % (way, steps))
    if by_optimizer:
        calls = sum(kernel["calls"] for kernel in cell["kernels"] if kernel["phase"] == "opt")
        check(calls >= steps, "%s: %d of %d steps of the optimizer are its own" % (way, calls, steps))
print("%d failed" % failures)
sys.exit(failures != 0)
