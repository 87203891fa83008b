#!/bin/sh
# Where Python has PyTorch: a reference of a random shape, made anew, and the CPU verified against it, eager and compiled.
# Usage: reference.sh STEPTOP MAKE_REFERENCE. STEPTOP_PYTHON names the interpreter (default python3). 77: no PyTorch.
set -eu
python=${STEPTOP_PYTHON:-python3}
"$python" -c 'import torch' 2>/dev/null || { echo "skipped: $python has no PyTorch"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
shape=$("$python" - <<'PYTHON'
import random
heads = random.randint(1, 5)
print("--d-model", heads * 2 * random.randint(2, 20), "--num-heads", heads, "--d-ff", random.randint(3, 150),
      "--num-layers", random.randint(1, 3), "--vocab-size", random.randint(5, 300),
      "--batch-size", random.randint(1, 4), "--context-length", random.randint(1, 70), "--seed", random.randint(0, 10**6))
PYTHON
)
echo "shape: $shape"
# shellcheck disable=SC2086
"$python" "$2" "$folder" $shape
"$1" verify --reference "$folder" --compile false,true --quiet
