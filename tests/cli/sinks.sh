#!/bin/sh
# Text that is not ours is cleaned where it leaves: cli/terminal.c is the only file of cli/ that prints, and fail() in cli/main.c.
# Usage: sinks.sh SOURCE_DIR
set -u
cd "$1" || exit 1
found=$(grep -nE '\b(printf|fprintf|vfprintf|fputs|puts|putchar|fputc|fwrite|perror|dprintf)\(|\bwrite\(STD' cli/*.c |
    grep -v '^cli/terminal\.c:' | grep -vE '^cli/main\.c:[0-9]+: +fputs\(text\.text, stderr\);')
[ -z "$found" ] && exit 0
echo "these print by themselves; say() and print_all() of cli/terminal.h are for that:"
echo "$found"
exit 1
