# How scripts/gpu-check runs the proof of the verdict's rules, and findings.py beside it, without a card and without PyTorch: programs that
# stand in say what they are told to. All cases have a row, whatever hangs, all is over by the time that was given, and nobody is left.
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FINDINGS = os.path.join(ROOT, "tests", "peers", "findings.py")
STEPTOP = """#!%s
import json, os, sys
words = sys.argv[1:]
if words[0] == "report":
    print(open(words[1]).read())
    sys.exit(0)
path = words[words.index("-o") + 1]
case, _, which = os.path.basename(path)[:-len(".yaml")].rsplit("-", 2)
if case == os.environ.get("HANGS"):
    with open(os.environ["PIDS"], "a") as file:
        file.write("%%d\\n" %% os.getpid())
    os.execvp("sleep", ["sleep", "1000"])
ill = which == "ill"
total = {"median_ns": 100 if ill else 50, "mean_ns": 100 if ill else 50}
found = [{"rule": case, "gain": 0.99, "sentence": "one"}] if ill and case != "healthy_program" else []
json.dump({"cells": [{"passes": {"train_step": {"phases": {"total": total}}}, "findings": found}]}, open(path, "w"))
""" % sys.executable
PYTHON = """#!/bin/sh
[ "$1" != -c ] || { echo 1; exec cat; }
[ "$2" != "${HANGS_ALONE:-}" ] || { echo $$ >>"$PIDS"; exec sleep 1000; }
turn=0
while [ $turn -lt "$TURNS" ]; do printf '100.000\\n50.000\\n' >&2; turn=$((turn + 1)); done
"""


def put(path, text):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o700)
    return path


def lives(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def nobody_is_left(folder):
    pids = [int(line) for line in open(os.path.join(folder, "pids"))]
    assert pids, "nothing hung"
    until = time.monotonic() + 60
    while any(map(lives, pids)):
        assert time.monotonic() < until, "processes are left: %s" % pids
        time.sleep(0.05)


def checked(folder, cases, seconds, **how):
    """What gpu-check says, and its row; the same files are there from before, as with --keep."""
    done = subprocess.run([os.path.join(ROOT, "scripts", "gpu-check"), "--prebuilt", os.path.relpath(folder, ROOT), "--keep", os.path.join(folder, "kept"),
                           "--only", "findings"], env=dict(ENVIRONMENT, CASES=cases, FINDINGS_SECONDS=str(seconds), **how),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280)
    rows = [line for line in done.stdout.splitlines() if line.startswith("findings on ")]
    assert len(rows) == 1, done.stdout
    return done.returncode, done.stdout, rows[0]


with tempfile.TemporaryDirectory() as folder:
    put(os.path.join(folder, "steptop"), STEPTOP)
    put(os.path.join(folder, "torch.py"), "")
    ENVIRONMENT = dict(os.environ, PYTHON=put(os.path.join(folder, "python"), PYTHON), PYTHONPATH=folder, PIDS=os.path.join(folder, "pids"))
    for name in ("TURNS", "ALONE", "DEVICE", "JOBS", "FINDINGS_CPU", "BUDGET_SECONDS", "PROGRAM_SECONDS"):
        ENVIRONMENT.pop(name, None)

    for part, count in (("1/2", 10), ("2/2", 9)):  # each program alone as well, from which what the cure gives is taken
        code, said, row = checked(folder, part, 250)
        assert code == 0 and "%d of %d" % (count, count) in row and row.endswith("ok"), said
    assert re.search(r"^\| loss \| loss \| 99 % \[99, 99\] \| 50 % \[50, 50\] \| none \|$", said, re.M), said

    # One that never ends, under steptop or alone: the table comes all the same, with what was done and what was not.
    for hangs in ({"HANGS": "sync"}, {"HANGS_ALONE": "launch"}):
        put(ENVIRONMENT["PIDS"], "")
        code, said, row = checked(folder, "1/2", 20, **hangs)
        assert re.search(r", \d+ left$", row), said
        assert len(re.findall(r"^\| [a-z_-]+ (\((not done|not begun)\) )?\|", said, re.M)) == 1 + 10, said  # and the head's
        nobody_is_left(folder)

    code, said, row = checked(folder, "3/2", 60)  # what was not measured is no success
    assert code == 1 and "FAILED" in row, said

    # Ended from outside, it tells what there is.
    put(ENVIRONMENT["PIDS"], "")
    one = subprocess.Popen([sys.executable, FINDINGS, os.path.join(folder, "steptop"), folder, "launch", "sync", "loss"], text=True,
                           stdout=subprocess.PIPE, env=dict(ENVIRONMENT, DEVICE="cuda", HANGS="sync"))
    until = time.monotonic() + 120
    while not os.path.getsize(ENVIRONMENT["PIDS"]):
        assert time.monotonic() < until, "the program that hangs was not started"
        time.sleep(0.05)
    one.send_signal(signal.SIGTERM)
    said = one.communicate(timeout=120)[0]
    assert "| sync (not done) |\n| loss (not begun) |\n\n1 of 1 cases well, 2 left\n" in said, said
    nobody_is_left(folder)
