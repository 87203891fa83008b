#!/bin/sh
# A run below nohup outlives its terminal, and an attached program hears of the signals that it would hear of alone.
# Usage: ignored_signals.sh STEPTOP. 77: there is no /proc to ask.
set -u
steptop=$1
[ -r /proc/self/status ] || exit 77
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
export XDG_CONFIG_HOME="$folder/config" XDG_CACHE_HOME="$folder/cache" XDG_STATE_HOME="$folder/state"
bad=0
alike() { # WHICH…: ignored by who starts both
    alone=$(trap '' "$@"; grep SigIgn /proc/self/status)
    attached=$(trap '' "$@"; "$steptop" attach -o r.yaml -- grep SigIgn /proc/self/status 2> err)
    [ "$alone" = "$attached" ] || { echo "ignoring $*: alone '$alone', attached '$attached'"; cat err; bad=1; }
}
alike USR1
alike USR1 HUP
alike HUP INT QUIT
printf 'schema: steptop/profile/1\nname: p\nmodels: tiny\nmatrix: {batch_size: [1], context_length: [16]}\nmeasure: {passes: [fwd], steps: 2000, warmup: 0}\n' > p.yaml
(trap '' HUP; exec "$steptop" run p.yaml -B -q -o r.yaml > out 2> err) &
run=$!
while ! grep -q '^SigCgt:.*[1-9a-f]' "/proc/$run/status" 2> /dev/null && kill -0 $run 2> /dev/null; do sleep 0.05; done
sleep 0.2
kill -HUP $run
sleep 0.5
kill -TERM $run
wait $run
code=$?
[ $code -eq 143 ] || { echo "below nohup a run ended by SIGHUP, or not by SIGTERM: $code"; cat err; bad=1; }
exit $bad
