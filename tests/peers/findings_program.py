# One of the programs that findings.py runs: `findings_program.py CASE ill|cured`, bound in the way that CASE says, or not. DEVICE is cpu
# or cuda. TOOL puts one of the rivals around the loop, as its documentation says: traceml, gpuprof. The last line on standard error is
# a step by the program's own clock, in ms: the median on a processor; on a card, whose host runs ahead, the mean up to the end of all
# work. `both`: first ill, then cured, TURNS times (1), of one start of Python. Exit status 77: this machine cannot run it.
import contextlib
import fcntl
import mmap
import os
import random
import statistics
import sys
import time

import torch
import torch.nn.functional as F
import torch.utils.checkpoint

if sys.argv[2] == "both":
    for which in ("ill", "cured") * int(os.environ.get("TURNS", "1")):
        child = os.fork()
        if child == 0:
            sys.argv[2] = which
            break
        if os.waitpid(child, 0)[1]:
            sys.exit(1)
    else:
        sys.exit(0)
tool = os.environ.get("TOOL", "")
around, around_step = contextlib.nullcontext(), contextlib.nullcontext
if tool == "traceml":
    import traceml_ai

    traceml_ai.init(mode="auto")
    around_step = lambda: traceml_ai.trace_step(model)
if tool == "gpuprof":
    import gpuprof

    around = gpuprof.profile("findings")

if os.environ.get("CARD_LOCK"):  # of several programs one at a time has the card; Python's start is beside another's work
    card = open(os.environ["CARD_LOCK"], "a")
    fcntl.flock(card, fcntl.LOCK_EX)
torch.set_num_threads(1)
if sys.argv[1] in ("affinity", "healthy_program"):
    torch.set_num_threads(len(os.sched_getaffinity(0)))
if sys.argv[1:3] == ["affinity", "ill"]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
torch.manual_seed(0)
device = os.environ.get("DEVICE", "cpu")
case, ill = sys.argv[1], sys.argv[2] == "ill"
on_card = device == "cuda"
D, NARROW, HEADS = (1024, 64, 8) if on_card else (192, 16, 6)
if on_card:
    torch.set_float32_matmul_precision("high")
elif case == "large-bucket":  # more than one bucket's worth of gradients
    D = 512

def work(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(D, 4 * D), torch.nn.Linear(4 * D, D)
    def forward(self, x):
        if case == "layout" and ill:
            for _ in range(60):
                x = x.transpose(0, 1).contiguous().transpose(0, 1).contiguous()
        if case == "launch" and ill:
            work(0.002 if on_card else 0.02)
        if case in ("drift", "spread") and ill:  # work that grows, or that each sixth step has more of
            for _ in range(at[0] // 5 if case == "drift" else 4 * (at[0] % 6 == 5)):
                self.b(F.gelu(self.a(x)))
        if case == "warmup" and self is blocks[0] and at[0] < 5:  # a table that is made when it is first asked for, a part in each step
            work(0.4)
        y = F.gelu(self.a(x))
        if case == "sync":
            seen = x.detach().sum(), y.detach()[0, 0]
            if ill:
                [one.item() for one in seen]
            else:  # kept on the card, where somebody may read them now and then
                kept[:] = seen
        return x + self.b(y)

class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(D, 3 * D), torch.nn.Linear(D, D)
    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = (y.view(n, t, HEADS, D // HEADS).transpose(1, 2) for y in self.qkv(x).split(D, 2))
        if ill:
            s = q @ k.transpose(-2, -1) / (D // HEADS) ** 0.5
            s = s.masked_fill(torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1), float("-inf"))
            y = torch.softmax(s, -1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(y.transpose(1, 2).reshape(n, t, D))

kept, at = [], [0]
blocks = [Block() for _ in range(6 if case == "loss" else 12)] if on_card else [Block() for _ in range(4)]
if case == "attention":
    blocks = [Attention() for _ in range(3)]
if case == "optimizer":
    wide = 1024  # few products of many weights
    blocks = [torch.nn.Linear(D, wide), *[torch.nn.Linear(wide, wide) for _ in range(40 if on_card else 8)], torch.nn.Linear(wide, D)]
if case == "loss":  # a narrow head over a large vocabulary
    blocks.append(torch.nn.Linear(D, NARROW))
model = torch.nn.Sequential(*blocks).to(device)
if case == "embedding":  # rows of a table, of which a step uses few
    table = torch.nn.Embedding(2000000 if on_card else 100000, D if on_card else 192, sparse=not ill, device=device)
    model = torch.nn.Sequential(table, *blocks[:2]).to(device)
late = False
if "RANK" in os.environ:  # one of several
    torch.distributed.init_process_group("gloo")
    late = case == "straggler" and ill and torch.distributed.get_rank() == 1
    model = torch.nn.parallel.DistributedDataParallel(model, bucket_cap_mb=1000 if case == "large-bucket" and ill else 4)
head = torch.nn.Linear(NARROW if case == "loss" else D, (64000 if on_card else 32000) if case == "loss" else 100).to(device)
parameters = list(model.parameters()) + list(head.parameters())
if case == "optimizer":
    optimizer = torch.optim.AdamW(parameters, **({"foreach": False} if ill else {"fused": True}))
else:
    optimizer = torch.optim.SGD(parameters, lr=1e-3)
shape = {"healthy_program": (4096, D), "affinity": (4096, D), "attention": (2, 512, D), "optimizer": (64, D), "loss": (256, D), "layout": (16, 64, D), "large-bucket": (128, D)}.get(case, (512, D))
if on_card:
    shape = {"attention": (8, 1024, D), "layout": (64, 64, D), "healthy_program": (32768, D)}.get(case, (4096, D))
x = torch.randn(*shape)
rows = x.numel() // D
if case == "embedding":
    x = torch.randint(0, 100000, (rows,))
y = torch.randint(0, 100, (rows,))
if case == "precision":
    torch.set_float32_matmul_precision("highest" if ill else "high")
if case != "copies" or not ill:
    x = x.to(device)
y = y.to(device)

def put_file(path, size):
    """A file of `size` bytes that stand on a disk."""
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())


def pieces(seed, count):
    """Many small pieces of a file: from the disk, one after the other, or from memory, where the file is after its first reading."""
    here = random.Random(seed)
    piece = mmap.mmap(-1, 4096)  # direct reading wants whole pages
    file = os.open(os.environ["DISK_FILE"], os.O_RDONLY | (os.O_DIRECT if ill else 0))
    for _ in range(count):
        os.preadv(file, [piece], here.randrange(DISK_BYTES >> 12) << 12)
    os.close(file)


DISK_BYTES = 64 << 20
if case == "disk":
    path = os.environ["DISK_FILE"] = os.path.join(os.environ.get("FINDINGS_FOLDER", "."), "disk-%d" % os.getpid())
    put_file(path, DISK_BYTES)
    with open(path, "rb") as whole:
        whole.read()
    try:
        pieces(0, 1)
    except OSError as error:
        print("no direct reading from %s: %s" % (os.path.dirname(path), error.strerror), file=sys.stderr)
        os.unlink(path)
        sys.exit(77)


class Data(torch.utils.data.Dataset):
    def __len__(self):
        if "STEPS" in os.environ:
            return int(os.environ["STEPS"])
        if case == "memory":
            return 14
        if case in ("spread", "drift"):  # long enough that others on the processor while it started count for little
            return 150 if case == "spread" else 80
        return 150 if on_card and case not in ("recompile", "precision", "launch", "accumulation", "healthy_program") else 60
    def __getitem__(self, index):
        if case == "input" and ill:
            work(0.1)
        if case == "starved":
            work(0.3 if ill else 0.02)
        if case == "disk":
            pieces(index, 600)  # of a disk that gives 2000 a second
        return index

run = model
if case == "memory":  # as many rows as take 94 % of the card; the cured twin makes what it keeps again
    def run(x):
        for block in blocks:
            x = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False) if not ill else block(x)
        return x
    held = []
    F.cross_entropy(head(model(x[:1024])), y[:1024]).backward()  # gradients are there from now on
    for part in (2048, 4096):
        torch.cuda.reset_peak_memory_stats()
        F.cross_entropy(head(model(x[:part])), y[:part]).backward()
        held.append(torch.cuda.max_memory_allocated())
    room = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    rows = 2048 + int((0.94 * room - held[0]) / (held[1] - held[0]) * 2048)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    x, y = torch.randn(rows, D, device=device), torch.randint(0, 100, (rows,), device=device)
if case == "recompile":
    run = torch.compile(model, backend="aot_eager", dynamic=False)
    for _ in range(3):  # its first graph is warm-up's
        run(x).sum().backward()
loader = torch.utils.data.DataLoader(Data(), batch_size=None, num_workers=1 if case in ("starved", "disk") else 0)
fused = torch.compile(F.cross_entropy) if case == "loss" and not ill and on_card else None


if case == "allocator":  # room for one of these tensors; none of a step fits where the last one's was, or each is the same
    torch.cuda.set_per_process_memory_fraction(0.25)


def one(step):
    at[0] = step
    if case == "allocator":
        torch.empty(int((0.12 + (0.0005 * step if ill else 0.075)) * torch.cuda.get_device_properties(0).total_memory), dtype=torch.uint8, device=device)
    if case == "outside" and ill:
        work(0.1)
    if case == "stall" and ill and step % 10 == 9:
        time.sleep(1)
    batch = x
    if case == "recompile" and ill and step % 6 == 5:
        batch = x[: rows - step]
    if late:
        with torch.no_grad():
            for _ in range(2):
                model.module(batch)
    if case == "accumulation" and ill:
        optimizer.zero_grad()
        for part, want in zip(batch.chunk(8), y.chunk(8)):
            (F.cross_entropy(head(model(part)), want) / 8).backward()
        optimizer.step()
        return
    h = run(batch.to(device)).reshape(len(batch) if case == "recompile" else rows, -1)
    logits = head(h)
    if case == "loss" and not ill:  # on a card compiled to one kernel, which has nothing to work with on every CPU
        loss = fused(logits, y) if on_card else logits.square().mean()
    else:
        loss = F.cross_entropy(logits, y[: len(h)])
    optimizer.zero_grad()
    loss.backward()
    if case == "creep" and ill:
        kept.append(torch.ones(1 << 22 if on_card else 1 << 20, device=device) * step)
    optimizer.step()


def settled():
    if on_card:
        torch.cuda.synchronize()
    return time.perf_counter()


if on_card:  # an idle card has a low clock, and what comes first would look slow
    until, square = time.perf_counter() + 0.7, torch.ones(4096, 4096, device=device)
    while settled() < until:
        for _ in range(20):
            square @ square
times = []
with around:
    before = time.perf_counter()
    for step in loader:
        if step == 10:
            began = before = settled()
        with around_step():
            one(step)
        now = time.perf_counter()
        times.append(now - before)
        before = now
    whole = (settled() - began) / (len(times) - 10)
if case == "disk":
    os.unlink(os.environ["DISK_FILE"])
print("%.3f" % (1e3 * (whole if on_card else statistics.median(times[5:]))), file=sys.stderr)
