#!/bin/sh
# python.sh FOLDER: the hook's sitecustomize in Pythons without torch. It runs the user's own afterwards, hides itself from the program's
# path, says nothing, and is as good as absent with -I, -S, after fork and in spawned processes. 77: there is no python3.
set -eu
command -v python3 >/dev/null || exit 77
here=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
printf 'import os\nos.environ["OWN"] = os.environ.get("OWN", "") + "x"\n' >"$folder/sitecustomize.py"
export STEPTOP_ATTACH_SOCKET="$folder/nobody" STEPTOP_ATTACH_LIBRARY="$folder/nothing.so"
check() { # WHAT EXPECTED COMMAND…
    what=$1 expected=$2
    shift 2
    got=$("$@" 2>&1) || { echo "$what: ended with $?: $got"; exit 1; }
    [ "$got" = "$expected" ] || { echo "$what: '$got', not '$expected'"; exit 1; }
}
export PYTHONPATH="$here:$folder"
check "the user's own runs once" x python3 -c 'import os; print(os.environ["OWN"])'
check "not in the path" False python3 -c "import sys; print('$here' in sys.path)"
check "-I" none python3 -I -c 'import os; print(os.environ.get("OWN", "none"))'
check "-S" none python3 -S -c 'import os; print(os.environ.get("OWN", "none"))'
check "fork" "child
parent" python3 -u -c 'import os
if os.fork() == 0: print("child"); os._exit(0)
os.wait(); print("parent")'
check "spawn" 4 python3 -c 'import subprocess, sys; print(subprocess.run([sys.executable, "-c", "print(4)"], capture_output=True, text=True).stdout.strip())'
check "a module called torch that is none" 7 python3 -c "import sys; sys.path.insert(0, '$folder'); open('$folder/torch.py', 'w').write('x = 7'); import torch; print(torch.x)"
# Programs ask whether there is a torch before they import it, and some try again after it failed; a stand-in of the hook says when it comes.
mkdir "$folder/hook" "$folder/lib"
cp "$here/sitecustomize.py" "$folder/hook" && printf 'def install(module): print("hooked", module.x)\n' >"$folder/hook/steptop_attach.py"
printf 'import os\nif os.environ.pop("FAIL", ""): raise ImportError("not yet")\nx = 7\n' >"$folder/lib/torch.py"
hooked() { check "$1" "hooked 7" env PYTHONPATH="$folder/hook:$folder/lib" python3 -c "$2"; }
hooked "torch is hooked" 'import torch'
hooked "torch is hooked once" 'import importlib, torch; importlib.reload(torch)'
hooked "torch is hooked after somebody asked for it" 'import importlib.util as u; u.find_spec("torch"); u.find_spec("torch"); import torch'
hooked "torch is hooked when its first import failed" 'import os; os.environ["FAIL"] = "1"
try: import torch
except ImportError: import torch'
printf 'raise ValueError("own")\n' >"$folder/sitecustomize.py"
python3 -c 'print("went on")' 2>&1 | grep -q "went on" || { echo "a sitecustomize that raises ended the program"; exit 1; }
