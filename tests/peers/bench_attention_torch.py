#!/usr/bin/env python3
"""Causal attention in bf16 by PyTorch's backends, forward and backward, in captured graphs on random data.

usage: bench_attention_torch.py [DxTxB ...] [--heads 16]
RoPE is not in it; steptop's figures (bench_attention) have it in.
"""
import argparse
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SHAPES = ["64x512x8", "64x2048x4", "64x4096x4", "64x16384x1", "128x512x8", "128x2048x4", "128x4096x4", "128x16384x1", "80x4096x4",
          "64x256x4"]


def graph_us(call):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        call()
    times = []
    for _ in range(8):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1e3)
    return statistics.median(times[2:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", nargs="*", default=SHAPES)
    parser.add_argument("--heads", type=int, default=16)
    options = parser.parse_args()
    print(f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {torch.cuda.get_device_name()}")
    for shape in options.shapes:
        d, t, b = map(int, shape.split("x"))
        h = options.heads
        q, k, v, do = (torch.randn(b, t, h, d, device="cuda", dtype=torch.bfloat16).transpose(1, 2) for _ in range(4))
        for x in (q, k, v):
            x.requires_grad_()
        line = f"D {d} T {t} B {b} H {h}:"
        for name, backend in (("flash", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
            try:
                with sdpa_kernel(backend):
                    with torch.no_grad():
                        forward = graph_us(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
                    both = graph_us(lambda: torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), do))
                flops = 2 * b * h * t * t * d
                backward = both - forward
                line += (f"  {name} forward {forward:.1f} us {flops / forward * 1e-6:.0f} TFLOP/s, backward {backward:.1f} us "
                         f"{2.5 * flops / backward * 1e-6:.0f}")
            except RuntimeError as error:
                line += f"  {name}: {str(error).splitlines()[0][:80]}"
        print(line, flush=True)


main()
