# Proof of the rules: programs that are bound in exactly one way, each with its cured twin, in turns. The rule must be the first finding on
# the first, be absent on the second, and have promised no less than the cure gave; `healthy` programs must have none. That the machine is
# shared is no finding about a program: it is left out, and the row says so. Needs PyTorch for those with a program; prints a table.
# Steps of a card are those of the program alone, by its own clock up to the end of all work: its host runs ahead of it, and a step that
# nobody waits in is as long as its launches take.
#   findings.py STEPTOP FOLDER [CASE...]     DEVICE (cpu, cuda), TURNS (3), JOBS (1): cases at a time, each on processors of its own, of which
#   one at a time has the card; PROGRAM_SECONDS (300) that one may take
import contextlib
import fcntl
import json
import os
import queue
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

DEVICE = os.environ.get("DEVICE", "cpu")
TURNS = int(os.environ.get("TURNS", "3"))
JOBS = int(os.environ.get("JOBS", "1"))
LIMIT = ["timeout", "-k", "10", os.environ.get("PROGRAM_SECONDS", "300")]
OWN = ["--d-model", "128", "--d-ff", "256", "--num-layers", "4", "--num-heads", "4", "--vocab-size", "512", "--batch-size", "4",
       "--context-length", "128", "--passes", "train_step", "--warmup", "5", "--steps", "40"]
if DEVICE == "cuda":
    OWN += ["--device", "cuda:0", "--d-model", "512", "--d-ff", "2048", "--num-heads", "8", "--vocab-size", "8192", "--dtype", "bf16"]
OWN_CASES = {  # rule: (ill, cured) arguments of a run of our own
    "threads": (["--compile", "true", "--threads", "1"], ["--compile", "true"]),
    "recompute": (["--checkpoint", "block", "--d-model", "256", "--d-ff", "1024", "--compile", "true"],
                  ["--d-model", "256", "--d-ff", "1024", "--compile", "true"]),
    "fusion": (["--context-length", "64", "--d-ff", "1024"], ["--context-length", "64", "--d-ff", "1024", "--compile", "true"]),
    "eager": (["--compile", "false,true"], ["--compile", "true"]),
    "batch": (["--batch-size", "1,16"], ["--batch-size", "16"]),
    "dtype": (["--dtype", "fp32,bf16", "--compile", "true", "--batch-size", "16", "--d-model", "1024", "--d-ff", "4096"],
              ["--dtype", "bf16", "--compile", "true", "--batch-size", "16", "--d-model", "1024", "--d-ff", "4096"]),
    "warmup": (["--warmup", "0", "--steps", "8", "--d-model", "256", "--d-ff", "1024"],
               ["--warmup", "5", "--steps", "8", "--d-model", "256", "--d-ff", "1024"]),
    "bucket": (["--ranks", "2", "--parallel", "overlap"], ["--ranks", "2", "--parallel", "flat"]),
    "communication": (["--ranks", "2", "--parallel", "naive", "--d-model", "512", "--d-ff", "2048", "--context-length", "32"],
                      ["--ranks", "2", "--parallel", "overlap", "--d-model", "512", "--d-ff", "2048", "--context-length", "32"]),
    "neighbours": (["--compile", "true"], ["--compile", "true"]),
    "others": (["--compile", "true"], ["--compile", "true"]),
    "shape": (["--vocab-size", "50257", "--compile", "true"], ["--vocab-size", "50304", "--compile", "true"]),
    "slowed": (["--ranks", "2", "--parallel", "overlap"], ["--ranks", "2", "--parallel", "flat"]),
    "healthy": (["--d-model", "256", "--d-ff", "1024", "--compile", "true"],) * 2,
}
PROGRAMS = ["input", "starved", "outside", "launch", "optimizer", "layout", "loss", "attention", "stall", "recompile", "creep", "affinity",
            "straggler", "embedding", "large-bucket", "spread", "drift", "healthy_program"]
CARD = ["launch", "loss", "sync", "creep", "optimizer", "attention", "copies", "precision", "embedding", "memory", "accumulation",
        "healthy_program", "recompile", "allocator", "others", "shape", "dtype", "batch", "eager"]
RANKED = ("straggler", "large-bucket")  # two processes of one program
RULE = {"starved": "input"}  # where a case is not called as its rule
WORDS = {"starved": "1 worker computes all the time", "input": "no workers and computes on the thread"}  # that its sentence holds
NO_GAIN = ("creep", "memory", "allocator", "others", "shape")  # rules that cannot tell
AMONG = ("accumulation", "slowed", "dtype", "memory", "allocator", "others", "shape", "neighbours")  # another rule may come first
AMONG += ("optimizer",) if DEVICE == "cuda" else ()
SCALE = {"batch": 16}  # the cured step does so many times the work
MEAN = ("stall", "recompile", "spread", "warmup")  # rules that speak of single steps speak of the mean, the others of the median
MACHINE = ("neighbours", "steal", "quota", "others", "throttle")
PROCESSORS = sorted(os.sched_getaffinity(0))


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
    for one in started if case == "others" else []:
        one.stdout.readline()
    yield
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


def measure(steptop, folder, case, ill, processors):
    path = os.path.join(folder, "%s-%s-%s.yaml" % (case, DEVICE, "ill" if ill else "cured"))
    if case in OWN_CASES:
        command = [steptop, "run"] + merged(OWN, OWN_CASES[case][0 if ill else 1]) + ["-o", path]
    else:
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "findings_program.py")
        python = [os.environ.get("PYTHON", sys.executable)]
        if case in RANKED:
            python += ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(29600 + processors[0])]
        command = [steptop, "attach", "--batch", "--skip", "3", "-o", path, "--"] + python + [program, case, "ill" if ill else "cured"]
    with card(case in OWN_CASES), company(case if ill else "", processors):
        done = subprocess.run(LIMIT + command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, processors))
    if done.returncode:
        raise RuntimeError("%s ended with %d: %s" % (case, done.returncode, done.stderr[-300:]))
    cells = json.loads(subprocess.run([steptop, "report", path, "--format", "json"], check=True, capture_output=True).stdout)["cells"]
    findings = cells[0].get("findings", [])
    return cells[0]["passes"]["train_step"]["phases"]["total"], [f for f in findings if f["rule"] not in MACHINE or f["rule"] == case], len(findings)


def alone(case, processors):
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "findings_program.py")
    done = subprocess.run(LIMIT + [os.environ.get("PYTHON", sys.executable), program, case, "both"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, preexec_fn=lambda: os.sched_setaffinity(0, processors))
    ill, cured = [float(line) for line in done.stderr.splitlines() if re.fullmatch(r"\d+\.\d{3}", line)]
    return 1 - cured / ill


def spread(values):
    return "%.0f %% [%.0f, %.0f]" % tuple(100 * f(values) for f in (statistics.median, min, max)) if values else "n/a"


def said(findings):
    return ", ".join("%s %s" % (f["rule"], "%.0f %%" % (100 * f["gain"]) if "gain" in f else "?") for f in findings) or "none"


def judged(steptop, folder, case, processors):
    turns = [(measure(steptop, folder, case, True, processors), measure(steptop, folder, case, False, processors)) for _ in range(TURNS)]
    rule = RULE.get(case, case)
    which = "mean_ns" if rule in MEAN else "median_ns"
    gave = [1 - cured[0][which] / SCALE.get(case, 1) / ill[0][which] for ill, cured in turns]
    if DEVICE == "cuda" and case not in OWN_CASES and rule not in NO_GAIN and not rule.startswith("healthy"):
        gave = [alone(case, processors) for _ in range(TURNS)]
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
    kept = bool(own) if case in NO_GAIN else promised and max(promised) >= min(gave)
    leads = len(own) if case in AMONG else first.count(rule)
    good = leads * 2 > TURNS and still * 2 < TURNS and kept and worded
    return good, "| %s%s | %s | %s | %s | %s%s |" % (case, "" if good else " (FAILED)", ", ".join(sorted(set(first))), spread(promised),
                                                    spread(gave), "; ".join(after), " (machine shared)" if shared else "")


def main():
    steptop, folder = sys.argv[1], sys.argv[2]
    cases = sys.argv[3:] or (CARD if DEVICE == "cuda" else [case for case in OWN_CASES if case not in ("dtype", "others", "shape")] + PROGRAMS)
    places = queue.Queue()
    each = len(PROCESSORS) // JOBS if DEVICE == "cuda" or JOBS == 1 else 2
    if DEVICE == "cuda" and JOBS > 1:
        os.environ["CARD_LOCK"] = os.path.join(folder, "card.lock")
    for job in range(JOBS):
        places.put(PROCESSORS[-each * (job + 1):][:each] if JOBS > 1 else PROCESSORS)

    def one(case):
        processors = places.get()
        try:
            good, row = judged(steptop, folder, case, processors)
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            good, row = False, "| %s (FAILED) | %s |" % (case, str(error).replace("\n", " ").replace("|", "/"))
        places.put(processors)
        print(row, flush=True)
        return good

    print("| case | first finding on it | promised | gave | on the cured twin |\n|:---|:---|---:|---:|:---|", flush=True)
    with ThreadPoolExecutor(JOBS) as pool:
        return 0 if all(list(pool.map(one, cases))) else 1  # a list: all of them run, whatever the first says


sys.exit(main())
