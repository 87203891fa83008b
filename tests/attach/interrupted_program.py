# A program with a torch that is none, whose calls of modules are broken off between two instructions of the hook, as by a signal's handler
# that raises just then. Usage: interrupted_program.py WHAT: what is broken off (enter, leave) and when (before, behind): at the model, at a
# layer of it; or an optimizer's step. It says after each step where the hook believes it to be.
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake"))
import torch  # noqa: E402


class Interrupted(Exception):
    pass


class Layer(torch.Module):
    def forward(self, x):
        time.sleep(0.0005)
        return x + 1


class Block(torch.Module):
    def forward(self, x):
        for one in self.inner:
            try:
                x = one(x)
            except Interrupted:  # in a layer: the others run all the same
                pass
        return x


class Other(Layer):
    pass


class Raising(torch.Optimizer):
    raises = False

    def inside(self):
        if self.raises:
            raise Interrupted


def interrupt(function, event, call):
    # Raises at the call'th call of a function of the library from here on: before it, or behind it.
    left = [call]

    def profile(frame, now, what):
        if now == event and getattr(what, "__name__", "") == "steptop_attach_" + function:
            left[0] -= 1
            if left[0] == 0:
                sys.setprofile(None)
                raise Interrupted

    sys.setprofile(profile)


WHERE = {"model": 1, "layer": 3}
EVENTS = {"before": "c_call", "behind": "c_return"}
FUNCTIONS = {"enter": "enter_root", "leave": "leave"}
what = sys.argv[1].split("-")
model, other, optimizer = Block(Block(Layer(), Layer()), Layer()), Other(), Raising()
by_optimizer = what[0] == "step" or what[-1] == "optimizer"
here = None
for step in range(30):
    if step % 5 == 2:
        if what[0] == "step":
            optimizer.raises = True
        else:
            interrupt(FUNCTIONS[what[0]], EVENTS[what[1]], WHERE[what[2]] if what[0] == "enter" else {"model": 5, "layer": 1}[what[2]])
    try:
        model(step)
        if by_optimizer:
            optimizer.step()
    except Interrupted:
        pass
    sys.setprofile(None)
    optimizer.raises = False
    if step == 14:
        other(step)  # another model, called for the first time
    here = here or sys.modules["torch.nn.modules.module"]._steptop_hook.here
print("ended at %d" % here())
