#!/bin/sh
# No output replaces an input or another output, however it is spelled; names that cannot be are told before anything runs; what is
# printed holds nothing that a terminal could act on. Usage: files.sh STEPTOP SOURCE_DIR
set -u
steptop=$1
report=$2/tests/report/inputs/r-before.yaml
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
export XDG_CONFIG_HOME="$folder/config" XDG_CACHE_HOME="$folder/cache" XDG_STATE_HOME="$folder/state"
bad=0
# code CODE WORDS ARGUMENTS…: the exit code and a part of what is said
code() {
    want=$1 words=$2
    shift 2
    "$steptop" "$@" > out 2> err < /dev/null
    got=$?
    if [ $got -ne "$want" ] || { [ -n "$words" ] && ! grep -qF -- "$words" err out; }; then
        echo "steptop $*: code $got (wanted $want), wanted '$words':"
        cat err
        bad=1
    fi
}
cp "$report" q.yaml && cp "$report" x.yaml
printf 'schema: steptop/profile/1\nname: p\nmodels: tiny\nmatrix: {batch_size: [1], context_length: [16]}\nmeasure: {steps: 1, warmup: 0}\n' > p.yaml
cp p.yaml kept.yaml && ln p.yaml hard.yaml && mkdir sub && ln -s . here && ln q.yaml twin.yaml
run="run p.yaml -B -q"
code 2 "--record writes to this file already" $run -o rr --record rr
code 2 "that is the file that the profile reads" $run --record p.yaml
code 2 "that is the file that the profile reads" $run -o p.yaml
code 2 "that is the file that the profile reads" $run -o hard.yaml
code 2 "that is the file that the profile reads" $run --csv here/p.yaml
code 2 "that is the file that the profile reads" $run --markdown ./sub/../p.yaml
code 2 "writes to this file already" $run --csv new --json here/new
code 2 "--output writes to this file already" $run -o twin.yaml --json q.yaml
code 2 "writes to this file already" $run -o a-1-steps.svg --markdown a.md --svg a-1-classes.svg
code 2 "that is the file that report reads" report q.yaml -o q.yaml
code 2 "that is the file that report reads" report q.yaml --csv twin.yaml
code 2 "that is the file that diff reads" diff q.yaml x.yaml -o q.yaml
code 2 "that is the file that diff reads" diff q.yaml x.yaml -o here/x.yaml
code 2 "name a file" report q.yaml -o sub/
code 2 "the name is too long" $run -o "$(printf 'n%.0s' $(seq 1 252))"
code 2 "there is no folder" $run --record q.yaml/x
# What is refused leaves the files as they are, and a dry run refuses it, too.
echo kept > old.rec
code 2 "is not a report format" $run --record old.rec -f mrkdown
[ "$(cat old.rec)" = kept ] || { echo "a run that was refused began its recording"; bad=1; }
code 2 "is not a report format" $run --dry-run -f mrkdown
code 2 "is not a report format" attach -f mrkdown -- touch ran
[ ! -e ran ] || { echo "a command was started before the format was looked at"; bad=1; }
"$steptop" report - -o q.yaml < q.yaml > out 2> err
[ $? -eq 2 ] || { echo "standard input is the output"; cat err; bad=1; }
# What an attached command is given may be its input, and it is one itself; standard output may be one of the files, too.
printf '#!/bin/sh\n' > script.sh && chmod +x script.sh && cp script.sh script.kept
code 2 "that is the file that the command reads" attach -o p.yaml -- sh p.yaml
code 2 "that is the file that the command reads" attach -o r.yaml --markdown hard.yaml -- cat q.yaml p.yaml
code 2 "that is the file that the command reads" attach -o p.yaml -- true --config=sub/../p.yaml
code 2 "that is the file that the command reads" attach -o script.sh -- ./script.sh
code 2 "--record is an option of" attach --record p.yaml -- true
mkdir -p state/steptop/reports && cp q.yaml state/steptop/reports/20200101T000000Z-1.yaml
code 2 "that is the file that report reads" report last -o state/steptop/reports/20200101T000000Z-1.yaml
code 2 "that is the file that diff reads" diff x.yaml last -o state/steptop/reports/20200101T000000Z-1.yaml
onto() {
    file=$1 words=$2
    shift 2
    "$steptop" "$@" >> "$file" 2> err < /dev/null
    [ $? -eq 2 ] && grep -qF -- "$words" err || { echo "steptop $* >> $file:"; cat err; bad=1; }
}
onto q.yaml "standard output" report q.yaml
onto x.yaml "standard output" diff q.yaml x.yaml
onto p.yaml "standard output" $run
onto log "standard output" $run -o log
[ -s log ] && { echo "both were written"; bad=1; }
cmp -s script.sh script.kept && cmp -s x.yaml "$report" || { echo "an input was changed"; bad=1; }
rm -r state/steptop/reports log
cmp -s p.yaml kept.yaml && cmp -s q.yaml "$report" || { echo "an input was changed"; bad=1; }
[ ! -e new ] && [ ! -e rr ] || { echo "something was written"; bad=1; }
# Nor is what is read without being named: settings, the cache, libraries and programs; by a hard link neither.
mkdir -p config/steptop cache/steptop && echo 'theme light' > config/steptop/screen && echo kept > cache/steptop/cpu-gemm-2.txt
ln config/steptop/screen settings.yaml && cp "$steptop" copy.yaml
for option in -o --csv --markdown --json --html --svg --perfetto --record; do
    code 2 "the settings of the screen" $run $option config/steptop/screen
    code 2 "the settings of the screen" $run $option settings.yaml
    code 2 "a file of the cache" $run $option cache/steptop/cpu-gemm-2.txt
    code 2 "a program or a library" $run $option copy.yaml
done
code 2 "the settings of the screen" report q.yaml -o settings.yaml
code 2 "the settings of the screen" attach -o settings.yaml -- true
code 2 "a program or a library" verify -o copy.yaml
code 2 "the settings of the screen" profiles new x --force -o settings.yaml
cmp -s copy.yaml "$steptop" && [ "$(cat settings.yaml)" = 'theme light' ] && [ "$(cat cache/steptop/cpu-gemm-2.txt)" = kept ] || {
    echo "steptop's own file was replaced"
    bad=1
}
rm -r config/steptop/screen cache/steptop settings.yaml copy.yaml
# What is no plain file stays what it is, by whatever name and whoever asks: a FIFO, a device, a link to one, a folder.
mkfifo fifo && ln -s /dev/null to-null && ln -s fifo to-fifo && ln -s sub to-sub
mknod device c 1 3 2> /dev/null || rm -f device
nodes() { ls -ldn fifo to-null to-fifo to-sub sub /dev/stdout /dev/stderr /dev/null /dev/full /dev/fd $([ -e device ] && echo device) 2>&1 | sed 's/ [A-Z][a-z][a-z] .*[0-9] / /'; }
nodes > nodes.1
for node in fifo to-null to-fifo to-sub sub /dev/stdout /dev/null /dev/full /dev/fd/1 /proc/self/fd/1 /dev/../dev/stdout $([ -e device ] && echo device); do
    for option in -o --csv --markdown --json --html --svg --perfetto --record; do
        code 2 "name another" $run $option "$node"
    done
    code 2 "name another" report q.yaml -o "$node"
    code 2 "name another" diff q.yaml x.yaml -o "$node"
    code 2 "name another" report q.yaml --handout -f csv -o "$node"
    code 2 "name another" verify -o "$node"
    code 2 "name another" attach -o "$node" -- true
    code 2 "name another" run p.yaml -B -q --resume "$node"
done
nodes > nodes.2
cmp -s nodes.1 nodes.2 || { echo "a device, FIFO or link was replaced"; diff nodes.1 nodes.2; bad=1; }
rm -f fifo to-null to-fifo to-sub device
# A resumed report goes on in its own file.
code 0 "" $run -o r.yaml
cp r.yaml before
code 0 "" $run --resume r.yaml -o r.yaml
sed 's/^  - id: 1$/  - id: 4294967295/' r.yaml > top.yaml
grep -q 'id: 4294967295' top.yaml || { echo "no id to change"; bad=1; }
sed 's/batch_size: \[1\]/batch_size: [1, 2]/' p.yaml > two.yaml
code 0 "" run two.yaml -B -q --resume top.yaml
[ "$(grep -c '^  - id: [12]$' top.yaml)" = 2 ] || { echo "ids after resuming:"; grep 'id:' top.yaml | head -3; bad=1; }
# What a run would be refused for is told by a dry run, too.
ln -s loop loop
code 2 "symbolic link" run p.yaml --dry-run --resume loop
code 2 "that is the file that the profile reads" run p.yaml --dry-run -o p.yaml
# Thousands of cells with one plan are listed at once.
timeout 30 "$steptop" run p.yaml --repetitions 10000 --interleave --seed 1,2 --dry-run > out 2> err
[ $? -eq 0 ] && grep -q '^20000 cells' out || { echo "20000 cells with one plan:"; tail -2 out; cat err; bad=1; }
# UTF-16 is called by its name.
printf '\377\376s\000c\000' > wide.yaml
code 3 "UTF-16; save it as UTF-8" run --dry-run wide.yaml
code 3 "UTF-16; save it as UTF-8" report wide.yaml
# Nothing to write to.
"$steptop" report q.yaml >&- 2> err
[ $? -eq 1 ] || { echo "a closed output is no error"; bad=1; }
# A link in a circle says what it is.
mkdir -p config/steptop/profiles && ln -s loop.yaml config/steptop/profiles/loop.yaml
code 3 "symbolic links" run loop --dry-run
# One table of limits, in flags, files and both schemas.
code 2 "1 to 1000" run p.yaml --dry-run --num-layers 1001
code 0 "did you mean 8?" run p.yaml --dry-run --d-ff 1
"$steptop" completions schema > /dev/null 2>&1
code 3 "begins with 0" run "$2/tests/profiles/inputs/y-octal-010.yaml" --dry-run
code 0 "2 cells" run "$2/tests/profiles/inputs/y-boolean-True.yaml" --dry-run
code 0 "1 cell" run "$2/tests/profiles/inputs/y-bom.yaml" --dry-run
# The kernels' CSV has a row a kernel, all with as many fields as the head (names hold no comma here).
"$steptop" run p.yaml -B -q -o kernels.yaml > /dev/null 2>&1
"$steptop" report kernels.yaml --format kernels > kernels.csv || bad=1
[ "$(tr -d '\r' < kernels.csv | awk -F, '{print NF}' | sort -u | wc -l)" = 1 ] && [ "$(wc -l < kernels.csv)" -gt 5 ] || {
    echo "the kernels' CSV is not one table"
    bad=1
}
# A click on a head of the HTML report's tables sorts by its column.
if command -v node > /dev/null; then
    "$steptop" report kernels.yaml --format html > sorted.html && node "$2/tests/report/html_sort.js" sorted.html || bad=1
fi
# Each command that the handout's answers name is one that can be given.
"$steptop" report q.yaml --handout > handout || bad=1
grep -o '`steptop run [^`]*`' handout | tr -d '`' | sort -u | sed 's/ -o report.yaml//; s/^steptop //' > commands
[ "$(wc -l < commands)" -gt 5 ] || { echo "the handout names no commands"; bad=1; }
while read -r line; do
    # shellcheck disable=SC2086
    "$steptop" $line --dry-run > out 2> err < /dev/null || { echo "steptop $line: "; cat err; bad=1; }
done < commands
"$steptop" run p.yaml --dry-run > out
grep -q 'with full T²' out || { echo "no FLOPs with the full square"; bad=1; }
code 2 "markdown or csv" report q.yaml --handout -f json
code 0 "" report q.yaml --html page.html --handout -f csv -o h.csv
[ -s page.html ] && [ -s h.csv ] || { echo "no HTML or handout"; bad=1; }
[ -z "$(ls | grep '\.[a-zA-Z0-9]\{6\}$')" ] || { echo "temporary files are left"; ls; bad=1; }
# What a file calls itself reaches no terminal as it is.
escape=$(printf '\033')
mark=$(printf '\342\200\256')
printf 'schema: steptop/profile/1\nname: p\ndescription: "a\342\200\256b"\nmodels: tiny\n' > "config/steptop/profiles/turned${mark}.yaml"
cp p.yaml "config/steptop/profiles/esc${escape}[31m.yaml"
"$steptop" profiles > out 2> err
if grep -q "$escape\|$mark" out; then
    echo "profiles prints what a terminal acts on"
    bad=1
fi
grep -q 'turned' out || { echo "profiles does not list the file"; bad=1; }
exit $bad
