# What the ops of one step do, by their shapes: FLOPs of products, convolutions and attention, and the bytes of their tensors, each once. A
# product of m×k and k×n is 2mkn; attention's causal half counts alone. Loaded by the hook in the step that is looked at; hands every op on
# as it is.
import ctypes
import math
import weakref

from torch.utils._python_dispatch import TorchDispatchMode


def numel(shape):
    return math.prod(shape)


def mm(a, b):
    return 2 * numel(a.shape) * b.shape[-1]


def grouped(a, b):
    # Groups along the rows of a (b has one for each), along b's columns (a has one for each), along what both have in common, or in both.
    return mm(a, b) if len(b.shape) == 3 else 2 * numel(a.shape[-2:]) * b.shape[-1]


def convolution(arguments, output):
    source, weight, transposed = arguments[0], arguments[1], arguments[6]
    # Each element of the larger side meets the kernel once for each channel of its group.
    return 2 * numel(source.shape if transposed else output.shape) * numel(weight.shape[1:])


def convolution_backward(arguments, output):
    gradient, source, weight, transposed, mask = arguments[0], arguments[1], arguments[2], arguments[7], arguments[10]
    return 2 * numel(source.shape if transposed else gradient.shape) * numel(weight.shape[1:]) * (bool(mask[0]) + bool(mask[1]))


def attention(query, key, value, causal):
    rows, columns = query.shape[-2], key.shape[-2]
    seen = min(rows, columns)
    pairs = rows * columns if not causal else seen * (seen + 1) // 2 + (rows - seen) * columns
    return 2 * numel(query.shape[:-2]) * pairs * (query.shape[-1] + value.shape[-1])


def causal(names, arguments, keywords):
    at = names.index("is_causal")
    return bool(keywords.get("is_causal", arguments[at] if at < len(arguments) else False))


PRODUCTS = {
    "aten::mm": lambda a, out: mm(a[0], a[1]),
    "aten::bmm": lambda a, out: mm(a[0], a[1]),
    "aten::addmm": lambda a, out: mm(a[1], a[2]),
    "aten::addmm_": lambda a, out: mm(a[1], a[2]),
    "aten::baddbmm": lambda a, out: mm(a[1], a[2]),
    "aten::_addmm_activation": lambda a, out: mm(a[1], a[2]),
    "aten::_scaled_mm": lambda a, out: mm(a[0], a[1]),
    "aten::_grouped_mm": lambda a, out: grouped(a[0], a[1]),
    "aten::_scaled_grouped_mm": lambda a, out: grouped(a[0], a[1]),
    "aten::linear": lambda a, out: 2 * numel(a[0].shape) * a[1].shape[0],
    "aten::mv": lambda a, out: 2 * numel(a[0].shape),
    "aten::dot": lambda a, out: 2 * numel(a[0].shape),
    "aten::convolution": convolution,
    "aten::convolution_backward": convolution_backward,
}
ATTENTION = "aten::_scaled_dot_product_"


def flops_of(name, schema, arguments, keywords, output):
    rule = PRODUCTS.get(name)
    if rule:
        return rule(arguments, output)
    if not name.startswith(ATTENTION) or name.endswith("_math"):
        return None
    names = [argument.name for argument in schema.arguments]
    if "query" not in names or "is_causal" not in names:
        return None
    first = names.index("query")
    once = attention(*arguments[first : first + 3], causal(names, arguments, keywords))
    return once * 5 // 2 if "_backward" in name else once  # five products where forward has two: one of them again


class Card:
    # What the caching allocator has given beyond what it had at the step's beginning. Its highest mark is the program's own and is not set back; but
    # where it rose since the last look, the op between has been there.
    label = "by the allocator's counters"

    def __init__(self, torch):
        self.stats, self.device = torch.cuda.memory_stats_as_nested_dict, torch.cuda.current_device()
        self.base, self.mark = self.read()

    def read(self):
        bytes = self.stats(self.device)["allocated_bytes"]["all"]
        return bytes["current"], bytes["peak"]

    def __call__(self, arguments, output):
        now, mark = self.read()
        risen, self.mark = mark > self.mark, mark
        return max(now, mark if risen else 0) - self.base


class Live:
    # PyTorch has no counters of memory on the processor: the storages that ops have made since the step's beginning are counted while they live.
    label = "by the tensors alive that forward and backward passes made"

    def __init__(self, torch):
        self.tensor = torch.Tensor
        self.known, self.bytes = {}, 0

    def __call__(self, arguments, output):
        made = [storage for storage in self.storages(output) if id(storage) not in self.known]
        given = {id(storage) for storage in self.storages(arguments)} if made else ()
        for storage in made:
            if id(storage) not in given and id(storage) not in self.known:
                self.hold(storage, storage.nbytes())
        return self.bytes

    def hold(self, storage, size):
        key = id(storage)

        def gone(_):
            self.known.pop(key, None)
            self.bytes -= size

        self.known[key] = weakref.ref(storage, gone)
        self.bytes += size

    def storages(self, values):
        if isinstance(values, self.tensor):
            return [values.untyped_storage()]
        if not isinstance(values, (tuple, list)):
            return []
        return [storage for value in values for storage in self.storages(value)]


class Work(TorchDispatchMode):
    supports_higher_order_operators = True  # else PyTorch refuses them (cond, flex_attention) while this is there

    def __init__(self, torch, library):
        super().__init__()
        self.tensor = torch.Tensor
        self.plain = {torch.Tensor, torch.nn.Parameter}
        self.say = library.held.steptop_attach_work
        self.say.argtypes = [ctypes.c_int32, ctypes.c_double, ctypes.c_double]
        self.library = library
        self.names = {}
        self.active = False
        self.peak = library.held.steptop_attach_peak
        self.peak.argtypes = [ctypes.c_int64]
        try:
            self.memory = Card(torch) if torch.cuda.is_initialized() else Live(torch)
        except Exception:
            self.memory = None

    def bytes_of(self, values, seen):
        total = 0
        for value in values:
            if isinstance(value, self.tensor):
                if id(value) not in seen:
                    seen.add(id(value))
                    # A tensor that was expanded is read where it is.
                    total += min(numel(value.shape) * value.element_size(), value.untyped_storage().nbytes())
            elif isinstance(value, (tuple, list)):
                total += self.bytes_of(value, seen)
        return total

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if any(kind not in self.plain for kind in types):
            # Of tensors that are made of others (a shard of a DTensor) the ops on those are this process's work: they come here next.
            return NotImplemented
        keywords = keywords or {}
        output = function(*arguments, **keywords)
        try:
            schema = function._schema
            name = schema.name
            flops = flops_of(name, schema, arguments, keywords, output)
            if flops is not None:
                if name not in self.names:
                    self.names[name] = self.library.plain.steptop_attach_name(name.encode())
                self.say(self.names[name], flops, self.bytes_of((arguments, output), set()))
        except Exception:
            pass
        if self.memory is not None:
            try:
                self.peak(self.memory(arguments, output))
            except Exception:
                self.memory = None
        return output


class Look:
    # Around each forward pass of the outermost module in a step, and each backward pass.
    def __init__(self, torch, library):
        self.torch, self.library = torch, library
        self.mode = Work(torch, library)
        self.inner = inner = torch.autograd.backward
        look = self

        def backward(*arguments, **keywords):
            return look.run(inner, arguments, keywords)

        self.ours = torch.autograd.backward = backward

    def run(self, function, arguments, keywords):
        mode = self.mode
        if mode.active:  # a backward pass in a backward pass: it is seen already
            return function(*arguments, **keywords)
        mode.active = True
        try:
            mode.__enter__()
        except Exception:
            return function(*arguments, **keywords)  # and `active` stays: it is not tried again
        try:
            return function(*arguments, **keywords)
        finally:
            mode.__exit__(None, None, None)
            mode.active = False

    def end(self):
        self.mode.active = True  # somebody may have kept our `backward`: it hands on from now on
        if self.torch.autograd.backward is self.ours:
            self.torch.autograd.backward = self.inner
        lost = ctypes.c_double()
        worked = self.library.held.steptop_attach_worked
        worked.restype = ctypes.c_double
        total = worked(ctypes.byref(lost))
        memory, self.mode.memory = self.mode.memory, None
        if memory is not None:
            self.library.note("peaks", "of a layer: beyond the step's beginning, at borders of its operators, %s, in one step of warm-up" % memory.label)
        if total > 0:
            text = "%.4g GFLOP in a step, by the shapes of products, convolutions and attention in one step of warm-up" % (total * 1e-9)
            if lost.value > 0.001 * total:
                text += "; %.1f %% of it found no kernel of its layer" % (100 * lost.value / total)
            self.library.note("flops", text)
