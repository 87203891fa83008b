#!/bin/sh
# Compiled steps on the CPU against eager ones over many shapes, in turns. Arguments go to turns.py (--model S 4x256 …).
exec python3 tests/bench/turns.py "$@"
