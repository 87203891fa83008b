# test_by_hand.py STEPTOP: without an optimizer's step a program that changes its parameters trains, and one that does not evaluates.
import json
import os
import subprocess
import sys
import tempfile

STEPTOP = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
failures = 0
# Calls of the model that are steps, of 40: the ninth says that there is no optimizer, the last has no end. What trains later is asked about
# after so many steps, and twice as many each time.
WANTED = {"trains": {"train_step": 31}, "later": {"fwd": 8, "train_step": 23}, "evaluates": {"fwd": 31}, "exchanged": {"fwd": 31}, "optimizer": {"fwd": 31}}
for what, wanted in WANTED.items():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        done = subprocess.run([STEPTOP, "attach", "--batch", "--json", path, "--", sys.executable, os.path.join(HERE, "by_hand_program.py"), what],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        with open(path) as file:
            cell = json.load(file)["cells"][0]
    found = {name: steps["phases"]["total"].get("n") for name, steps in cell["passes"].items() if steps["phases"].get("total", {}).get("n")}
    good = done.returncode == 0 and found == wanted
    failures += not good
    print("%s %s: %s, not %s" % ("ok  " if good else "FAIL", what, found, wanted), flush=True)
print("%d failed" % failures)
sys.exit(failures != 0)
