#!/usr/bin/env python3
"""The bf16 products of a compiled step by oneDNN, which is what PyTorch's torch.mm runs on a CPU with AVX-512 BF16 or AMX, beside
steptop's own of the same shapes and layouts, weighted as in a step: oneDNN, a steptop step's nodes, oneDNN again.

usage: products_cpu_torch.py [--bench build/bench/bench_cpu] [--threads N] [bench_cpu's options]
oneDNN's results here are bf16; steptop's weight gradients are fp32, which is twice the bytes to write.
"""
import argparse
import re
import subprocess
import time

import torch


def median_seconds(m, n, k, letters):
    """Operands as they lie in a step, of several products in turn, so that they come from memory."""
    sets = max(2, min(16, int(2e8 / (2 * (m * k + n * k + m * n)))))
    a = [torch.randn((k, m) if letters[0] == "t" else (m, k)).bfloat16() for _ in range(sets)]
    b = [torch.randn((n, k) if letters[1] == "t" else (k, n)).bfloat16() for _ in range(sets)]
    out = torch.empty((m, n), dtype=torch.bfloat16)
    times = []
    for trial in range(3 * sets):
        x, y = a[trial % sets], b[trial % sets]
        start = time.perf_counter()
        torch.mm(x.t() if letters[0] == "t" else x, y.t() if letters[1] == "t" else y, out=out)
        times.append(time.perf_counter() - start)
    times = sorted(times[sets:])
    return times[len(times) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", default="build/bench/bench_cpu")
    parser.add_argument("--threads", type=int, default=0)
    options, more = parser.parse_known_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    run = subprocess.run([options.bench, "--compile", "--dtype", "bf16", "--kernels", *more], capture_output=True, text=True)
    shapes = [(match[1], *map(int, match[2].split("x")), int(match[3]), float(match[4]))
              for match in re.finditer(r"^gemm_bf16_\w*?_(nt|nn|tn) (\d+x\d+x\d+) +(\d+) +([\d.]+) ", run.stdout, re.M)]
    if not shapes:
        raise SystemExit(run.stdout + run.stderr)
    print(f"PyTorch {torch.__version__}, oneDNN {torch.backends.mkldnn.is_available()}, {torch.get_num_threads()} threads; GFLOP/s")
    total = [0, 0, 0]
    for letters, m, n, k, calls, ms in shapes:
        flops = 2 * m * n * k
        theirs = [median_seconds(m, n, k, letters), median_seconds(m, n, k, letters)]
        ours = ms * 1e-3 / calls
        for i, seconds in enumerate((ours, *theirs)):
            total[i] += seconds * calls
        print(f"{letters} {m}x{n}x{k} x{calls}: steptop {flops / ours * 1e-9:.0f}, oneDNN {flops / theirs[0] * 1e-9:.0f}, "
              f"{flops / theirs[1] * 1e-9:.0f}", flush=True)
    print(f"a step's products: steptop {total[0] * 1e3:.1f} ms, oneDNN {total[1] * 1e3:.1f}, {total[2] * 1e3:.1f} ms; "
          f"steptop / oneDNN {total[0] / min(total[1:]):.3f}")


main()
