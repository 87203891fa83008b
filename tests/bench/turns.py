"""Compiled steps against eager ones on the CPU, over shapes, in turns: python3 tests/bench/turns.py [--model NAME] [--rounds N]
[--threads N] [--pass PASS] [--bench PROGRAM] [BATCHxCONTEXT …]. Both are kept as programs that take a step when they are told to. With
one thread the ratio is of processor time, which other programs on the machine disturb least, with more of wall time, for threads that
wait also spend theirs. The first round does not count. Exit status 1 where compiled is slower: where the median of the rounds' ratios
and the ratio of the least steps are both above 1.02."""
import argparse
import glob
import os
import statistics
import subprocess
import sys

SHAPES = ["1x1", "1x16", "1x64", "4x64", "1x256", "4x256", "8x128", "1x384", "1x385", "4x512", "1x1000", "4x1024", "1x2048"]


class Program:
    def __init__(self, options, shape, compiled):
        batch, context = shape.split("x")
        command = [options.bench, "--model", options.model, "--batch", batch, "--context", context, "--pass", getattr(options, "pass"),
                   "--serve"] + (["--compile"] if compiled else [])
        processors = set(sorted(os.sched_getaffinity(0))[:options.threads])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        preexec_fn=lambda: os.sched_setaffinity(0, processors))
        self.by_processor = options.threads == 1

    def processor_seconds(self):
        total = 0
        for path in glob.glob("/proc/%d/task/*/schedstat" % self.process.pid):
            with open(path) as file:
                total += int(file.read().split()[0])
        return total * 1e-9

    def step(self):
        before = self.processor_seconds()
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        wall = float(self.process.stdout.readline().split()[0])
        return self.processor_seconds() - before if self.by_processor else wall

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pass", default="fwd_bwd")
    parser.add_argument("--bench", default="build/bench/bench_cpu")
    parser.add_argument("shapes", nargs="*", default=SHAPES)
    options = parser.parse_args()
    slower = 0
    print("%s, %s, %d thread%s: seconds of compiled over eager steps" %
          (options.model, getattr(options, "pass"), options.threads, "" if options.threads == 1 else "s"))
    for shape in options.shapes:
        eager, compiled = Program(options, shape, False), Program(options, shape, True)
        eager.step(), compiled.step()
        ones, others = [], []
        rounds = options.rounds
        while len(ones) < rounds:
            ones.append(eager.step())
            others.append(compiled.step())
            if len(ones) == 1 and ones[0] < 0.05:
                rounds *= 5  # short steps are noisy, and cost little
        eager.end(), compiled.end()
        ratios = sorted(b / a for a, b in zip(ones, others))
        middle, least = statistics.median(ratios), min(others) / min(ones)
        bad = middle > 1.02 and least > 1.02
        slower += bad
        print("%10s  eager %9.3f ms  compiled %9.3f ms  ratio %.3f [%.3f, %.3f]  of the least %.3f  n %d%s" %
              (shape, statistics.median(ones) * 1e3, statistics.median(others) * 1e3, middle, ratios[len(ratios) // 6],
               ratios[-1 - len(ratios) // 6], least, len(ones), "  SLOWER" if bad else ""), flush=True)
    return 1 if slower else 0


sys.exit(main())
