"""The peer of `steptop run collectives` on the CPU: PyTorch's all_reduce by gloo, the slowest rank's mean. Arguments: bytes, ranks."""
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def work(rank, ranks, size, file):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method="file://" + file, rank=rank, world_size=ranks)
    x = torch.zeros(size // 4)
    total = 0.0
    for i in range(7):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(x)
        total += time.perf_counter() - start if i >= 2 else 0.0
    slowest = torch.tensor([total])
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    if rank == 0:
        print(f"{slowest.item() / 5 * 1e3:.1f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ranks = int(sys.argv[2])
        mp.spawn(work, args=(ranks, int(sys.argv[1]), folder + "/meet"), nprocs=ranks)
