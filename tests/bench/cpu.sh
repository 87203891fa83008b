#!/bin/sh
# The CPU's step over its GEMMs alone: eager, compile, and the optimizer's share of a training step. Arguments go to
# bench_cpu (--model M, --context 1024, --steps N …).
set -eu
bench=build/bench/bench_cpu
"$bench" "$@"
echo
"$bench" --compile "$@"
echo
"$bench" --compile --pass train_step "$@"
