"""Is the plan's work booked once? booked.py REPORT.json: the sum of the kernels' FLOPs of each pass is the plan's, times the profiled
steps; and no kernel computes faster than the device's measured ceiling by more than 5 %. Ends with 1 when either is not so.
Bytes a second may exceed a copy's rate where a kernel's data fits a cache: such rows are listed, not failed."""
import json
import sys

bad = 0
cells = 0
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["status"] not in ("ok", "unreliable"):
        continue
    cells += 1
    compute = cell.get("ceilings", {}).get("flops_per_s")
    copy = cell.get("ceilings", {}).get("bytes_per_s")
    name = "%s %s %s" % (cell["requested"]["model"]["name"], cell["requested"]["dtype"], "compile" if cell["requested"]["compile"] else "eager")
    for which, planned in cell["step_flops"].items():
        rows = [k for k in cell["kernels"] if k["pass"] == which]
        steps = len(cell["passes"][which]["phases"]["total"].get("profiled_ns", []))
        booked = sum(k.get("flops", 0) for k in rows)
        if not steps or not rows:
            continue
        ratio = booked / (planned * steps)
        print("%-24s %-10s FLOPs booked / planned %.9f over %d steps" % (name, which, ratio, steps))
        bad += abs(ratio - 1) > 1e-6
        for k in rows:
            rate = k.get("flops", 0) / k["total_ns"] * 1e9 if k["total_ns"] else 0
            moved = k.get("bytes", 0) / k["total_ns"] * 1e9 if k["total_ns"] else 0
            if compute and rate > 1.05 * compute:
                print("    %s %s: %.1f %% of the compute ceiling" % (k["phase"], k["name"][:60], 100 * rate / compute))
                bad += 1
            elif copy and moved > 1.05 * copy:
                print("    %s %s: %.1f %% of the copy ceiling (cache?)" % (k["phase"], k["name"][:60], 100 * moved / copy))
print("booked: %d cells, %d wrong" % (cells, bad))
sys.exit(bad != 0 or cells == 0)
