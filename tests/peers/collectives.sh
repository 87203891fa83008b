#!/bin/bash
# collectives.sh [TURNS [MB]]: one all-reduce between two ranks on the CPU by steptop, OpenMPI and PyTorch's gloo, in turns; the mean ms
# of the slowest rank each turn, and ours ÷ theirs. PYTHON names a Python with torch; a peer that is not installed is n/a.
set -u
turns=${1:-3} mb=${2:-1000} python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd) top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mpicc -O3 -o "$work/mpi" "$here/collectives_mpi.c" 2>/dev/null
echo "turn steptop openmpi gloo ours/openmpi ours/gloo"
for turn in $(seq "$turns"); do
    "$top/build/steptop" run collectives --collective all_reduce --grad-dtype fp32 --bucket-mb "$mb" --warmup 2 --steps 5 \
        --profile-every 0 --batch -q -o "$work/ours.yaml" --markdown "$work/ours.md" >/dev/null 2>&1
    ours=$(awk -F'|' '/^\| cpu .*all_reduce/ {gsub(/ /, "", $11); print $11}' "$work/ours.md")
    mpi=n/a
    [ -x "$work/mpi" ] && mpi=$(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
        mpirun --oversubscribe -np 2 "$work/mpi" "$mb"000000 2>/dev/null || echo n/a)
    gloo=$("$python" "$here/collectives_gloo.py" "$mb"000000 2 2>/dev/null || echo n/a)
    echo "$turn ${ours:-n/a} ${mpi:-n/a} ${gloo:-n/a}" |
        awk '{m = $3 ~ /^[0-9]/ ? sprintf("%.2f", $2 / $3) : "n/a"; g = $4 ~ /^[0-9]/ ? sprintf("%.2f", $2 / $4) : "n/a"; print $0, m, g}'
done
