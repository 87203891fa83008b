# Trains with a torch that is none: as much of PyTorch's own modules and optimizers as the hook for Python meets, in a process that
# test_running.py attaches to while it runs, until its input ends. Most of a step passes inside the outermost module. `none`: without a torch;
# `told`: it can say its operators by ITT, one asker at a time.
import hashlib
import select
import sys
import time
import types


def module(name, **members):
    made = sys.modules[name] = types.ModuleType(name)
    vars(made).update(members)
    return made


class Module:
    def __init__(self, *inner):
        self.inner = inner

    def parameters(self, recurse=True):
        return []

    def named_modules(self, prefix=""):
        yield prefix, self
        for i, one in enumerate(self.inner):
            yield from one.named_modules(prefix + ("." if prefix else "") + "part%d" % i)

    def _call_impl(self, *arguments):
        return self.forward(*arguments)

    def _wrapped_call_impl(self, *arguments):
        return self._call_impl(*arguments)

    __call__ = _wrapped_call_impl


class Leaf(Module):
    def forward(self, x):
        time.sleep(0.002)
        return hashlib.sha256(x).digest()


class Chain(Module):
    def forward(self, x):
        for one in self.inner:
            x = one(x)
        return x


hooks = {"pre": [], "post": []}


class Handle:
    def __init__(self, kind, hook):
        self.list, self.hook = hooks[kind], hook
        self.list.append(hook)

    def remove(self):
        self.list.remove(self.hook)


class Optimizer:
    def step(self):
        for hook in list(hooks["pre"]):
            hook(self, (), {})
        time.sleep(0.0005)
        for hook in list(hooks["post"]):
            hook(self, (), {})


NONE = sys.argv[1:] == ["none"]
if not NONE:
    core = module("torch._C", _get_tracing_state=lambda: None)
    modules = module("torch.nn.modules.module", Module=Module)
    optimizer = module("torch.optim.optimizer", register_optimizer_step_pre_hook=lambda hook: Handle("pre", hook),
                       register_optimizer_step_post_hook=lambda hook: Handle("post", hook))
    nn = module("torch.nn", Module=Module, modules=module("torch.nn.modules", module=modules))
    module("torch", __version__="0.0", _C=core, nn=nn, optim=module("torch.optim", optimizer=optimizer), Tensor=object,
           cuda=types.SimpleNamespace(is_initialized=lambda: False), get_num_threads=lambda: 1)

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

try:  # so that a kernel which lets nobody attach to what it did not start lets the test do it
    import ctypes

    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
except Exception:
    pass
print("ready", flush=True)
if NONE:
    time.sleep(3)
    sys.exit(0)
model, step, x, steps = Chain(Chain(Leaf(), Leaf()), Leaf(), Leaf()), Optimizer(), b"", 0
while not select.select([sys.stdin], [], [], 0)[0]:
    x = model(x)
    step.step()
    steps += 1
print(steps, x.hex(), len(hooks["pre"]), Module._call_impl.__qualname__, Emit.ever, Emit.on)
sys.exit(7)
