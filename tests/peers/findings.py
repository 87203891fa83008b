# Proof of the rules: programs that are bound in exactly one way, each with its cured twin, in turns. The rule must be the first finding on
# the first, be absent on the second, and have promised no less than the cure gave; `healthy` programs must have none. That the machine is
# shared is no finding about a program: it is left out, and the row says so. Needs PyTorch for those with a program; prints a table.
# Steps of a card are those of the program alone, by its own clock up to the end of all work: its host runs ahead of it, and a step that
# nobody waits in is as long as its launches take.
#   findings.py STEPTOP FOLDER [CASE...]     CASE "1/2": the first of two halves of them
#   DEVICE (cpu, cuda), TURNS (3; 1 on a card) of reports, ALONE (2 on a card): turns of the program without steptop, ill and cured from one
#   import of PyTorch; JOBS (1): cases at a time, each on processors of its own, of which one at a time has the card; PROGRAM_SECONDS (300)
#   that one may take; BUDGET_SECONDS: all is over by then, and what did not begin or end is listed as such, as it is when this is ended
#   by SIGTERM. The last line counts: "7 of 8 cases well, 3 left".
import contextlib
import fcntl
import json
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from findings_groups import disk_of, group

DEVICE = os.environ.get("DEVICE", "cpu")
TURNS = int(os.environ.get("TURNS", "1" if DEVICE == "cuda" else "3"))
ALONE = int(os.environ.get("ALONE", "2" if DEVICE == "cuda" else "0"))
JOBS = int(os.environ.get("JOBS", "1"))
END = [time.monotonic() + float(os.environ.get("BUDGET_SECONDS", "inf"))]
PROGRAM_SECONDS = float(os.environ.get("PROGRAM_SECONDS", "300"))
KILL_SECONDS = 5  # from asking a program to end to ending it
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "findings_program.py")
PYTHON = os.environ.get("PYTHON", sys.executable)
NOT_HERE = 77  # exit status of a program that this machine cannot run
OWN = ["--d-model", "128", "--d-ff", "256", "--num-layers", "4", "--num-heads", "4", "--vocab-size", "512", "--batch-size", "4",
       "--context-length", "128", "--passes", "train_step", "--warmup", "5", "--steps", "40"]
if DEVICE == "cuda":
    OWN += ["--device", "cuda:0", "--d-model", "512", "--d-ff", "2048", "--num-heads", "8", "--vocab-size", "8192", "--dtype", "bf16"]
TINY = ["--d-model", "64", "--d-ff", "128", "--num-layers", "8", "--vocab-size", "256", "--batch-size", "1", "--context-length", "16", "--compile", "true",
        "--steps", "200"]
WIDE = ["--d-model", "512", "--d-ff", "2048", "--batch-size", "1", "--context-length", "8", "--compile", "true"]
FEW_ROWS = ["--d-model", "512", "--d-ff", "2048", "--num-heads", "8", "--context-length", "16", "--compile", "true", "--passes", "fwd_bwd"]
OWN_CASES = {  # rule: (ill, cured) arguments of a run of our own
    "threads": (["--compile", "true", "--threads", "1"], ["--compile", "true"]),
    "recompute": (["--checkpoint", "block", "--d-model", "256", "--d-ff", "1024", "--compile", "true"],
                  ["--d-model", "256", "--d-ff", "1024", "--compile", "true"]),
    "fusion": (["--context-length", "64", "--d-ff", "1024"], ["--context-length", "64", "--d-ff", "1024", "--compile", "true"]),
    "eager": (["--compile", "false,true"], ["--compile", "true"]),
    "batch": (["--batch-size", "1,16"], ["--batch-size", "16"]),
    "dtype": (["--dtype", "fp32,bf16", "--compile", "true", "--batch-size", "16", "--d-model", "1024", "--d-ff", "4096"],
              ["--dtype", "bf16", "--compile", "true", "--batch-size", "16", "--d-model", "1024", "--d-ff", "4096"]),
    "bucket": (["--parallel", "naive"] + TINY + ["--ranks", "2"], ["--parallel", "flat"] + TINY + ["--ranks", "2"]),
    # Without any: on few processors there is nothing that sending could be beside, and this is what communication is held against.
    "communication": (["--ranks", "2", "--parallel", "naive", "--d-model", "512", "--d-ff", "2048", "--context-length", "32"],
                      ["--ranks", "2", "--parallel", "none", "--d-model", "512", "--d-ff", "2048", "--context-length", "32"]),
    "neighbours": (["--compile", "true"], ["--compile", "true"]),
    "others": (["--compile", "true"], ["--compile", "true"]),
    "quota": (["--compile", "true", "--threads", "1", "--steps", "120"],) * 2,
    "memory": (["--compile", "true", "--d-model", "256", "--d-ff", "1024", "--batch-size", "16", "--context-length", "256", "--steps", "6"],
               ["--compile", "true", "--d-model", "256", "--d-ff", "1024", "--batch-size", "16", "--context-length", "256", "--steps", "6",
                "--checkpoint", "block"]),
    "shape": (["--vocab-size", "50257", "--compile", "true"], ["--vocab-size", "50304", "--compile", "true"]),
    # Products of few rows and sums of many bytes: both wait for memory.
    "slowed": (["--ranks", "2", "--parallel", "bucket"] + WIDE, ["--ranks", "2", "--parallel", "flat"] + WIDE),
    # Weights that are read for few rows; forward and backward alone, because what the optimizer does it does once for sixteen times the rows.
    "products": (FEW_ROWS + ["--batch-size", "1"], FEW_ROWS + ["--batch-size", "16"]),
    "healthy": (["--d-model", "256", "--d-ff", "1024", "--compile", "true"],) * 2,
}
if DEVICE == "cuda":
    del OWN_CASES["memory"]  # there a program fills the card
PROGRAMS = ["input", "starved", "outside", "launch", "optimizer", "layout", "loss", "attention", "stall", "recompile", "creep", "affinity",
            "straggler", "embedding", "large-bucket", "spread", "drift", "warmup", "disk", "healthy_program"]
CARD = ["launch", "loss", "sync", "creep", "optimizer", "attention", "copies", "precision", "embedding", "memory", "accumulation",
        "healthy_program", "recompile", "allocator", "others", "shape", "dtype", "batch", "eager"]
RANKED = ("straggler", "large-bucket")  # two processes of one program
RULE = {"starved": "input", "disk": "input"}  # where a case is not called as its rule
WORDS = {"starved": "1 worker computes all the time", "input": "no workers and computes on the thread", "disk": "mostly waits: for a disk"}
NO_GAIN = ("creep", "memory", "allocator", "others", "shape")  # rules that cannot tell
AMONG = ("accumulation", "slowed", "dtype", "allocator", "others", "shape")  # another rule may come first
AMONG += ("optimizer", "memory") if DEVICE == "cuda" else ()
SCALE = {"batch": 16, "products": 16}  # the cured step does so many times the work
MEAN = ("stall", "recompile", "spread", "warmup", "quota")  # these speak of single steps and of all time: of the mean, others of the median
MACHINE = ("neighbours", "steal", "quota", "others", "throttle")
SKIP = {"warmup": ("0", "6")}  # steps that attach does not count, ill and cured; else 3
SINGLE = ("spread", "drift", "warmup", "quota", "neighbours", "products")  # on one processor: of others on it nothing is left to chance
MEMORY_FIRST, MEMORY_SHARE = 1 << 32, 0.95  # a limit that is far away, to see what is needed; of what is then left, what the ill one plans
PROCESSORS = sorted(os.sched_getaffinity(0))


class NotHere(Exception):
    pass


class OutOfTime(Exception):
    pass


running = set()


def ended(command, own=False, **how):
    """A program that has ended, by itself or by the end of its time; by the end of all time: OutOfTime."""
    # A program of PyTorch waits for the card by itself, while each of the others may have it.
    most, last = PROGRAM_SECONDS * (JOBS if DEVICE == "cuda" and not own else 1), END[0] - time.monotonic() - KILL_SECONDS
    if last <= 0:
        raise OutOfTime
    process = subprocess.Popen(["timeout", "-k", str(KILL_SECONDS), "%.1f" % min(most, last)] + command, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, **how)
    running.add(process)
    if END[0] <= time.monotonic():  # SIGTERM came before it was there to be told
        process.terminate()
    said = process.communicate()[1]
    running.discard(process)
    cut = last < most and process.returncode in (124, 137)  # by timeout, whose clock is another one
    if cut or (process.returncode and END[0] - time.monotonic() <= KILL_SECONDS):
        raise OutOfTime
    return process.returncode, said


def no_more_time(*_):
    END[0] = 0
    for process in list(running):
        process.terminate()  # timeout hands it on


def merged(base, more):
    words = {}
    for name, value in zip((base + more)[::2], (base + more)[1::2]):
        words[name] = value
    return [word for pair in words.items() for word in pair] + ["--batch", "--quiet"]


@contextlib.contextmanager
def company(case, processors):
    """Who else is on the machine: processes that compute on the same processors, or one that holds the card."""
    words = []
    if case == "neighbours":
        words = [["import os\nwhile os.getppid() == %d: pass" % os.getpid()]] * (2 * len(processors))
    if case == "others":
        words = [["import torch, sys; torch.zeros(1, device='cuda'); print(1, flush=True); sys.stdin.read()"]]
    started = [subprocess.Popen([os.environ.get("PYTHON", sys.executable), "-c"] + word, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                preexec_fn=lambda: os.sched_setaffinity(0, processors)) for word in words]
    try:
        for one in started if case == "others" else []:
            one.stdout.readline()
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


@contextlib.contextmanager
def card(own):
    """A run of our own has the card alone; a program takes it by itself, once PyTorch is there."""
    path = os.environ.get("CARD_LOCK")
    with open(path, "a") if own and path else contextlib.nullcontext() as lock:
        if lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def words_of(case, ill, path, processors):
    if case in OWN_CASES:
        return ["run"] + merged(OWN, OWN_CASES[case][0 if ill else 1]) + ["-o", path]
    python = [PYTHON]
    if case in RANKED:
        python += ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(29600 + processors[0])]
    return ["attach", "--batch", "--skip", SKIP.get(case, ("3", "3"))[0 if ill else 1], "-o", path, "--"] + python + [PROGRAM, case, "ill" if ill else "cured"]


def cell_of(steptop, path):
    return json.loads(subprocess.run([steptop, "report", path, "--format", "json"], check=True, capture_output=True).stdout)["cells"][0]


def started(case, ill, command, folder, processors, inside=None):
    def bind():
        os.sched_setaffinity(0, processors)
        if inside:
            inside.enter()

    with card(case in OWN_CASES), company(case if ill else "", processors):
        code, said = ended(command, case in OWN_CASES, preexec_fn=bind, env=dict(os.environ, FINDINGS_FOLDER=folder))
    if code == NOT_HERE:
        raise NotHere((said.strip().splitlines() or ["no word why"])[-1])
    if code:
        raise RuntimeError("%s ended with %d: %s" % (case, code, said[-300:]))


def confined(case, ill, folder):
    """The group that a case runs in, if any; what is left of memory is set when it is known what is needed."""
    if case == "disk" and ill:
        return group("io", (disk_of(folder), 2000))
    if case == "quota" and ill:
        return group("cpu", 0.5)
    if case == "memory" and DEVICE == "cpu":
        return group("memory", MEMORY_FIRST)
    return None


def measure(steptop, folder, case, ill, processors):
    path = os.path.join(folder, "%s-%s-%s.yaml" % (case, DEVICE, "ill" if ill else "cured"))
    processors = processors[:1] if case in SINGLE else processors
    command = [steptop] + words_of(case, ill, path, processors)
    wanted = confined(case, ill, folder)
    with wanted or contextlib.nullcontext() as inside:
        if wanted and not inside:
            raise NotHere("no control group may be made here")
        if case == "memory" and inside:
            started(case, True, [steptop] + words_of(case, True, path, processors), folder, processors, inside)
            memory = cell_of(steptop, path)["memory"]
            inside.limit(MEMORY_FIRST - memory["device_free"] + (memory["planned_total"] + memory.get("workspace", 0)) / MEMORY_SHARE)
        started(case, ill, command, folder, processors, inside)
    cell = cell_of(steptop, path)
    others = cell.get("processors", {}).get("others", 0)
    if case == "products" and ill and others >= 0.05:
        raise NotHere("others use %.0f %% of the processors, and beside them this rule is silent: the roof was measured without" % (100 * others))
    findings = cell.get("findings", [])
    (only,) = cell["passes"].values()
    return only["phases"]["total"], [f for f in findings if f["rule"] not in MACHINE or f["rule"] == case], len(findings)


def alone(case, folder, processors):
    """What the cure gave, by the program's own clock, of each turn."""
    few = {"STEPS": "60"} if DEVICE == "cuda" else {}
    code, said = ended([PYTHON, PROGRAM, case, "both"], env=dict(os.environ, TURNS=str(ALONE), FINDINGS_FOLDER=folder, **few),
                       preexec_fn=lambda: os.sched_setaffinity(0, processors))
    steps = [float(line) for line in said.splitlines() if re.fullmatch(r"\d+\.\d{3}", line)]
    if code or len(steps) != 2 * ALONE:
        raise RuntimeError("%s alone ended with %d and %d of %d steps' times: %s" % (case, code, len(steps), 2 * ALONE, said[-300:]))
    return [1 - cured / ill for ill, cured in zip(steps[::2], steps[1::2])]


def spread(values):
    return "%.0f %% [%.0f, %.0f]" % tuple(100 * f(values) for f in (statistics.median, min, max)) if values else "n/a"


def said(findings):
    return ", ".join("%s %s" % (f["rule"], "%.0f %%" % (100 * f["gain"]) if "gain" in f else "?") for f in findings) or "none"


def judged(steptop, folder, case, processors):
    turns = [(measure(steptop, folder, case, True, processors), measure(steptop, folder, case, False, processors)) for _ in range(TURNS)]
    rule = RULE.get(case, case)
    which = "mean_ns" if rule in MEAN else "median_ns"
    gave = [1 - cured[0][which] / SCALE.get(case, 1) / ill[0][which] for ill, cured in turns]
    if ALONE and case not in OWN_CASES and case not in RANKED and rule not in NO_GAIN and not rule.startswith("healthy"):
        try:
            gave = alone(case, folder, processors)
        except OutOfTime:  # the reports are there: what they say counts, and what the cure gives is not known
            gave = None
    shared = any(len(cell[1]) < cell[2] for turn in turns for cell in turn)
    first = [ill[1][0]["rule"] if ill[1] else "none" for ill, _ in turns]
    after = sorted({said(cured[1]) for _, cured in turns})
    if rule.startswith("healthy"):
        large = [f for turn in turns for cell in turn for f in cell[1] if f.get("gain", 1) > 0.03]
        return not large, "| %s%s | %s | – | – | %s |" % (
            case, " (FAILED)" if large else "", ", ".join(sorted(set(first))), "; ".join(after) + (" (machine shared)" if shared else ""))
    own = [f for ill, _ in turns for f in ill[1] if f["rule"] == rule]
    promised = [f["gain"] for f in own if "gain" in f]
    still = sum(rule in [f["rule"] for f in cured[1]] for _, cured in turns)
    worded = all(WORDS.get(case, "") in f["sentence"] for f in own)
    kept = bool(own) if case in NO_GAIN else bool(promised) and (gave is None or max(promised) >= min(gave))
    leads = len(own) if case in AMONG else first.count(rule)
    good = leads * 2 > TURNS and still * 2 < TURNS and kept and worded
    word = " (FAILED)" if not good else " (not done)" if gave is None else ""
    return None if good and gave is None else good, "| %s%s | %s | %s | %s | %s%s |" % (
        case, word, ", ".join(sorted(set(first))), spread(promised), spread(gave), "; ".join(after), " (machine shared)" if shared else "")


def chosen(words):
    if DEVICE == "cuda":
        cases = CARD
    else:
        cases = [case for case in OWN_CASES if case not in ("dtype", "others", "shape")] + PROGRAMS
    part = re.fullmatch(r"(\d+)/(\d+)", words[0]) if len(words) == 1 else None
    if part:
        if not 1 <= int(part[1]) <= int(part[2]):
            sys.exit("findings.py: %s is no part of a whole" % words[0])
        return cases[int(part[1]) - 1::int(part[2])]
    unknown = [word for word in words if word not in OWN_CASES and word not in PROGRAMS + CARD]
    if unknown:
        sys.exit("findings.py: no case %s" % ", ".join(unknown))
    return words or cases


def main():
    steptop, folder, cases = sys.argv[1], os.path.abspath(sys.argv[2]), chosen(sys.argv[3:])
    places = queue.Queue()
    each = len(PROCESSORS) // JOBS if DEVICE == "cuda" or JOBS == 1 else 2
    if DEVICE == "cuda" and JOBS > 1:
        os.environ["CARD_LOCK"] = os.path.join(folder, "card.lock")
    for job in range(JOBS):
        places.put(PROCESSORS[-each * (job + 1):][:each] if JOBS > 1 else PROCESSORS)

    def one(case):
        processors = places.get()
        try:
            if END[0] - time.monotonic() <= KILL_SECONDS:
                good, row = None, "| %s (not begun) |" % case
            else:
                good, row = judged(steptop, folder, case, processors)
        except OutOfTime:
            good, row = None, "| %s (not done) |" % case
        except NotHere as why:
            good, row = None, "| %s (not here) | %s |" % (case, why)
        except Exception as error:  # whatever it is, the others have their rows
            good, row = False, "| %s (FAILED) | %s: %s |" % (case, type(error).__name__, str(error).replace("\n", " ").replace("|", "/"))
        finally:
            places.put(processors)
        print(row, flush=True)
        return good

    print("| case | first finding on it | promised | gave | on the cured twin |\n|:---|:---|---:|---:|:---|", flush=True)
    signal.signal(signal.SIGTERM, no_more_time)
    with ThreadPoolExecutor(JOBS) as pool:
        results = list(pool.map(one, cases))
    print("\n%d of %d cases well, %d left" % (results.count(True), len(results) - results.count(None), results.count(None)), flush=True)
    return 1 if False in results else 0


sys.exit(main())
