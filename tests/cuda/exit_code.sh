#!/bin/sh
# A command that needs the CUDA device exits with 4 and one sentence that says what is missing. Usage: exit_code.sh STEPTOP
"$1" verify --device cuda:0 >/dev/null 2>"${TMPDIR:-/tmp}/steptop-exit.$$"
status=$?
text=$(cat "${TMPDIR:-/tmp}/steptop-exit.$$")
rm -f "${TMPDIR:-/tmp}/steptop-exit.$$"
[ $status -eq 0 ] && exit 77 # there is a device here
[ $status -eq 4 ] || { echo "exit status $status instead of 4: $text"; exit 1; }
case $text in
*"NVIDIA driver"* | *NVRTC* | *cuBLASLt* | *"CUDA device"*) exit 0 ;;
*) echo "does not say what is missing: $text"; exit 1 ;;
esac
