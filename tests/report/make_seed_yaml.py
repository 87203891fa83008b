#!/usr/bin/env python3
"""Makes seed.yaml from seed-report.md: a report whose samples have exactly the seed's means and deviations.

The seed prints six digits, so the true numbers are known to half a unit of the sixth. Ten samples a pass are drawn up with a
mean and a deviation inside those bounds such that the differences and the sums of variances, too, round to what the seed
prints. Usage: make_seed_yaml.py seed-report.md > seed.yaml
"""
import itertools
import math
import sys

SHAPE = [-1.6, -1.1, -0.7, -0.35, -0.1, 0.1, 0.35, 0.7, 1.1, 1.6]  # mean 0; scaled to deviation 1 below
SCALE = math.sqrt(sum(x * x for x in SHAPE) / 9)
MODELS = {"S": (768, 3072, 12, 12), "M": (1024, 4096, 24, 16), "L": (1280, 5120, 36, 20)}


def samples(mean, deviation):
    values = [round((mean + x / SCALE * deviation) * 1e9) for x in SHAPE]
    values[4] += round(mean * 1e9 * 10) - sum(values)
    return values


def summary(values):
    mean = sum(values) / len(values)
    return mean * 1e-9, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) * 1e-9


def around(text):
    value = float(text)
    unit = 10 ** (math.floor(math.log10(value)) - 5)
    return [value + step * unit for step in (0, 0.2, -0.2, 0.35, -0.35, 0.45, -0.45)]


def solve(cells):
    """Samples of both passes whose six printed numbers are the seed's."""
    fwd_mean, fwd_sd, back_mean, back_sd, both_mean, both_sd = cells
    for fm, fs, bm, bs in itertools.product(around(fwd_mean), around(fwd_sd), around(both_mean), around(both_sd)):
        forward, both = samples(fm, fs), samples(bm, bs)
        (m, s), (n, t) = summary(forward), summary(both)
        if ["%g" % x for x in (m, s, n - m, math.sqrt(s * s + t * t), n, t)] == list(cells):
            return forward, both
    raise SystemExit("no samples for %s" % (cells,))


def main():
    print("# The seed's table as a report: samples made to have the printed means and deviations (make_seed_yaml.py).")
    print("schema: steptop/report/1\nhost:\n  hostname: MBAir\ncells:")
    rows = [line for line in open(sys.argv[1]) if line.startswith("|") and "cpu" in line or "mps" in line]
    for number, line in enumerate(rows):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        forward, both = solve(cells[6:12])
        width, inner, layers, heads = MODELS[cells[4]]
        print(f"""  - id: {number + 1}
    status: {cells[12]}
    requested:
      device: {cells[1]}
      model: {{name: {cells[4]}, preset: cs336-2025, kind: lm, d_model: {width}, d_ff: {inner}, num_layers: {layers}, num_heads: {heads}, vocab_size: 10000}}
      batch_size: {cells[2]}
      context_length: {cells[5]}
      dtype: fp32
      compile: {cells[3].lower()}
      passes: [fwd, fwd_bwd]
      warmup: 5
      steps: 10
    passes:
      fwd: {{phases: {{total: {{samples_ns: {forward}}}}}}}
      fwd_bwd: {{phases: {{total: {{samples_ns: {both}}}}}}}""")
    print("complete: true")


main()
