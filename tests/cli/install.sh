#!/bin/sh
# install.sh SOURCE BUILD: installs into a folder of its own, uses what is there, uninstalls, and looks at what is left.
set -eu
source=$1
build=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
prefix="$folder/a prefix"
fail() {
    echo "$*" >&2
    exit 1
}
unset STEPTOP_PROFILE_FOLDER STEPTOP_PLUGIN_FOLDER XDG_CONFIG_HOME
export HOME="$folder"
cd "$folder"

cmake --install "$build" --prefix "$prefix" >/dev/null
for file in bin/steptop share/steptop/profiles/quickstart.yaml share/steptop/profiles/seed.yaml share/steptop/schemas/profile.schema.json \
            share/steptop/schemas/report.schema.json share/man/man1/steptop.1 share/bash-completion/completions/steptop \
            share/fish/vendor_completions.d/steptop.fish; do
    [ -s "$prefix/$file" ] || fail "there is no $file"
done
find "$prefix/share/zsh" -name _steptop | grep -q . || fail "there is no completion for zsh"
cmp -s "$prefix/share/steptop/profiles/seed.yaml" "$source/profiles/seed.yaml" || fail "seed.yaml is another"

steptop="$prefix/bin/steptop"
commit=$(git -C "$source" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
"$steptop" --version | grep -q "^steptop [0-9.]* (commit $commit" || fail "--version does not name the commit $commit: $("$steptop" --version)"
"$steptop" profiles | grep -q "a prefix/.*seed.yaml" || fail "the installed profiles are not found: $("$steptop" profiles)"
"$steptop" run tiny --compile false -p fwd -n 1 -w 0 -f seed -q | grep -q '| ok ' || fail "the installed program does not run"
find "$prefix" -path '*/steptop/steptop-cpu.so' | grep -q . || fail "the CPU device was not installed in libdir"
"$steptop" devices | grep -q OpenBLAS || fail "the installed CPU device is not found, or not OpenBLAS: $("$steptop" devices)"
! LD_TRACE_LOADED_OBJECTS=1 "$steptop" | grep -iE 'blas|gfortran|cuda' || fail "the program itself links what only a worker may load"
if [ -e "$build/steptop-cuda.so" ]; then
    find "$prefix" -path '*/steptop/steptop-cuda.so' | grep -q . || fail "the CUDA plugin was not installed in libdir"
    ! "$steptop" devices 2>&1 | grep -q 'no steptop-cuda.so' || fail "the installed CUDA plugin is not found"
fi

echo theirs >"$prefix/share/steptop/profiles/theirs.yaml"
cmake --build "$build" --target uninstall >/dev/null
left=$(find "$prefix" ! -type d | grep -v theirs.yaml || true)
[ -z "$left" ] || fail "uninstall left $left"
[ -e "$prefix/share/steptop/profiles/theirs.yaml" ] || fail "uninstall removed a file that it had not installed"
! cmake --build "$build" --target uninstall >/dev/null 2>&1 || fail "a second uninstall found something"
