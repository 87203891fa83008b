#!/bin/sh
# Text that is not ours is cleaned where it leaves. Of cli/ only cli/terminal.c prints, and fail() in cli/main.c. The other folders print
# nothing: the screen draws by tui/terminal.c's one cell at a time, reports are made in memory; what is said where memory has ended, and by a
# worker into the front's pipe, are the lines below. Usage: sinks.sh SOURCE_DIR
set -u
cd "$1" || exit 1
prints='\b(printf|fprintf|vprintf|vfprintf|fputs|puts|putchar|fputc|putc|fwrite|perror|dprintf|psignal|printw|putp|tputs)\(|\b(mv)?w?(add|ins)n?_?(w?ch|w?str|w?chn?str)\(|(^|[^>.a-z_])(write|writev)\('
allowed() {
    grep -vE '^cli/terminal\.c:' |
        grep -vE '^cli/main\.c:[0-9]+: +fputs\(text\.text, stderr\);' |
        grep -vE '^cli/probe\.c:[0-9]+: .*write\(ends\[1\], ' | # to its parent
        grep -vE '^cli/batch\.c:[0-9]+: .*write\(signal_pipe, &byte, 1\)' |
        grep -vE '^profiler/attach_process\.c:[0-9]+: .*write\(report, &code, ' |
        grep -vE '^profiler/process\.c:[0-9]+: .*write\(errors, sentence, ' | # a constant, into the worker's pipe
        grep -vE '^profiler/stand_in\.c:[0-9]+: +(const ssize_t put = write\(fd, payload|fprintf\(stderr, "%s\\n", error\.text\);)' | # into the front's pipe, as its worker would
        grep -vE '^base/file\.c:[0-9]+: .*write\(fd, bytes, length\)' |
        grep -vE '^base/limits\.c:[0-9]+: +fputs\(last_word, stderr\);' | # a number and a constant
        grep -vE '^worker/reporter\.c:[0-9]+: +(fprintf\(stderr, "steptop: %s\\n", error\.text\);|const bool reset = write\(fd, "5", 1\))' |
        grep -vE '^profiler/recording\.c:[0-9]+: +.*fwrite\(' |
        grep -vE '^tui/signals\.c:[0-9]+: .*write\(' | # what restores the terminal, and a byte to the loop
        grep -vE '^tui/terminal\.c:[0-9]+: .*(write\(terminal->output, |mvadd_wch\(y, x, &cell\))' |
        grep -vE ':[0-9]+: +(/\*|\*|//)'
}
found=$(grep -nE "$prints" cli/*.c tui/*.c report/*.c profiles/*.c profiler/*.c worker/*.c model/*.c base/*.c | allowed)
[ -z "$found" ] && exit 0
echo "these print by themselves; say() and print_all() of cli/terminal.h are for that, and the canvas on the screen:"
echo "$found"
exit 1
