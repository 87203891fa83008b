# Put first on PYTHONPATH by `steptop attach`: runs the sitecustomize that would have run without it, then waits for torch to be imported.
# Nothing in here may raise into the program or print on its standard output.
import sys


def _chain(here):
    import os

    try:  # the part of importlib that is always loaded: importlib.util brings a dozen modules, some 6 ms of each process
        from _frozen_importlib import module_from_spec
        from _frozen_importlib_external import PathFinder
    except ImportError:
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec

    # The program's own processes find us the same way, but the program's imports do not.
    path = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    sys.path[:] = path
    spec = PathFinder.find_spec("sitecustomize", path)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)  # what it raises is reported by Python itself, as without us


class _Waiting:
    # Stands in the way of `import torch` until it has come, and installs the hook when it is whole. Programs ask whether there is a torch
    # (importlib.util.find_spec) before they import it: each question is answered as without us, and we go on waiting.
    def __init__(self, hook):
        self.hook = hook

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                self.stand_before(spec)
                return spec
        return None

    def stand_before(self, spec):
        inner = getattr(spec.loader, "exec_module", None)
        if inner is None:
            return

        def exec_module(module):
            inner(module)
            try:
                del spec.loader.exec_module
                if self not in sys.meta_path:
                    return
                sys.meta_path.remove(self)
                import importlib.util as util

                found = util.spec_from_file_location("_steptop_attach", self.hook)
                ours = util.module_from_spec(found)
                found.loader.exec_module(ours)
                ours.install(module)
            except Exception:
                pass

        try:
            spec.loader.exec_module = exec_module
        except Exception:
            pass


def _begin():
    import os

    here = os.path.dirname(os.path.abspath(__file__))
    try:
        if os.environ.get("STEPTOP_ATTACH_SOCKET"):
            sys.meta_path.insert(0, _Waiting(os.path.join(here, "steptop_attach.py")))
    except Exception:
        pass
    _chain(here)


_begin()
del _begin, _chain
