# The same programs under steptop, TraceML and gpuprof: what each says is the cause, and what it costs. In turns; the cost is the median
# step by the program's own clock over that of the program alone. Both rivals must be importable. Prints two tables.
#   findings_rivals.py STEPTOP FOLDER CASE...     DEVICE (cpu), TURNS (2), STEPS (of a program), PROGRAM_SECONDS (300) that one may take
import json
import os
import re
import statistics
import subprocess
import sys

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "findings_program.py")
TURNS = int(os.environ.get("TURNS", "2"))
LIMIT = ["timeout", "-k", "10", os.environ.get("PROGRAM_SECONDS", "300")]
RANKED = ("straggler", "large-bucket")  # two processes of one program
TOOLS = ("alone", "steptop", "traceml", "gpuprof")


def last_number(text):
    found = [line for line in text.splitlines() if re.fullmatch(r"\d+\.\d{3}", line.strip())]
    return float(found[-1]) if found else None


def run(tool, steptop, folder, case):
    python = os.environ.get("PYTHON", sys.executable)
    environment = dict(os.environ, FINDINGS_FOLDER=folder, TOOL="" if tool == "steptop" else tool)
    words = [PROGRAM, case, "ill"]
    ranks = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29533", "--rdzv-id", "findings"] if case in RANKED else []
    report = os.path.join(folder, "rival-%s.yaml" % case)
    if tool == "steptop":
        command = [steptop, "attach", "--batch", "--skip", "3", "-o", report, "--", python] + ranks + words
    elif tool == "traceml":
        command = [python, "-m", "traceml_ai.launcher.cli", "run"] + (["--nproc-per-node", "2"] if ranks else []) + [PROGRAM, "--args", case, "ill"]
    else:
        command = [python] + ranks + words
    done = subprocess.run(LIMIT + command, cwd=folder, env=environment, capture_output=True, text=True)
    both = done.stdout + "\n" + done.stderr
    if tool == "gpuprof" and ranks:
        group = subprocess.run([python, "-m", "gpuprof.insights", "gpuprof.db", "--group", "findings"], cwd=folder, capture_output=True, text=True)
        both += group.stdout + group.stderr
    if tool == "steptop":
        cell = json.loads(subprocess.run([steptop, "report", report, "--format", "json"], check=True, capture_output=True).stdout)["cells"][0]
        finding = (cell.get("findings") or [{}])[0]
        said = "%s: %s" % (finding.get("rule", "none"), finding.get("sentence", cell.get("verdict", "")))
    elif tool == "traceml":
        said = " ".join(m.group(1).strip() for m in re.finditer(r"\|  ((?:Verdict|Why): .*?)\s*\|", both))
    elif tool == "gpuprof":
        said = "; ".join(m.strip() for m in re.findall(r"\[(?:HIGH|MED|LOW)\].*", both) if "cost" not in m)
    else:
        said = ""
    if done.returncode:
        said = "ended with %d: %s" % (done.returncode, both[-300:].replace("\n", " "))
    return said.replace("|", "/"), last_number(both)


def main():
    steptop, folder = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    rows = []
    for case in sys.argv[3:]:
        said, times = {}, {tool: [] for tool in TOOLS}
        for _ in range(TURNS):
            for tool in TOOLS:
                said[tool], ms = run(tool, steptop, folder, case)
                if ms:
                    times[tool].append(ms)
        for tool in TOOLS[1:]:
            print("| %s | %s | %s |" % (case, tool, said[tool] or "nothing"), flush=True)
        pairs = {tool: [a / b for a, b in zip(times[tool], times["alone"])] for tool in TOOLS[1:]}
        rows.append("| %s | %s | %s |" % (case, "%.2f" % statistics.median(times["alone"]) if times["alone"] else "n/a", " | ".join(
            "%.3f [%.3f, %.3f]" % (statistics.median(pairs[tool]), min(pairs[tool]), max(pairs[tool])) if pairs[tool] else "n/a" for tool in TOOLS[1:])))
        print(rows[-1], flush=True)
    print("\n| program | alone, ms | steptop ÷ alone | TraceML ÷ alone | gpuprof ÷ alone |\n|:---|---:|---:|---:|---:|")
    print("\n".join(rows))


main()
