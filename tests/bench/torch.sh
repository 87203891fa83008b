#!/bin/sh
# steptop against PyTorch on this machine, the same model and shapes: tests/peers/bench_torch.py with arguments handed on.
# PyTorch comes from the virtual environment STEPTOP_TORCH_VENV, or the one under the cache folder; --install makes the
# latter with pip when it is not there (the wheel is several gigabytes).
set -eu
venv=${STEPTOP_TORCH_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/steptop/venv-torch}
install=
if [ "${1:-}" = --install ]; then
    install=yes
    shift
fi
if ! [ -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    if [ -z "$install" ]; then
        echo "scripts/bench: no PyTorch in $venv; let scripts/bench --peer torch --install put it there, or name another" \
            "virtual environment in STEPTOP_TORCH_VENV" >&2
        exit 4
    fi
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch numpy
fi
exec "$venv/bin/python" tests/peers/bench_torch.py --steptop build/bench/bench_cpu "$@"
