#!/bin/sh
# A file includes only from its own folder and from those that its floor may know; the table below is that of docs/architecture.md.
# A floor may know whole folders, or single headers of a folder. Usage: floors.sh SOURCE_DIR. Prints each broken rule; exits 1 when
# there is one. Then what a floor may not speak of: words that its code does not contain.
set -eu
cd "$1"
allowed() { # FLOOR: what it may include beside its own folder; a folder ends in /
    case $1 in
    base) echo "" ;;
    kernels) echo "base/" ;;
    model) echo "base/ kernels/plan.h kernels/ops.h kernels/device.h kernels/reference/" ;;
    profiles) echo "base/ kernels/plan.h kernels/device.h model/model.h" ;;
    profiler) echo "base/ kernels/plan.h kernels/device.h kernels/communicator.h profiles/" ;;
    worker) echo "base/ kernels/ model/ profiles/ profiler/places.h profiler/protocol.h profiler/record.h profiler/ring.h" ;;
    attach) echo "base/ kernels/plan.h kernels/device.h kernels/cuda/cupti_internal.h profiler/places.h profiler/protocol.h profiler/record.h profiler/ring.h" ;;
    report) echo "base/ kernels/ model/ profiles/ profiler/" ;;
    tui) echo "base/ kernels/ model/ profiles/ profiler/ report/" ;;
    cli) echo "base/ kernels/ model/ profiles/ profiler/ worker/ report/ tui/" ;;
    esac
}
bad=0
for floor in base kernels model profiles profiler worker attach report tui cli; do
    [ -d "$floor" ] || continue
    may="$floor/ $(allowed "$floor")"
    for line in $(grep -rnoE '^#include "[^"]+"' "$floor" --include='*.c' --include='*.h' --include='*.cu' | tr -d ' '); do
        file=${line%%:*}
        header=${line#*\"}
        header=${header%\"}
        [ -e "$(dirname "$file")/$header" ] && continue
        found=
        for one in $may; do
            case $one in
            */) case $header in "$one"*) found=1 ;; esac ;;
            *) [ "$header" = "$one" ] && found=1 ;;
            esac
        done
        if [ -z "$found" ]; then
            echo "$file includes $header, which $floor/ may not know"
            bad=1
        fi
    done
done
# FLOOR PATTERN WHY
silent() {
    if grep -rnE "$2" $1 --include='*.c' --include='*.h'; then
        echo "$1/: $3"
        bad=1
    fi
}
silent profiler '\b(plan_build|cell_plan_request|model_[a-z_]+|config_preset)[ ]*\(' "the profiler knows no models"
silent profiler '\bworker_[a-z_]+[ ]*\(' "what is the worker's lives in worker/"
silent "report tui" '\bworker_main\b' "only cli/ starts a worker"
exit $bad
