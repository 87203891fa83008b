#!/bin/sh
# A file includes only from its own folder or from folders above it in the list of floors.
# Usage: floors.sh SOURCE_DIR. Prints each broken rule; exits 1 when there is one.
set -eu
cd "$1"
floors="base kernels model profiles profiler report tui cli"
rank() { i=0; for f in $floors; do i=$((i + 1)); [ "$f" = "$1" ] && { echo $i; return; }; done; echo 0; }
bad=0
for floor in $floors; do
    own=$(rank "$floor")
    [ -d "$floor" ] || continue
    for line in $(grep -rnoE '^#include "[^"]+"' "$floor" --include='*.c' --include='*.h' --include='*.cu' | tr -d ' '); do
        file=${line%%:*}
        header=${line#*\"}
        header=${header%\"}
        folder=${header%%/*}
        other=$(rank "$folder")
        if [ "$other" -gt "$own" ]; then
            echo "$file includes $header: $folder/ stands below $floor/"
            bad=1
        elif [ "$other" -eq 0 ] && [ "$folder" != "$header" ] && ! [ -e "$(dirname "$file")/$header" ]; then
            echo "$file includes $header: not a folder of the house"
            bad=1
        fi
    done
done
exit $bad
