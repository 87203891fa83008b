# A program with a torch that is none and calls its model 40 times without an optimizer's step. Usage: by_hand_program.py WHAT: it `trains` by
# hand (a parameter changes in place in each step), does so `later`, after evaluations; `evaluates`, also with weights that are
# `exchanged` once; or has an `optimizer`, which does not step.
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake"))
import torch  # noqa: E402


class Parameter:
    _version = 0

    def numel(self):
        return 4

    element_size = numel


class Layer(torch.Module):
    def __init__(self):
        super().__init__()
        self.own = [Parameter(), Parameter()]

    def forward(self, x):
        time.sleep(0.0005)
        return x + 1


class Model(torch.Module):
    def forward(self, x):
        for one in self.inner:
            x = one(x)
        return x


class Adam(torch.Optimizer):
    def step(self):
        super().step()


what, model = sys.argv[1], Model(Layer(), Layer())
for step in range(40):
    model(step)
    if what == "trains" or (what == "later" and step >= 14) or (what == "exchanged" and step == 4) or what == "optimizer":
        model.inner[1].own[0]._version += 1
    if what == "optimizer":
        Adam.step.hooked = True  # as PyTorch does when the first of a class is made
