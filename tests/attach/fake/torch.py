# A torch that is none: as much of PyTorch's own modules and optimizers as the hook for Python meets, for tests without PyTorch.
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

    own = ()  # parameters

    def parameters(self, recurse=True):
        return [parameter for inner in self.inner for parameter in inner.parameters()] * recurse + list(self.own)

    def named_modules(self, prefix=""):
        yield prefix, self
        for i, one in enumerate(self.inner):
            yield from one.named_modules(prefix + ("." if prefix else "") + "part%d" % i)

    def _call_impl(self, *arguments):
        return self.forward(*arguments)

    def _wrapped_call_impl(self, *arguments):
        return self._call_impl(*arguments)

    __call__ = _wrapped_call_impl


hooks = {"pre": [], "post": []}


class Handle:
    def __init__(self, kind, hook):
        self.list, self.hook = hooks[kind], hook
        self.list.append(hook)

    def remove(self):
        self.list.remove(self.hook)


class Optimizer:
    def inside(self):
        time.sleep(0.0005)

    def step(self):
        for hook in list(hooks["pre"]):
            hook(self, (), {})
        self.inside()
        for hook in list(hooks["post"]):
            hook(self, (), {})


core = module("torch._C", _get_tracing_state=lambda: None)
modules = module("torch.nn.modules.module", Module=Module)
optimizer = module("torch.optim.optimizer", Optimizer=Optimizer, register_optimizer_step_pre_hook=lambda hook: Handle("pre", hook),
                   register_optimizer_step_post_hook=lambda hook: Handle("post", hook))
nn = module("torch.nn", Module=Module, modules=module("torch.nn.modules", module=modules))
optim = module("torch.optim", optimizer=optimizer)
__version__, _C, Tensor, get_num_threads, is_grad_enabled = "0.0", core, object, lambda: 1, lambda: True
cuda = types.SimpleNamespace(is_initialized=lambda: False)
