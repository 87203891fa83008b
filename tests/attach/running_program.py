# Trains with a torch that is none (fake/torch.py), in a process that test_running.py attaches to while it runs, until its input ends. Most of a step passes inside the outermost module. `none`: without a torch;
# `told`: it can say its operators by ITT, one asker at a time.
import hashlib
import os
import select
import sys
import time

try:  # so that a kernel which lets nobody attach to what it did not start lets the test do it
    import ctypes

    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
except Exception:
    pass
if sys.argv[1:] == ["none"]:
    print("ready", flush=True)
    time.sleep(3)
    sys.exit(0)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake"))
from torch import Module, Optimizer, hooks, module  # noqa: E402


class Leaf(Module):
    def forward(self, x):
        time.sleep(0.002)
        return hashlib.sha256(x).digest()


class Chain(Module):
    def forward(self, x):
        for one in self.inner:
            x = one(x)
        return x


class Emit:
    on = ever = 0

    def __enter__(self):
        if Emit.on:
            raise RuntimeError("somebody is told already")
        Emit.on, Emit.ever = 1, Emit.ever + 1

    def __exit__(self, *_):
        Emit.on = 0


def _prepare_profiler():
    pass


if sys.argv[1:] == ["told"]:
    profiler = module("torch.autograd.profiler", emit_itt=Emit, _prepare_profiler=_prepare_profiler)
    module("torch.autograd", profiler=profiler)
    module("torch.profiler", itt=module("torch.profiler.itt", is_available=lambda: True))


print("ready", flush=True)
model, step, x, steps = Chain(Chain(Leaf(), Leaf()), Leaf(), Leaf()), Optimizer(), b"", 0
while not select.select([sys.stdin], [], [], 0)[0]:
    x = model(x)
    step.step()
    steps += 1
print(steps, x.hex(), len(hooks["pre"]), Module._call_impl.__qualname__, Emit.ever, Emit.on)
sys.exit(7)
