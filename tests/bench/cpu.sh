#!/bin/sh
# The CPU's step over its GEMMs alone: eager, compile, and the optimizer's share of a training step. Arguments go to
# bench_cpu (--model M, --context 1024, --steps N …).
set -eu
# Waiting threads as steptop's worker sets them.
[ -n "${OMP_WAIT_POLICY:-}" ] || export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"
bench=build/bench/bench_cpu
"$bench" "$@"
echo
"$bench" --compile "$@"
echo
"$bench" --compile --pass train_step "$@"
