#!/bin/sh
# Outputs of compute-sanitizer as its versions write them → the table by kernel. Usage: sanitizer.sh SOURCE_FOLDER
cd "$1" || exit 1
scripts/gpu-sanitize --summarize tests/cuda/sanitizer/*.log | diff tests/cuda/sanitizer/expected.txt -
