# A GPT of four layers that trains on the CPU, as a stranger would write it; the first argument says what is special about it. What it
# prints is the loss of each step, to the last bit.
import importlib.util
import sys
import time
import weakref

if sys.argv[1] == "tools":  # as libraries do before they import it
    assert importlib.util.find_spec("torch")

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

MODE, STEPS = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
torch.set_num_threads(1)


def attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    hidden = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1)  # before PyTorch 2.0
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(hidden, -1e9).softmax(-1) @ v


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.ReLU(inplace=MODE == "inplace"), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.out(attention(q, k, v).transpose(1, 2).reshape(x.shape))
        return x + self.down(self.act(self.up(self.norm2(x))))


def tools():
    # What cannot bear that anybody asks a tensor something, or sees it saved: a trace, whose graph is compared; derivatives of functions;
    # an operator of higher order.
    new = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64))
    torch.jit.trace(new, torch.ones(2, 64))
    parameters = dict(new.named_parameters())
    torch.func.grad(lambda p: torch.func.functional_call(new, p, (torch.ones(3, 64),)).sum())(parameters)
    torch.func.vmap(new)(torch.ones(4, 64))
    deep = nn.Identity()
    for _ in range(230):  # not far from Python's limit of recursion
        deep = nn.Sequential(deep)
    deep(torch.ones(1))
    if hasattr(torch.ops.higher_order, "cond"):
        torch.ops.higher_order.cond(torch.tensor(True), lambda x: (x.sin(),), lambda x: (x.cos(),), (torch.ones(2),))


def around():
    # The first module that is called at all is called within a trace by dispatch, a transform and a mode: none of them may see anybody else.
    from torch.fx.experimental.proxy_tensor import make_fx

    seen = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), keywords=None):
            seen.append(getattr(function, "__name__", str(function)))
            return function(*arguments, **(keywords or {}))

    new = nn.Linear(3, 3)
    gradient = torch.func.grad(lambda p, x: torch.func.functional_call(new, p, (x,)).sum())
    with Watch():
        graph = make_fx(gradient)(dict(new.named_parameters()), torch.ones(2, 3))
    print("0x0 " + " ".join(str(node.target) for node in graph.graph.nodes))
    print("0x1 " + " ".join(seen))


def left():
    # What nobody goes back through goes when the last who has it lets go, in the step that is looked at as well.
    result = torch.ones(8, requires_grad=True).exp()
    there = weakref.ref(result)
    del result
    print("0x%d left" % (there() is not None))


class Model(nn.Module):
    def __init__(self, vocabulary=256, width=64, layers=4, length=64):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        if MODE == "tools":
            tools()
        if MODE in ("plain", "tools"):
            left()
        if MODE == "late" and step > 0:  # what is compiled for the first time in the step that is looked at
            x = late(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if MODE == "checkpoint" else block(x)
        return self.head(self.norm(x))


class Text(torch.utils.data.Dataset):
    def __len__(self):
        return 1 << 20

    def __getitem__(self, index):
        if MODE == "outside":  # a convolution that is no module's, by oneDNN
            F.conv2d(torch.ones(8, 3, 64, 64), torch.ones(16, 3, 3, 3, requires_grad=True), padding=1)
        if MODE == "loader":
            time.sleep(0.02)
        return torch.randint(0, 256, (64,), generator=torch.Generator().manual_seed(index))


def llama_or_gpt2():
    import transformers

    if MODE == "llama":
        config = transformers.LlamaConfig(hidden_size=64, intermediate_size=176, num_hidden_layers=2, num_attention_heads=4, vocab_size=256)
        return transformers.LlamaForCausalLM(config)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=256))


class Pictures(nn.Module):
    # Two convolutions: of 3 channels to 8 on 32 × 32, whose input needs no gradient, and of 8 to 16 on 16 × 16.
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.Linear(16, 10)

    def forward(self, ids):
        pictures = ids.new_zeros((4, 3, 32, 32), dtype=torch.float32) + ids[:, :1, None, None] / 256
        return self.head(self.second(self.first(pictures).relu()).relu().mean((2, 3))).unsqueeze(1)


class Peaks(nn.Module):
    # What a layer needs while it runs and keeps nothing of: two times 4 MiB at once.
    def forward(self, x):
        first = x.new_ones(1 << 20)
        second = first + 1
        del first
        return x + second.sum().detach() * 0


class Narrow(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.before, self.peaks, self.after, self.head = nn.Embedding(256, 64), nn.Linear(64, 64), Peaks(), nn.Linear(64, 64), nn.Linear(64, 256)

    def forward(self, ids):
        return self.head(self.after(self.peaks(self.before(self.tokens(ids)))))


model = Narrow() if MODE == "peaks" else Pictures() if MODE == "conv" else llama_or_gpt2() if MODE in ("llama", "gpt2") else Model(layers=1 if MODE in ("compile", "inductor") else 4)
rank = 0
if MODE == "ranks":
    import torch.distributed as dist

    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = nn.parallel.DistributedDataParallel(model)
if MODE == "compile":
    model = torch.compile(model, backend="aot_eager")  # the whole of it but its code in C++, which takes minutes to compile
if MODE == "inductor":
    model = torch.compile(model)
late = torch.compile(nn.Hardtanh(-1e9, 1e9), backend="eager") if MODE == "late" else None
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3) if MODE != "manual" else None
criterion = nn.CrossEntropyLoss() if MODE == "manual" else F.cross_entropy
batches = iter(torch.utils.data.DataLoader(Text(), batch_size=4))
profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) if MODE == "profiler" else None
if profiler:
    profiler.start()
if MODE == "evaluate":
    with torch.inference_mode():
        model(torch.zeros(1, 8, dtype=torch.long))
if MODE == "around":
    around()
for step in range(STEPS):
    if MODE == "evaluate" and step == 1:  # in the very step in which what is kept and worked is looked at
        with torch.no_grad():
            for _ in range(3):
                model(torch.zeros(2, 8, dtype=torch.long))
    (optimizer or model).zero_grad()
    for _ in range(2 if MODE == "accumulate" else 1):
        ids = next(batches)
        if MODE == "sleep":
            time.sleep(0.08)
        if MODE == "ranks" and rank == 1:
            time.sleep(0.08)
        with torch.autocast("cpu", torch.bfloat16, enabled=MODE == "autocast"):
            logits = model(ids[:, :-1])
            logits = getattr(logits, "logits", logits)
            loss = criterion(logits.flatten(0, 1), ids[:, 1:].flatten() if MODE != "conv" else ids[:, 1] % 10)
        loss.backward()
    if MODE == "manual":  # no optimizer: an update by hand, and an evaluation now and then
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for parameter in model.parameters():
            parameter.data.add_(parameter.grad, alpha=-0.1)
        if step % 3 == 2:
            with torch.no_grad():
                for _ in range(2):
                    criterion(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    else:
        optimizer.step()
    if rank == 0:
        print("%d %s" % (step, loss.item().hex()))
if MODE == "late":
    print("0x%d graphs" % sys.modules["torch._dynamo.utils"].counters["stats"]["unique_graphs"])
if profiler:
    profiler.stop()
    assert len(profiler.key_averages()) > 20
