# What attaching costs, its parts switched in turns inside one process, which two processes' places in memory (some per cent) do not blur:
#   steptop attach --batch [--detail layers] -o r.yaml -- PYTHON parts.py MODEL OUTPUT [ROUNDS [STEPS [WAY…]]]
# MODEL as in turns.py, on the CPU. Ways: off (neither hook nor callbacks), off again, hook (of modules and the optimizer), attached (all,
# with the pauses of recording: STEPS should hold several), and where there is a C compiler, callbacks of RecordFunction that do nothing, of operators and of
# nodes: the floor of whatever uses it. Appends to OUTPUT the medians of the rounds' ratios to off, with an interval of 95 of 100.
import ctypes
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import turns  # noqa: E402

NOTHING = """
#include <stdint.h>
struct callback { void *start, *end; double probability; _Bool scopes[10], inputs, outputs, ids; };
static void *begin(void **result, const void *function) { (void)function; *result = 0; return result; }
static void end(const void *function, void *context) { (void)function, (void)context; }
uint64_t on(void *add, int scope)
{
    struct callback callback = {begin, end, 1};
    callback.scopes[scope] = 1;
    return ((uint64_t(*)(struct callback))add)(callback);
}
"""
SCOPES = {"empty callback of operators": 0, "empty callback of nodes": 1}


def compile_nothing(folder):
    source, library = os.path.join(folder, "nothing.c"), os.path.join(folder, "nothing.so")
    with open(source, "w") as file:
        file.write(NOTHING)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    found = ctypes.CDLL(library)
    found.on.restype, found.on.argtypes = ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_int]
    return found


class Parts:
    def __init__(self, torch):
        self.module = torch.nn.modules.module.Module
        self.hook = getattr(sys.modules["torch.nn.modules.module"], "_steptop_hook", None)
        self.torch = ctypes.CDLL(os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so"))
        self.torch._ZN2at14removeCallbackEm.argtypes = [ctypes.c_uint64]
        self.empty = None
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.nothing = compile_nothing(folder)
        except (OSError, subprocess.CalledProcessError):
            self.nothing = None

    def ways(self):
        return ["off", "off again"] + (["hook", "attached"] if self.hook else []) + (list(SCOPES) if self.nothing else [])

    def switch(self, way):
        if self.empty is not None:
            self.torch._ZN2at14removeCallbackEm(self.empty)
            self.empty = None
        if self.hook:
            self.hook.library.held.steptop_attach_close()
            self.module._call_impl = self.hook.inner
            for handle in self.hook.handles:
                handle.remove()
            self.hook.handles = []
        if way in SCOPES:
            add = ctypes.cast(self.torch._ZN2at17addGlobalCallbackENS_22RecordFunctionCallbackE, ctypes.c_void_p)
            self.empty = self.nothing.on(add, SCOPES[way])
        if way in ("hook", "attached"):
            self.module._call_impl = self.hook.ours
            self.hook.install_optimizer()
        if way == "attached":
            self.hook.library.held.steptop_attach_watch(1)


def main():
    import torch

    model, output = sys.argv[1:3]
    rounds, steps = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((3, 24), (4, 48)))
    step, _ = turns.make_step(model)
    for _ in range(24):  # past the steps that are recorded first
        step()
    parts, done = Parts(torch), []
    ways = [way for way in parts.ways() if way == "off" or way in sys.argv[5:] or not sys.argv[5:]]
    for _ in range(rounds):
        now = {}
        for way in random.sample(ways, len(ways)):
            parts.switch(way)
            step()
            clock, busy = time.perf_counter(), time.process_time()
            for _ in range(steps):
                step()
            busy, clock = time.process_time() - busy, time.perf_counter() - clock
            now["alone" if way == "off" else way] = [clock * 1e3 / steps, busy * 1e3 / steps]
        done.append(now)
    parts.switch("off")
    with open(output, "a") as file:
        for way in ways[1:]:
            found = [turns.median_ratio(done, way, 0), turns.median_ratio(done, way, 1)]
            file.write("%-28s " % way + " ".join("%.3f [%.3f, %.3f]     " % one for one in found) + "\n")
        alone = [statistics.median(now["alone"][which] for now in done) for which in (0, 1)]
        file.write("off: %.2f ms a step by the clock, %.2f on processors, medians of %d turns of %d steps\n" % (*alone, rounds, steps))


main()
