# What card.py runs on a card, alone and attached: card_program.py MODE [profile]. Prints a line of JSON at its end.
import json
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

MODE = sys.argv[1]
SIZES = {"large": (2560, 32, 32, 256, 4, 50257), "item": (256, 4, 4, 128, 4, 1000)}
SIZES["loader"] = SIZES["tiny"] = SIZES["item"]
WIDTH, HEADS, LAYERS, LENGTH, BATCH, VOCABULARY = SIZES.get(MODE, (768, 12, 12, 256, 4, 50257))
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.act, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        h = self.norm1(x)
        q, k, v = (p(h).view(BATCH, LENGTH, HEADS, -1).transpose(1, 2) for p in (self.q, self.k, self.v))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape))
        return x + self.down(self.act(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids):
        x = self.tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


with torch.device("cuda"):
    model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, capturable=True, **({"fused": True} if MODE == "large" else {}))
if MODE == "compiled":
    model = torch.compile(model, mode="reduce-overhead")
ids = torch.randint(0, VOCABULARY, (BATCH, LENGTH), device="cuda")


def step(batch=ids):
    optimizer.zero_grad(set_to_none=MODE == "compiled")
    with torch.autocast("cuda", torch.bfloat16):
        loss = F.cross_entropy(model(batch).view(-1, VOCABULARY), batch.view(-1))
    loss.backward()
    optimizer.step()
    return loss.detach()


def timed(run, steps):
    # Each step by the clock of the host, which waits at the end of ten.
    times = []
    for _ in range(steps // 10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            loss = run()
        torch.cuda.synchronize()
        times += [(time.perf_counter() - start) * 100]
    return times, loss


class Slow(torch.utils.data.Dataset):
    def __len__(self):
        return 1 << 20

    def __getitem__(self, index):
        time.sleep(0.01)
        return torch.randint(0, VOCABULARY, (LENGTH,), generator=torch.Generator().manual_seed(index))


run, steps = step, int(os.environ.get("STEPS", "150"))
if MODE == "graph":
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()

    def run():
        graph.replay()
        return captured

    steps = 300
elif MODE == "item":

    def run():
        # Small work, and each result asked for: what comes next finds an empty queue.
        x = model.tokens(ids)
        for _ in range(50):
            x = model.layers[0].up(x)[:, :, :WIDTH]
            x = x * (1 if x.sum().item() < 1e9 else 2)
        x.sum().backward()
        optimizer.step()
        return x.detach().sum()

    steps = 60
elif MODE == "loader":
    batches = iter(torch.utils.data.DataLoader(Slow(), batch_size=BATCH))

    def run():
        return step(next(batches).cuda())

    steps = 60
elif MODE == "large":
    steps = 60
for _ in range(8 if MODE == "compiled" else 4):
    run()
if len(sys.argv) > 2:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]):
        times, loss = timed(run, 40)
else:
    times, loss = timed(run, steps)
sys.stdout.flush()
print(json.dumps({"ms": times, "loss": float(loss).hex()}))
