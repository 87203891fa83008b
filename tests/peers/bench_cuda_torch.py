#!/usr/bin/env python3
"""Forward + backward of the reference model in PyTorch and in steptop, on one GPU, interleaved.

usage: bench_cuda_torch.py BENCH_CUDA [--sizes S,M,L,2p7] [--compile S,M] [--long 4x1024,4x4096,1x16384] [--steps 10]
                           [--modes default,reduce-overhead,max-autotune] [--backends cudnn,flash] [--lock FILE] [--warm]
Each size and precision: PyTorch eager (scaled_dot_product_attention), steptop's programs, PyTorch eager again. Cold is the
time from opening the device to a program that is ready, with an empty cache; warm the same with a filled one. Prints a
Markdown table against the project's goals for an H200, then torch.compile for the sizes asked for. --long: S in bf16 at other
batches x contexts, eager by each backend of scaled_dot_product_attention, and by torch.compile: its first mode with each of --backends,
the others with the first; the best quoted, against steptop before and after it. --warm compiles all of that and times nothing: with the compiler's caches filled
several such programs may then run side by side, one of which times at once (--lock).
"""
import argparse
import contextlib
import fcntl
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SIZES = {"S": (768, 3072, 12, 12), "M": (1024, 4096, 24, 16), "L": (1280, 5120, 36, 20), "2p7": (2560, 10240, 32, 32)}
GOALS = {("S", "tf32"): 4, ("S", "bf16"): 2.5, ("M", "tf32"): 11, ("M", "bf16"): 7, ("L", "tf32"): 25, ("L", "bf16"): 15,
         ("2p7", "tf32"): 85, ("2p7", "bf16"): 45}
VOCAB, BATCH, CONTEXT = 10000, 4, 256


class RMSNorm(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(c))

    def forward(self, x):
        kept = x.dtype
        x = x.float()
        return (self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))).to(kept)


class Block(nn.Module):
    def __init__(self, c, f, heads):
        super().__init__()
        self.heads, self.d = heads, c // heads
        self.ln1, self.ln2 = RMSNorm(c), RMSNorm(c)
        self.q, self.k, self.v, self.o = (nn.Linear(c, c, bias=False) for _ in range(4))
        self.w1, self.w3 = nn.Linear(c, f, bias=False), nn.Linear(c, f, bias=False)
        self.w2 = nn.Linear(f, c, bias=False)

    def split(self, x):
        b, t, _ = x.shape
        return x.view(b, t, self.heads, self.d).transpose(1, 2)

    @staticmethod
    def turn(x, cos, sin):
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)

    def forward(self, x, cos, sin):
        h = self.ln1(x)
        q, k, v = self.turn(self.split(self.q(h)), cos, sin), self.turn(self.split(self.k(h)), cos, sin), self.split(self.v(h))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).flatten(2))
        h = self.ln2(x)
        return x + self.w2(F.silu(self.w1(h)) * self.w3(h))


class Model(nn.Module):
    def __init__(self, c, f, layers, heads, context=CONTEXT):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, c)
        self.blocks = nn.ModuleList(Block(c, f, heads) for _ in range(layers))
        self.ln, self.head = RMSNorm(c), nn.Linear(c, VOCAB, bias=False)
        d = c // heads
        angle = torch.arange(context)[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens, targets):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.ln(x)).flatten(0, 1), targets.flatten())


def step_ms(model, call, tokens, targets, precision, steps, warmup=5):
    def step():
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            loss = call(tokens, targets)
        loss.backward()
        model.zero_grad(set_to_none=True)
    for _ in range(warmup):
        step()
    times = []
    for _ in range(steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def make(size, batch=BATCH, context=CONTEXT):
    torch.manual_seed(1)
    with torch.device("cuda"):
        tokens = [torch.randint(VOCAB, (batch, context)) for _ in range(2)]
        return Model(*SIZES[size], context), *tokens


def steptop(bench, size, precision, steps, cache, *more):
    """bench_cuda's line of figures as a dictionary; empty when it failed, with its reason on standard error."""
    line = subprocess.run([bench, "--model", size, "--precision", precision, "--steps", str(steps), "--cache", cache, *more],
                          capture_output=True, text=True)
    if line.returncode:
        print(line.stderr, file=sys.stderr)
        return {}
    words = line.stdout.splitlines()[0].split()
    return dict(zip(words[0::2], words[1::2]))


def number(run, key, digits=2):
    return f"{float(run[key]):.{digits}f}" if key in run else "n/a"


BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}


@contextlib.contextmanager
def alone(options):
    """One of several such programs at a time."""
    if not options.lock:
        yield
        return
    with open(options.lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def way_ms(options, model, tokens, targets, mode, backend):
    """Eager (mode "eager") or compiled; NaN where this combination does not run, or with --warm."""
    torch._dynamo.reset()
    start = time.perf_counter()
    try:
        with sdpa_kernel(BACKENDS[backend]):
            call = model if mode == "eager" else torch.compile(model, mode=None if mode == "default" else mode)
            with alone(options) if mode == "max-autotune" and options.warm else contextlib.nullcontext():
                step_ms(model, call, tokens, targets, "bf16", 1, warmup=0)
            if options.warm:
                print(f"  {mode} {backend}: {time.perf_counter() - start:.0f} s", flush=True)
                return math.nan
            with alone(options):
                return step_ms(model, call, tokens, targets, "bf16", options.steps)
    except Exception as error:  # whatever the compiler raises
        print(f"  {mode} {backend}: {str(error).splitlines()[0][:120]}", flush=True)
        return math.nan


def long_contexts(options, cache):
    for shape in filter(None, options.long.split(",")):
        batch, context = map(int, shape.split("x"))
        model, tokens, targets = make("S", batch, context)

        def ours():
            with alone(options):
                return float(steptop(options.bench, "S", "bf16", options.steps, cache, "--batch", str(batch), "--context",
                                     str(context)).get("step_ms", "nan"))
        before = math.nan if options.warm else ours()
        ways = [("eager", backend) for backend in BACKENDS if not options.warm]
        modes, backends = (list(filter(None, text.split(","))) for text in (options.modes, options.backends))
        ways += [(mode, backend) for mode in modes for backend in (backends if mode == modes[0] else backends[:1])]
        times = {way: way_ms(options, model, tokens, targets, *way) for way in ways}
        del model
        torch.cuda.empty_cache()
        if options.warm:
            continue
        after = ours()
        known = {key: ms for key, ms in times.items() if not math.isnan(ms)}
        best = min(known, key=known.get) if known else None
        listed = ", ".join(f"{mode} {backend} {ms:.2f}" for (mode, backend), ms in times.items())
        ratio = statistics.mean((before, after)) / known[best] if best else math.nan
        print(f"| S bf16 {batch} x {context} | steptop {before:.2f}, {after:.2f} | PyTorch's best {known[best] if best else math.nan:.2f} "
              f"({' '.join(best) if best else 'none'}) | {ratio:.2f} | goal 0.80 | {'ok' if ratio <= 0.8 else 'MISSED'} | {listed} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--sizes", default="S,M,L,2p7")
    parser.add_argument("--compile", default="", help="sizes to measure torch.compile on, last")
    parser.add_argument("--long", default="", help="BATCHxCONTEXT,... to measure S bf16 at")
    parser.add_argument("--modes", default="default,reduce-overhead,max-autotune")
    parser.add_argument("--backends", default="cudnn,flash")
    parser.add_argument("--lock", help="a file: of several such programs one times at once")
    parser.add_argument("--warm", action="store_true", help="compile what --long asks for, time nothing")
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = True
    cache = tempfile.mkdtemp(prefix="steptop-peer-")
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}, batch {BATCH} x context {CONTEXT}, forward + backward, "
          f"median ms of {options.steps}; PyTorch before and after steptop")
    print("| | torch eager + SDPA | steptop eager | steptop compile | goal | | torch MiB | steptop MiB | AdamW ms | cold s | warm s |")
    print("|---|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|")
    for size in filter(None, options.sizes.split(",")):
        torch.cuda.empty_cache()
        model, tokens, targets = make(size)
        for precision in ("tf32", "bf16"):
            torch.cuda.reset_peak_memory_stats()
            before = step_ms(model, model, tokens, targets, precision, options.steps)
            peak = torch.cuda.max_memory_allocated() / 2**20
            torch.cuda.empty_cache()
            run = lambda *more: steptop(options.bench, size, precision, options.steps, cache, *more)
            cold, warm = run(), run("--train")
            again = run()
            eager = run("--eager") if size == "S" else {}
            after = step_ms(model, model, tokens, targets, precision, options.steps)
            ours = [float(r["step_ms"]) for r in (cold, again) if "step_ms" in r]
            ms, goal = statistics.mean(ours) if ours else math.nan, GOALS[size, precision]
            print(f"| {size} {precision} | {before:.1f}, {after:.1f} | {number(eager, 'step_ms')} | {ms:.2f} ({', '.join(f'{o:.2f}' for o in ours)}) | "
                  f"{goal} | {'ok' if ms <= goal else 'MISSED'} | {peak:.0f} | {number(again, 'memory_mib', 0)} | {number(warm, 'phase_opt')} | "
                  f"{number(cold, 'open_to_ready_s')} | {number(again, 'open_to_ready_s')} |", flush=True)
        del model
    long_contexts(options, cache)
    for size in filter(None, options.compile.split(",")):
        model, tokens, targets = make(size)
        for precision in ("tf32", "bf16"):
            torch._dynamo.reset()
            start = time.perf_counter()
            ms = step_ms(model, torch.compile(model), tokens, targets, precision, options.steps)
            ours = steptop(options.bench, size, precision, options.steps, cache)
            print(f"torch.compile {size} {precision}: {ms:.1f} ms, {time.perf_counter() - start:.0f} s with compiling; steptop compile "
                  f"after it {number(ours, 'step_ms')} ms", flush=True)
        del model
    shutil.rmtree(cache)


main()
