# test_running.py STEPTOP: attaches to Python processes that run already. What they print and how they end is as without us, whatever comes;
# they may be attached to again; and what cannot be is said in one sentence. Exit code 77: this machine lets nobody attach.
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

STEPTOP = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = tempfile.mkdtemp()
failures = 0


def check(good, what):
    global failures
    failures += not good
    print(("ok   " if good else "FAIL ") + what, flush=True)


def program(*arguments):
    started = subprocess.Popen([sys.executable, os.path.join(HERE, "running_program.py"), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "ready\n"
    return started


def attach(pid, *options):
    path = os.path.join(FOLDER, "report.json")
    done = subprocess.run([STEPTOP, "attach", "--batch", "--pid", str(pid), "--json", path, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)
    with open(path) as file:
        return done, json.load(file)["cells"][0]


def refused(pid, sentence):
    done, cell = attach(pid)
    check(done.returncode in (1, 3) and sentence in done.stderr and not done.stdout, "%s (exit code %d): %s" % (sentence, done.returncode, done.stderr.strip()))
    return done


def is_whole(cell, what):
    paths = [row["path"] for row in cell["layers"]]
    check(cell["status"] == "ok", what + ": " + cell["status"] + " " + cell.get("reason", ""))
    check(paths == ["Chain", "part0", "part0.part0", "part0.part1", "part1", "part2"], what + ": layers are the model's from its outermost on: " + " ".join(paths))
    check(cell["passes"]["train_step"]["phases"]["total"]["n"] >= 4, what + ": steps are there")
    check(not cell.get("processors"), what + ": nothing is said of processors that the process used before")


target = program()
time.sleep(0.3)
done, cell = attach(target.pid, "--steps", "5")
if done.returncode and ("lets" in done.stderr or "may not be attached" in done.stderr or "Operation not permitted" in done.stderr):
    print("skipped:", done.stderr)
    sys.exit(77)
check(done.returncode == 0, "attached: " + done.stderr.strip())
is_whole(cell, "once")
done, cell = attach(target.pid, "--steps", "5")
is_whole(cell, "again")
first = subprocess.Popen([STEPTOP, "attach", "--batch", "--pid", str(target.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(1)
refused(target.pid, "attached to the process already")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):  # to us, and the process goes on
    first.send_signal(number)
    check(first.wait(20) in (0, -signal.SIGKILL), "left by %s" % number.name)
    time.sleep(0.2)
    if number != signal.SIGKILL:
        first = subprocess.Popen([STEPTOP, "attach", "--batch", "--pid", str(target.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
done, cell = attach(target.pid, "--for", "2s")
is_whole(cell, "after a front that was killed")
target.send_signal(signal.SIGSTOP)
time.sleep(0.1)
refused(target.pid, "is stopped: kill -CONT")
target.send_signal(signal.SIGCONT)
last = subprocess.Popen([STEPTOP, "attach", "--batch", "--pid", str(target.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(1)
output = target.communicate("")[0]
check(last.wait(20) == 0, "its end is no failure of ours")
steps, computed, hooks, name, ever, on = output.split()
expected = b""
for _ in range(4 * int(steps)):
    expected = hashlib.sha256(expected).digest()
check(target.returncode == 7, "its exit code")
check(computed == expected.hex(), "what it computed")
check(hooks == "1" and name == "Module._call_impl", "of four fronts one hook is left: " + hooks)

told = program("told")
for time_of_day in ("once", "again"):
    done, cell = attach(told.pid, "--steps", "5")
    is_whole(cell, "told by ITT, " + time_of_day)
    way = [note["text"] for note in cell["notes"] if note["key"] == "attribution"]
    check(way == ["ITT, with ops of the CPU"], "told by ITT, %s: %s" % (time_of_day, way))
    time.sleep(0.3)  # the program goes on, and nobody is told any more
ever, on = told.communicate("")[0].split()[-2:]
check((ever, on) == ("2", "0"), "PyTorch told each of two fronts, and stopped when they had gone: %s, %s" % (ever, on))

other = program("none")
refused(other.pid, "has not imported PyTorch")
check(other.wait() == 0, "a Python without PyTorch goes on")
sleep = subprocess.Popen(["sleep", "60"])
refused(sleep.pid, "is no Python")
sleep.kill()
sleep.wait()
refused(sleep.pid, "there is no process")
for words, sentence in (["--pid", "12x"], "is not a process's number"), (["--pid", "1", "--", "true"], "one too many"), ([], "--pid N"):
    done = subprocess.run([STEPTOP, "attach", "--batch", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(done.returncode == 2 and sentence in done.stderr, sentence)
print("%d failed" % failures)
sys.exit(failures != 0)
