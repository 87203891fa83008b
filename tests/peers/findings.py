# Proof of the rules: programs that are bound in exactly one way, each with its cured twin, in turns. The rule must be the first finding on
# the first, be absent on the second, and have promised no less than the cure gave. Needs PyTorch for those with one; prints a table.
#   findings.py STEPTOP FOLDER [CASE...]
import json
import os
import statistics
import subprocess
import sys

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
WORDS = {"starved": "1 worker computes all the time", "input": "no workers and computes on the thread"}  # that its sentence holds
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
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "findings_program.py")
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
