"""steptop's CPU step against PyTorch's, the same model and shapes, one process a side.

First PyTorch's best setting is looked for (attention as written or scaled_dot_product_attention, how waiting threads
wait, how memory is allocated), a fresh process each. Then that one and steptop take turns, one step each; whoever does
not have its turn is stopped (SIGSTOP), so that its waiting threads take nothing. Printed are the medians, the median of
the pairwise ratios with its range, and the peaks of resident memory.
"""
import argparse
import os
import signal
import statistics
import subprocess
import sys
import time

PRESETS = {  # d_model, d_ff, layers, heads
    "tiny": (256, 1024, 4, 4), "S": (768, 3072, 12, 12), "M": (1024, 4096, 24, 16), "L": (1280, 5120, 36, 20),
}
VOCABULARY = 10000

ENVIRONMENTS = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "active": {"OMP_WAIT_POLICY": "active"},
    # Large blocks stay with the process and lie on huge pages: glibc's own switches.
    "kept memory": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824"
                                      ":glibc.malloc.trim_threshold=17179869184"},
    "passive, kept memory": {"OMP_WAIT_POLICY": "passive",
                             "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824"
                                               ":glibc.malloc.trim_threshold=17179869184"},
}


def build_model(preset, attention):
    """The model of the course, stated in PyTorch: pre-norm blocks, RoPE, SwiGLU, no biases, untied embeddings."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    width, hidden, layers, heads = PRESETS[preset]

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width))

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight

    def linear(wide_in, wide_out):
        layer = nn.Linear(wide_in, wide_out, bias=False)
        sigma = (2 / (wide_in + wide_out)) ** 0.5
        nn.init.trunc_normal_(layer.weight, std=sigma, a=-3 * sigma, b=3 * sigma)
        return layer

    def turn(x, cosine, sine):
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln1, self.ln2 = Norm(), Norm()
            self.q, self.k, self.v, self.o = (linear(width, width) for _ in range(4))
            self.w1, self.w3, self.w2 = linear(width, hidden), linear(width, hidden), linear(hidden, width)

        def forward(self, x, cosine, sine, mask):
            batch, context, _ = x.shape
            h = self.ln1(x)
            q, k, v = (f(h).view(batch, context, heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
            q, k = turn(q, cosine, sine), turn(k, cosine, sine)
            if attention == "sdpa":
                a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5
                a = torch.softmax(scores.masked_fill(mask, float("-inf")), dim=-1) @ v
            x = x + self.o(a.transpose(1, 2).reshape(batch, context, width))
            h = self.ln2(x)
            return x + self.w2(F.silu(self.w1(h)) * self.w3(h))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, width)
            nn.init.trunc_normal_(self.embedding.weight, std=1, a=-3, b=3)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = Norm(), linear(width, VOCABULARY)

        def forward(self, tokens, cosine, sine, mask):
            x = self.embedding(tokens)
            for block in self.blocks:
                x = block(x, cosine, sine, mask)
            return self.head(self.norm(x))

    return Model()


def serve(options):
    """One forward and backward a line of standard input; answers "seconds loss peak_resident_bytes"."""
    import resource

    import torch
    from torch.nn import functional as F

    torch.manual_seed(0)
    torch.set_num_threads(options.threads or os.cpu_count())
    width, _, _, heads = PRESETS[options.model]
    model = build_model(options.model, options.attention).train()
    tokens, targets = (torch.randint(VOCABULARY, (options.batch, options.context)) for _ in range(2))
    size = width // heads
    angles = torch.arange(options.context)[:, None] * 10000.0 ** (-torch.arange(0, size, 2) / size)
    cosine, sine = angles.cos(), angles.sin()
    mask = torch.ones(options.context, options.context, dtype=torch.bool).triu(1)
    run = torch.compile(model) if options.compiled else model
    for _ in sys.stdin:
        model.zero_grad(set_to_none=True)
        start = time.perf_counter()
        logits = run(tokens, cosine, sine, mask)
        loss = F.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))
        loss.backward()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"{seconds:.6f} {loss.item():.7g} {peak}", flush=True)


class Server:
    """A process that makes one step a line, stopped between its turns."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})
        self.stopped = False

    def step(self):
        if self.stopped:
            self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().split()
        if len(line) != 3:
            raise RuntimeError(f"{self.process.args} ended without an answer")
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True
        return float(line[0]), float(line[1]), int(line[2])

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


def torch_server(options, model, context, compiled, attention, environment):
    command = [sys.executable, __file__, "--serve", "--model", model, "--batch", str(options.batch), "--context",
               str(context), "--attention", attention, "--threads", str(options.threads)]
    return Server(command + (["--compiled"] if compiled else []), ENVIRONMENTS[environment])


def best_setting(options, model, context, compiled):
    best = None
    for attention in ("written", "sdpa"):
        for environment in options.environments:
            server = torch_server(options, model, context, compiled, attention, environment)
            try:
                server.step()
                seconds = min(server.step()[0] for _ in range(options.trials))
            finally:
                server.end()
            print(f"  torch {'compile' if compiled else 'eager'}, {attention}, {environment}: {seconds:.3f} s",
                  flush=True)
            if best is None or seconds < best[0]:
                best = (seconds, attention, environment)
    return best[1:]


def compare(options, model, context, compiled):
    attention, environment = best_setting(options, model, context, compiled)
    # Waiting threads as steptop's worker sets them.
    ours = Server([options.steptop, "--serve", "--model", model, "--batch", str(options.batch), "--context",
                   str(context)] + (["--compile"] if compiled else []), {"GOMP_SPINCOUNT": "1000"})
    theirs = torch_server(options, model, context, compiled, attention, environment)
    try:
        for server in (ours, theirs):
            server.step()
        pairs = [(ours.step(), theirs.step()) for _ in range(options.repeats)]
    finally:
        ours.end()
        theirs.end()
    ratios = sorted(a[0] / b[0] for a, b in pairs)
    a, b = (statistics.median(p[side][0] for p in pairs) for side in (0, 1))
    memory = pairs[-1][0][2] / pairs[-1][1][2]
    return (f"| {model} | {options.batch} × {context} | {'compile' if compiled else 'eager'} | {a:.3f} | {b:.3f} "
            f"| {statistics.median(ratios):.3f} | {ratios[0]:.3f} … {ratios[-1]:.3f} | {len(pairs)} "
            f"| {pairs[-1][0][2] / 2**20:.0f} | {pairs[-1][1][2] / 2**20:.0f} | {memory:.3f} "
            f"| {attention}, {environment} |")


def cpu_model():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown CPU"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steptop", default="build/bench/bench_cpu", help="the program bench_cpu")
    parser.add_argument("--model", default="S", choices=PRESETS)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0, help="PyTorch's threads; 0: one a core")
    parser.add_argument("--repeats", type=int, default=7, help="pairs of steps")
    parser.add_argument("--trials", type=int, default=2, help="steps for each setting of PyTorch, after one uncounted")
    parser.add_argument("--environments", nargs="+", default=["default", "passive", "passive, kept memory"],
                        choices=ENVIRONMENTS)
    parser.add_argument("--modes", nargs="+", default=["eager", "compile"], choices=["eager", "compile"])
    parser.add_argument("--all", action="store_true", help="S, S at context 1024, and M")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--attention", default="written", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    import torch
    cases = [("S", 256), ("S", 1024), ("M", 256)] if options.all else [(options.model, options.context)]
    rows = [compare(options, model, context, mode == "compile") for model, context in cases for mode in options.modes]
    print(f"\n{time.strftime('%Y-%m-%d')}, {cpu_model()}, {os.cpu_count()} cores, PyTorch {torch.__version__}, "
          "fp32, forward + backward; seconds a step are medians, the ratio is steptop ÷ PyTorch (median of pairs)\n")
    print("| model | batch × context | mode | steptop s | PyTorch s | ratio | range | pairs | steptop MiB | PyTorch MiB "
          "| memory ratio | PyTorch's best setting |")
    print("|---|---|---|---:|---:|---:|---|---:|---:|---:|---:|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
