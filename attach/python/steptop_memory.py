# What modules keep for their backward pass, as steptop_attach.py has it read in one step.
import threading


class Memory:
    # What modules keep for their backward pass: in one step the tensors that autograd saves are seen as they are saved, and handed on as
    # they are. Each storage counts once, where it is saved first; parameters and buffers do not.
    def __init__(self, torch, library, scopes, here):
        self.torch, self.library, self.scopes, self.here = torch, library, scopes, here
        self.hooks = None

    def allocated(self):
        # What was asked for: what it holds is rounded up.
        cuda = self.torch.cuda
        return cuda.memory_stats().get("requested_bytes.all.current") if cuda.is_initialized() else None

    def begin(self, module):
        torch = self.torch
        if not torch.is_grad_enabled():
            return
        # What lives longer than the step is no activation.
        seen = {t.untyped_storage().data_ptr() for tensors in (module.parameters(), module.buffers()) for t in tensors}
        kept = {}
        here = self.here

        def pack(tensor):
            try:
                storage = tensor.untyped_storage()
                key = storage.data_ptr()
                if key and key not in seen:
                    seen.add(key)
                    scope = here()
                    kept[scope] = kept.get(scope, 0) + storage.nbytes()
            except Exception:
                pass
            try:  # the tensor itself, where it is an op's result, would hold the graph that holds it, for ever if nobody goes back through it
                return tensor.detach()
            except Exception:
                return tensor

        self.kept, self.seen = kept, seen
        self.before = self.allocated()
        graph = torch.autograd.graph
        hooks = graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        hooks.__enter__()
        self.hooks, self.thread = hooks, threading.get_ident()
        self.disable = disable = getattr(graph, "disable_saved_tensors_hooks", None)

        def give_way(*arguments, **keywords):
            # torch.func.grad and its like refuse to run beside hooks: then it is not read.
            if threading.get_ident() == self.thread:
                self.let_go()
            return disable(*arguments, **keywords)

        if disable is not None:
            graph.disable_saved_tensors_hooks = give_way

    def let_go(self):
        # Of the hooks, where they are still ours.
        hooks, self.hooks = self.hooks, None
        if hooks is not None:
            if self.disable is not None:
                self.torch.autograd.graph.disable_saved_tensors_hooks = self.disable
            hooks.__exit__()

    def outputs(self, output):
        # What the outermost module gives back and nobody in it keeps: tensors in tuples, lists and dictionaries.
        if isinstance(output, self.torch.Tensor):
            storage = output.untyped_storage()
            new = storage.data_ptr() not in self.seen
            self.seen.add(storage.data_ptr())
            return storage.nbytes() if new else 0
        if isinstance(output, dict):
            output = output.values()
        elif not isinstance(output, (tuple, list)):
            return 0
        return sum(self.outputs(one) for one in output)

    def end(self, output):
        if self.hooks is None:
            return
        self.let_go()
        after = self.allocated()
        kept = self.kept
        for scope in set(self.scopes.values()) | set(kept):
            if scope >= 0:
                self.library.plain.steptop_attach_kept(scope, kept.get(scope, 0))
        total, outputs = sum(kept.values()), self.outputs(output)
        text = "%.1f MiB kept for backward by modules, %.1f MiB of outputs, read in one step of warm-up" % (total / 1048576, outputs / 1048576)
        if after is not None and self.before is not None and after > self.before:
            grown = after - self.before
            text += "; the allocator had given %.1f MiB more than before: %.1f %%" % (grown / 1048576, 100 * (total + outputs) / grown)
        self.library.note("memory", text)
