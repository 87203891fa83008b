# The hook in a program that imports torch: marks modules, phases and steps for the library. Installed by sitecustomize.py. No function
# here raises, returns anything but None to PyTorch, changes a tensor, or initialises CUDA. What the program's own signal handlers raise
# while one of them runs (^C, an exit) is the program's, and goes on: Exception is caught, not BaseException.
import contextlib
import ctypes
import functools
import importlib
import os
import sys
import threading
import time
import weakref

METH_NOARGS, METH_O = 4, 8
CHECK_ROUNDS = 12
MEMORY_EVERY_S = 0.1  # between two looks at the allocator: one takes some 50 µs
FREE_EVERY_S = 0.5  # between two questions to the driver what of the card is free
UNKNOWN = 2**64 - 1
# What the library answers when calls of modules may have ended untold, and when it does not know whether the program trains.
COUNT, ASK = "count", "ask"


class _Method(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


class Library:
    def __init__(self, path):
        self.plain = ctypes.CDLL(path)
        self.held = ctypes.PyDLL(path)  # keeps the interpreter's lock: short calls
        self.methods = []
        self.plain.steptop_attach_scope.argtypes = [ctypes.c_int32, ctypes.c_char_p, ctypes.c_int64]
        self.held.steptop_attach_compiled.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
        self.held.steptop_attach_memory.argtypes = [ctypes.c_uint64] * 5
        self.held.steptop_attach_threads.argtypes = [ctypes.c_uint64]
        self.plain.steptop_attach_note.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        self.plain.steptop_attach_kept.argtypes = [ctypes.c_int32, ctypes.c_int64]
        self.held.steptop_attach_python.argtypes = [ctypes.py_object] * 4
        self.held.steptop_attach_unwind.argtypes = [ctypes.c_int, ctypes.c_int]
        self.held.steptop_attach_sequence.restype = ctypes.c_int64
        self.held.steptop_attach_learn.argtypes = [ctypes.c_int, ctypes.c_int64]
        if not self.held.steptop_attach_python(None, True, COUNT, ASK):
            raise RuntimeError("this Python does not export its API")

    def method(self, name, flags):
        # A builtin function over a C function of the library: several times cheaper to call than ctypes.
        method = _Method(name.encode(), ctypes.cast(getattr(self.held, name), ctypes.c_void_p).value, flags, None)
        self.methods.append(method)
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        return make(ctypes.addressof(method), None, None)

    def note(self, key, text):
        self.plain.steptop_attach_note(key.encode(), text.encode("utf-8", "replace"))


STRIPPED = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")


def bare(path):
    # A module's path without the wrappers that PyTorch itself puts around modules.
    while path.startswith(STRIPPED):
        path = path.split(".", 1)[1]
    for wrapper in STRIPPED:
        path = path.replace("." + wrapper, ".")
    for wrapper in STRIPPED:
        if path.endswith("." + wrapper[:-1]):
            path = path[: -len(wrapper)]
    return "" if path + "." in STRIPPED else path


class Put:
    # A class's function, or a module's, with ours in its place, until it is removed.
    def __init__(self, kind, name, ours):
        self.kind, self.name, self.ours, self.inner = kind, name, ours, vars(kind)[name]
        setattr(kind, name, ours)

    def remove(self):
        if vars(self.kind).get(self.name) is self.ours:
            setattr(self.kind, self.name, self.inner)


def compiled(torch):
    # Has anything been compiled, or is anything to be? Hooks on saved tensors would be a reason to compile it again, and what is first called
    # beside a dispatch mode is never compiled.
    utils, frames = sys.modules.get("torch._dynamo.utils"), sys.modules.get("torch._dynamo.eval_frame")
    return bool(utils and utils.counters.get("frames")) or any(callable(one) for one in getattr(frames, "cached_backends", {}).values())


@contextlib.contextmanager
def apart(torch):
    # What the program has put around its ops (modes, transforms of torch.func) neither sees nor changes what is asked of PyTorch in here.
    # Each is as private as its name, and is left where it was when it is not there.
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(torch._C.DisableTorchFunction())
            functorch = getattr(torch._C, "_functorch", None)
            if functorch is not None and functorch.peek_interpreter_stack() is not None:
                stack.enter_context(importlib.import_module("torch._functorch.pyfunctorch").temporarily_clear_interpreter_stack())
            if getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)():
                stack.enter_context(importlib.import_module("torch.utils._python_dispatch")._disable_current_modes())
        except Exception:
            pass
        yield


def load(name):
    # A file beside this one, which the program's imports do not see.
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("_" + name, os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Hook:
    def __init__(self, torch, library):
        self.torch = torch
        self.library = library
        self.scopes = {}  # id of a module → scope
        self.references = {}
        self.here = library.method("steptop_attach_here", METH_NOARGS)
        self.top = -1  # the first outermost module
        self.opened = None
        self.attribution = "none"
        self.compiled = None
        self.threads = None
        self.memory_at = self.free_at = 0.0
        self.free = UNKNOWN
        self.memory, self.reads_memory = None, False
        self.work, self.look_began = None, False
        self.late = self.retired = False
        self.handles, self.raised = [], 0
        self.inner = self.ours = None
        self.stop_telling = None
        self.versions = None  # of the outermost module's parameters, between two questions
        self.stepper = None  # the code of PyTorch's around an optimizer's step

    # ---- scopes ----

    def scope(self, parent, name, module=None):
        size = -1
        if module is not None:
            try:
                with self.torch._C.DisableTorchFunction():  # what a mode of the program's sees are its own calls
                    size = sum(p.numel() * p.element_size() for p in module.parameters(recurse=False))
            except Exception:
                size = -1
        return self.library.plain.steptop_attach_scope(parent, name.encode("utf-8", "replace"), size)

    def remember(self, module, scope):
        key = id(module)
        scopes, references = self.scopes, self.references

        def gone(_):
            scopes.pop(key, None)
            references.pop(key, None)

        scopes[key] = scope
        references[key] = weakref.ref(module, gone)

    def learn(self, module):
        # A module that was not seen before: the outermost of a model. All of its tree gets its names at once.
        try:
            kind = type(module).__name__
            if kind == "OptimizedModule" and hasattr(module, "_orig_mod"):
                kind = type(module._orig_mod).__name__
            # In the module that calls it, where one does (of a plain list), else beside those that were called before: a transform, a loss,
            # another model. Replicas are called on threads of their own.
            self.unwind()
            parent = self.here()
            if parent < 0 and getattr(module, "_is_replica", False):
                parent = self.top
            base = self.scope(parent, kind, module)
            if self.top < 0:
                self.top = base
            known = {"": base}
            for path, inner in module.named_modules():
                path = bare(path)
                parent = base
                at = ""
                parts = path.split(".") if path else []
                for i, part in enumerate(parts):
                    at = part if not at else at + "." + part
                    if at not in known:
                        known[at] = self.scope(parent, part, inner if i == len(parts) - 1 else None)
                    parent = known[at]
                if id(inner) not in self.scopes:
                    self.remember(inner, known[path])
            return self.scopes[id(module)]
        except Exception:
            scope = self.scope(-1, "program")
            self.remember(module, scope)
            return scope

    # ---- opening ----

    def open(self):
        # At the first module that is called: processes that import torch and run nothing are no rank.
        self.opened = False
        try:
            if not self.library.plain.steptop_attach_open():
                return
            torch = self.torch
            self.library.note("program", "PyTorch %s, Python %s" % (torch.__version__, sys.version.split()[0]))
            on_card = torch.cuda.is_initialized()  # not merely asked for
            self.attribution, lacks = self.attribute(not on_card)
            self.library.note("attribution", self.attribution)
            if lacks:
                self.library.note("attribution lacks", lacks)
            self.opened = True
            if self.reads_memory:
                self.library.plain.steptop_attach_read_memory()
        except Exception:
            self.opened = False

    def attribute(self, ops):
        why = ctypes.create_string_buffer(256)
        if not self.library.held.steptop_attach_find(why, 256):
            return self.fall_back(ops, why.value.decode("utf-8", "replace"))
        try:
            known = self.check()
        except Exception:
            known = False
        if not known:
            return self.fall_back(ops, "RecordFunction of this PyTorch is not the one that is known")
        self.library.held.steptop_attach_watch(1 if ops else 0)
        return "RecordFunction" + (", with ops of the CPU" if ops else ""), ""

    def fall_back(self, ops, why):
        # PyTorch says its operators and backward nodes by ranges as well, on the threads that are asked: by ITT, without their numbers, and
        # by NVTX, with them.
        held = self.library.held
        try:
            profiler = importlib.import_module("torch.autograd.profiler")
            if ops and not importlib.import_module("torch.profiler.itt").is_available():
                raise RuntimeError("PyTorch without ITT")
            told = profiler.emit_itt() if ops else profiler.emit_nvtx()
            told.__enter__()
        except Exception:
            if ops:
                held.steptop_attach_alone()
            return "modules alone", "backward: " + why
        held.steptop_attach_told(1 if ops else 0)
        self.give_way(profiler, told)
        if ops:
            return "ITT, with ops of the CPU", "the layers of backward, and threads that the program starts itself: " + why
        layers = "" if held.steptop_attach_sequence() >= 0 else "the layers of backward, and "
        return "NVTX", layers + "threads that the program starts itself: " + why

    def give_way(self, profiler, told):
        # The program's own profiler refuses to begin beside it, and what is on at the end of the program is warned of: then there is none
        # of ours; nor once the front has gone. It is of the thread that asked for it.
        left, thread = [told], threading.get_ident()

        def end(why=None):
            try:
                if left and threading.get_ident() == thread:
                    left.pop().__exit__(None, None, None)
                    if why:
                        self.library.note("attribution lacks", why)
            except Exception:
                pass

        def first_end_ours(inner):
            def begin(*arguments, **keywords):
                end("backward and ops since the program's own profiler began")
                return inner(*arguments, **keywords)

            return begin

        import atexit

        atexit.register(end)
        self.stop_telling = end
        for name in ("_prepare_profiler", "_enable_profiler"):
            if hasattr(profiler, name):
                self.handles.append(Put(profiler, name, first_end_ours(getattr(profiler, name))))

    def check(self):
        # Finds where RecordFunction keeps its sequence number, by ops whose number is known. An op's number is that of the node it
        # will make; a different one in every round, so that nothing else in there agrees each time.
        torch, held = self.torch, self.library.held
        # The program may be in inference mode, or make its tensors somewhere else by default.
        inference = getattr(torch, "inference_mode", None) or (lambda mode: contextlib.nullcontext())
        with apart(torch), inference(False), torch.enable_grad():
            x = torch.ones(3, requires_grad=True, device="cpu", dtype=torch.float32)
            for i in range(CHECK_ROUNDS):
                for _ in range(1 + i % 3):
                    x.neg()
                want = held.steptop_attach_sequence()
                held.steptop_attach_learn(1, want)
                try:
                    x.neg()
                finally:
                    held.steptop_attach_learn(0, 0)
        return held.steptop_attach_learned(CHECK_ROUNDS) >= 0

    # ---- hooks ----

    def install(self):
        torch = self.torch
        library = self.library
        compiler = getattr(torch, "compiler", None)
        compiling = getattr(compiler, "is_compiling", None) or (lambda: False)
        enter = library.method("steptop_attach_enter_root", METH_O)
        leave = library.method("steptop_attach_leave", METH_O)
        scopes = self.scopes
        learn = self.learn
        get = scopes.get
        hook = self

        tracing = torch._C._get_tracing_state

        def first(module):
            # Of a module that was not seen before; None: nobody is told. What is asked of tensors here would be in the graph of a trace.
            if tracing() is not None or hook.retired or (hook.late and hook.under_way()):
                return None
            if hook.opened is None:
                hook.open()
            if hook.opened:
                hook.late = False
                return learn(module)
            return None

        modules = torch.nn.modules.module
        if hasattr(modules.Module, "_wrapped_call_impl"):
            # From 2.1 on all calls go through one method. Global hooks would cost each of them PyTorch's fast path, three times what this does.
            inner = modules.Module._call_impl

            def _call_impl(self, *arguments, **keywords):
                if compiling():
                    return inner(self, *arguments, **keywords)
                scope = get(id(self))
                if scope is None:
                    scope = first(self)
                    if scope is None:
                        return inner(self, *arguments, **keywords)
                # What a handler of a signal raises comes between any two instructions: what was entered is left all the same, and a leave
                # without its enter leaves nothing.
                try:
                    told = enter(scope)
                    if told and hook.answer(told, enter, scope, self):
                        return hook.looked_at(inner, self, arguments, keywords)
                    return inner(self, *arguments, **keywords)
                finally:
                    leave(scope)

            # A call of a module is three frames or more, and now one more: what was deep enough shall still be.
            self.raised = sys.getrecursionlimit() // 3
            sys.setrecursionlimit(sys.getrecursionlimit() + self.raised)
            _call_impl.__qualname__ = inner.__qualname__
            self.inner, self.ours = inner, _call_impl
            modules.Module._call_impl = _call_impl
            self.reads_memory = hasattr(torch.Tensor, "untyped_storage")
        else:
            self.install_hooks(modules, compiling, enter, leave, first)
        self.install_optimizer()
        modules._steptop_hook = self
        import atexit

        atexit.register(library.plain.steptop_attach_close)

    def install_hooks(self, modules, compiling, enter, leave, first):
        scopes = self.scopes

        def before(module, arguments):
            if compiling():
                return
            scope = scopes.get(id(module))
            if scope is None:
                scope = first(module)
                if scope is None:
                    return
            told = enter(scope)
            if told:
                self.answer(told, enter, scope, module)

        def after(module, arguments, output):
            if compiling():
                return
            scope = scopes.get(id(module))
            if scope is not None:
                leave(scope)

        # torch.compile warns of global hooks, which are ours: the program never asked for them.
        import warnings

        warnings.filterwarnings("ignore", message="Using `torch.compile\\(module\\)` when there are global hooks")
        self.handles.append(modules.register_module_forward_pre_hook(before))
        try:
            self.handles.append(modules.register_module_forward_hook(after, always_call=True))
        except TypeError:  # before 2.0 a forward that raises is not told
            self.handles.append(modules.register_module_forward_hook(after))

    # ---- what ended untold ----

    def unwind(self):
        # A call whose end nobody told: a handler of a signal raised just before it was, or the hooks of this PyTorch are not called when a
        # forward raises; or an optimizer whose step raised. Which calls are under way Python knows: the innermost is the one that begins.
        try:
            code = (self.ours or self.torch.nn.modules.module.Module._call_impl).__code__
            entered, steps, frame = [], 0, sys._getframe(1)
            while frame is not None:
                if frame.f_code is code:
                    entered.append(frame.f_locals.get("scope") if self.ours else self.scopes.get(id(frame.f_locals.get("self"))))
                steps += frame.f_code is self.stepper
                frame = frame.f_back
            modules = sum(scope is not None for scope in entered[1:])
            self.library.held.steptop_attach_unwind(modules, steps if self.stepper else -1)
        except Exception:
            pass

    def answer(self, told, enter, scope, module):
        # True: the call is to be looked at.
        if told is COUNT:
            self.unwind()
            told = enter(-2 - scope)
        if told is ASK:
            self.say_whether_it_trains(module)
            return False
        return told

    # ---- training without an optimizer ----

    def say_whether_it_trains(self, module):
        # Nobody has made an optimizer, which would step yet: then a backward pass is training by hand, as is a parameter that the program changed
        # in place in the step between two questions.
        try:
            kinds = [sys.modules["torch.optim.optimizer"].Optimizer]
            while kinds:
                kind = kinds.pop()
                kinds += kind.__subclasses__()
                if getattr(vars(kind).get("step"), "hooked", False):  # by PyTorch, as the first of it was made
                    return
            before, self.versions = self.versions, [parameter._version for parameter in module.parameters()]
            changed = before is not None and before != self.versions
            self.versions = None if before is not None else self.versions
            self.library.plain.steptop_attach_by_hand(changed)
        except Exception:
            self.versions = None

    # ---- in a program that was running before ----

    def under_way(self):
        # A call of a module that began before we came, on this thread or by a backward pass of another: what is called in it is no model's
        # outermost module. Asked for modules that are not known, so until the first step from its beginning on.
        if getattr(self.torch._C, "_current_graph_task_id", lambda: -1)() >= 0:
            return True
        # Of PyTorch before 2.1 the hooks are called by the method that is looked for; one call of it is this one.
        code = getattr(self.inner or self.torch.nn.Module._call_impl, "__code__", None)
        found, frame = 0, sys._getframe(2)
        while frame is not None:
            found += frame.f_code is code
            frame = frame.f_back
        return found > (self.inner is None)

    def retire(self):
        # Makes room for another hook, after the front has gone.
        self.retired = True
        module = self.torch.nn.modules.module.Module
        if self.ours is not None and module._call_impl is self.ours:
            module._call_impl = self.inner
            try:
                sys.setrecursionlimit(sys.getrecursionlimit() - self.raised)
            except (RecursionError, ValueError):
                pass  # deeper than that just now
        if self.stop_telling is not None:
            self.stop_telling()
        for handle in self.handles:
            handle.remove()
        self.handles = []
        self.scopes.clear()

    # ---- the one step in which is looked at what modules keep and ops do ----

    def looked_at(self, inner, module, arguments, keywords):
        if not self.torch.is_grad_enabled():
            # An evaluation inside the step keeps nothing, and what it works is not the step's: it goes by as it would in any other.
            return inner(module, *arguments, **keywords)
        output = None
        first = not self.look_began  # further forward passes of the step, and other threads, are not read
        look = self.begin_look(module)
        try:
            if look is None:
                output = inner(module, *arguments, **keywords)
            else:
                output = look.run(inner, (module, *arguments), keywords)
            return output
        finally:
            if first:
                self.memory_was_read(output)

    def begin_look(self, module):
        if self.look_began:
            return self.work  # a further forward pass of the step
        self.look_began = True
        try:
            if not compiled(self.torch):
                self.memory = load("steptop_memory").Memory(self.torch, self.library, self.scopes, self.here)
                self.memory.begin(module)
        except Exception:
            self.memory = None
        try:
            torch = self.torch
            others = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)()
            if compiled(torch) or others or (torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()):
                return None
            self.work = load("steptop_work").Look(torch, self.library)
        except Exception:
            self.work = None
        return self.work

    def end_look(self):
        work, self.work = self.work, None
        try:
            if work is not None:
                work.end()
        except Exception:
            pass

    def memory_was_read(self, output):
        try:
            if self.memory is not None:
                self.memory.end(output)
        except Exception:
            pass

    def install_optimizer(self):
        library = self.library
        begin = library.method("steptop_attach_optimizer_begin", METH_NOARGS)
        end = library.method("steptop_attach_optimizer_end", METH_O)
        optimizer = sys.modules.get("torch.optim.optimizer")
        hook = self

        def before(which, arguments, keywords):
            if hook.opened:
                hook.stepper = sys._getframe(1).f_code
                begin()

        def after(which, arguments, keywords):
            if hook.opened:
                hook.look()
                if end(which):
                    hook.end_look()

        if hasattr(optimizer, "register_optimizer_step_pre_hook"):
            self.handles.append(optimizer.register_optimizer_step_pre_hook(before))
            self.handles.append(optimizer.register_optimizer_step_post_hook(after))
        elif hasattr(optimizer.Optimizer, "_hook_for_profile"):
            self.install_before_hooks(optimizer.Optimizer, before, after)

    def install_before_hooks(self, optimizers, before, after):
        # Before 2.0 each class of optimizers gets its step wrapped when the first of it is made; once more, by us.
        def put(kind, name, ours):
            self.handles.append(Put(kind, name, ours))

        def wrap(kind):
            step = vars(kind).get("step")
            if not getattr(step, "hooked", False) or hasattr(step, "_steptop"):
                return

            @functools.wraps(step)
            def ours(optimizer, *arguments, **keywords):
                before(optimizer, arguments, keywords)
                try:
                    return step(optimizer, *arguments, **keywords)
                finally:
                    after(optimizer, arguments, keywords)

            ours.hooked = ours._steptop = True
            put(kind, "step", ours)

        inner = optimizers._hook_for_profile

        def _hook_for_profile(self):
            inner(self)
            for kind in type(self).__mro__:
                wrap(kind)

        put(optimizers, "_hook_for_profile", _hook_for_profile)
        kinds = [optimizers]
        while kinds:  # those of which there is one already, in a program that runs
            kind = kinds.pop()
            kinds += kind.__subclasses__()
            wrap(kind)

    # ---- what is looked at when a step ends ----

    def look(self):
        try:
            if self.stop_telling is not None and not self.library.plain.steptop_attach_is_open():
                self.stop_telling()
                self.stop_telling = None
            utils = sys.modules.get("torch._dynamo.utils")
            if utils is not None:
                counters = utils.counters
                now = (counters.get("stats", {}).get("unique_graphs", 0), sum(counters.get("graph_break", {}).values()))
                if now != self.compiled:
                    self.compiled = now
                    self.library.held.steptop_attach_compiled(*now)
            now = self.torch.get_num_threads()
            if now != self.threads:
                self.threads = now
                self.library.held.steptop_attach_threads(now)
            cuda = self.torch.cuda
            if cuda.is_initialized():
                now = time.monotonic()
                if now - self.memory_at >= MEMORY_EVERY_S:
                    self.memory_at = now
                    stats = cuda.memory_stats_as_nested_dict()
                    allocated = stats["allocated_bytes"]["all"]
                    if now - self.free_at >= FREE_EVERY_S and not cuda.is_current_stream_capturing():
                        self.free_at, self.free = now, cuda.mem_get_info()[0]
                    self.library.held.steptop_attach_memory(
                        allocated["current"], stats["reserved_bytes"]["all"]["current"], stats["num_alloc_retries"], allocated["peak"], self.free
                    )
        except Exception:
            pass


def install(torch):
    path = os.environ.get("STEPTOP_ATTACH_LIBRARY")
    if not path or not os.environ.get("STEPTOP_ATTACH_SOCKET"):
        return
    library = Library(path)
    library.plain.steptop_attach_expect()
    Hook(torch, library).install()


def installed(torch):
    return getattr(sys.modules["torch.nn.modules.module"], "_steptop_hook", None)


def install_late(torch, library):
    # In a program that runs already. What the driver would have loaded when the program initialised it, is begun here.
    library.plain.steptop_attach_expect()
    if not library.plain.steptop_attach_open():
        raise RuntimeError("nobody listens at the socket")
    if torch.cuda.is_initialized():
        library.plain.InitializeInjection()
    library.note("attached", "while the program ran: of what was before nothing is known, nor of modules in a CUDA graph that was captured before")
    hook = Hook(torch, library)
    hook.late = True
    hook.install()
