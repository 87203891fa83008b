"""PyTorch beside several ranks on cards: plain NCCL's collectives by nccl-tests' method (20 in a row, 5 before), and DDP's whole step.
ranks_torch.py KIND,... RANKS MB... (of all_reduce, reduce_scatter, all_gather, broadcast) -> a line a size of the whole: KIND MB ms busbw
ranks_torch.py ddp|zero1|fsdp2 RANKS D_MODEL D_FF LAYERS HEADS VOCAB BATCH CONTEXT -> ms a step of the slowest rank and GB at most
(DDP with fused AdamW, in bf16 by autocast; the same with ZeroRedundancyOptimizer; FSDP2 a block, bf16 on the wire)"""
import os
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F

os.environ["NCCL_NVLS_ENABLE"] = "0"


class Block(nn.Module):
    def __init__(self, d, ff, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.RMSNorm(d), nn.RMSNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.w13, self.w2 = nn.Linear(d, 2 * ff, bias=False), nn.Linear(ff, d, bias=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (a.view(b, t, self.heads, -1).transpose(1, 2) for a in self.qkv(self.n1(x)).chunk(3, -1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, d))
        g, u = self.w13(self.n2(x)).chunk(2, -1)
        return x + self.w2(F.silu(g) * u)


class Model(nn.Module):
    def __init__(self, d, ff, layers, heads, vocab):
        super().__init__()
        self.table = nn.Embedding(vocab, d)
        self.blocks = nn.ModuleList(Block(d, ff, heads) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(d), nn.Linear(d, vocab, bias=False)

    def forward(self, x):
        x = self.table(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def timed(step, warmup, count, in_a_row):
    for _ in range(warmup):
        step()
    times = []
    for _ in range(count):
        torch.cuda.synchronize()
        dist.barrier()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(in_a_row):
            step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / in_a_row)
    slowest = torch.tensor([sorted(times)[len(times) // 2]], device="cuda")
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    return slowest.item()


COLLECTIVES = {
    "all_reduce": (lambda whole, piece: dist.all_reduce(whole), lambda n: 2 * (n - 1) / n),
    "reduce_scatter": (lambda whole, piece: dist.reduce_scatter_tensor(piece, whole), lambda n: (n - 1) / n),
    "all_gather": (lambda whole, piece: dist.all_gather_into_tensor(whole, piece), lambda n: (n - 1) / n),
    "broadcast": (lambda whole, piece: dist.broadcast(whole, 0), lambda n: 1),
}


def work(rank, what, ranks, numbers, file):
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", init_method="file://" + file, rank=rank, world_size=ranks)
    if what.split(",")[0] in COLLECTIVES:
        for kind in what.split(","):
            call, factor = COLLECTIVES[kind]
            for mb in numbers:
                whole = torch.rand(mb * 250000 // ranks * ranks, device="cuda")
                piece = whole.chunk(ranks)[rank]  # in place, as ours
                seconds = timed(lambda call=call, whole=whole, piece=piece: call(whole, piece), 5, 10, max(1, min(20, 400 // mb)))
                if rank == 0:
                    print(kind, mb, f"{seconds * 1e3:.4f}", f"{mb * 1e6 / seconds / 1e9 * factor(ranks):.2f}", flush=True)
    else:
        d, ff, layers, heads, vocab, batch, context = numbers
        model = Model(d, ff, layers, heads, vocab).cuda()
        if what == "fsdp2":
            from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
            for block in model.blocks:
                fully_shard(block, mp_policy=policy)
            fully_shard(model, mp_policy=policy)
        else:
            model = nn.parallel.DistributedDataParallel(model, device_ids=[rank])
        if what == "zero1":
            from torch.distributed.optim import ZeroRedundancyOptimizer

            adamw = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.AdamW, parameters_as_bucket_view=True, fused=True)
        else:
            adamw = torch.optim.AdamW(model.parameters(), fused=True)
        tokens = torch.randint(vocab, (batch, context), device="cuda")

        def step():
            with torch.autocast("cuda", torch.bfloat16):
                loss = F.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten())
            loss.backward()
            adamw.step()
            adamw.zero_grad()

        seconds = timed(step, 5, 20, 1)
        if rank == 0:
            print(f"{seconds * 1e3:.3f} {torch.cuda.max_memory_allocated() / 1e9:.2f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        world = int(sys.argv[2])
        mp.spawn(work, args=(sys.argv[1], world, [int(a) for a in sys.argv[3:]], folder + "/meet"), nprocs=world)
