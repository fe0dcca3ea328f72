# Promise: benchmarks give the same numbers on 1 and on 2 ranks and run on every axis; users' files are benchmarks and
# training problems; a file with too many bad lines, or a misspelt task, ends the run before its first stage begins.
source "$(dirname "$0")/support.sh" "$@"
options=(--config configs/recipes/smoke_evaluate.cfg)
for i in $(seq 0 19); do printf '{"prompt":"%d+%d","answer":%d,"reward":"exact"}\n' $((i % 5)) $((i / 5)) $((i % 5 + i / 5)); done > "$work/sums.jsonl"
benchmarks="--evaluate.benchmarks=arithmetic:level=1:language=symbols:max=9, jsonl:$work/sums.jsonl(name=sums, max_bad=0.1)"
# Numbers that do not depend on the clock.
numbers() { grep -v '"seconds"\|"tokens_per_second"' "$1/stages/check/summary.json"; }

echo 'no problem' >> "$work/sums.jsonl"
ranks 1 run "${options[@]}" "$benchmarks" --run.folder="$work/one" > "$work/log" 2>&1 || { cat "$work/log"; fail "the recipe on one rank"; finish; }
grep -q "left out: $work/sums.jsonl: line 21: " "$work/log" || fail "the bad line is not told: $(grep left "$work/log")"
grep -q "^| sums  *|  *20 |" "$work/one/stages/check/summary.md" || fail "summary.md: $(cat "$work/one/stages/check/summary.md")"
grep -q '± one standard error' "$work/one/stages/check/summary.md" || fail "summary.md does not say what its errors are"
[ "$(wc -l < "$work/one/stages/check/samples.jsonl")" -eq 16 ] || fail "samples.jsonl has not 8 completions a benchmark"
grep -q 'sums pass@1' "$work/one/summary.md" || fail "the run's summary.md does not name the benchmark"
for key in '"pass@1"' '"maj@k"' '"completion_length"' '"truncated"' '"well_formed"' '"language_consistency"' '"8"'; do
  grep -q "$key" "$work/one/stages/check/summary.json" || fail "summary.json has no $key"
done

grep -q "<td>sums</td>" "$work/one/report.html" || fail "report.html does not show the benchmarks"
"$athanor" report "$work/one" > "$work/out" || fail "athanor report"
[ "$(cat "$work/out")" = "$work/one/report.html" ] || fail "athanor report says $(cat "$work/out")"

for layout in dp=2 pp=2 ep=2 cp=2 tp=2; do
  mkdir -p "$work/$layout/stages"
  cp -r "$work/one/stages/base" "$work/$layout/stages/"
  ranks 2 run "${options[@]}" "$benchmarks" --run.folder="$work/$layout" "--parallel.$layout" > "$work/log" 2>&1 ||
    { cat "$work/log"; fail "the benchmarks with $layout"; continue; }
  [ $layout = tp=2 ] && continue  # its sums have another order: the last bits of a probability may differ
  diff <(numbers "$work/one") <(numbers "$work/$layout") || fail "other numbers with $layout"
done

# Refused before anything is computed: no stage folder is made.
refused() { # refused WANTED options...
  ranks 2 run "${options[@]}" --run.folder="$work/bad" "${@:2}" > "$work/log" 2>&1
  [ $? -eq 2 ] || fail "exit status is not 2 with ${*:2}"
  grep -q "$1" "$work/log" || fail "no '$1' in $(cat "$work/log")"
  [ -z "$(ls -A "$work/bad/stages" 2> /dev/null)" ] || fail "a stage began with ${*:2}"
}
refused "sums.jsonl: line 21: " --evaluate.benchmarks="jsonl:$work/sums.jsonl"
refused "nearest is arithmetic" --evaluate.benchmarks=aritmetic
refused "two are named" --evaluate.benchmarks="jsonl:$work/sums.jsonl(max_bad=1), jsonl:$work/sums.jsonl(max_bad=1)"

# The same file to train on; a run does not go on with another one.
rl=(run --config configs/recipes/smoke_rl.cfg --base.run.steps=4 --r1_zero.run.steps=2 --rl.tasks="jsonl:$work/sums.jsonl(max_bad=0.1)")
ranks 2 "${rl[@]}" --run.folder="$work/rl" > "$work/log" 2>&1 || { cat "$work/log"; fail "rl on a file"; }
grep -q '"prompt":"[0-9]+[0-9]"' "$work/rl/stages/r1_zero/samples.jsonl" || fail "the file's problems are not in samples.jsonl"
cp -r "$work/rl" "$work/stopped"
rm "$work/stopped/recipe_state.json" # its stages are not complete: they go on from their checkpoints
sed -i 's/^{"prompt":"1+1"/{"prompt":"1 + 1"/' "$work/sums.jsonl"
ranks 1 "${rl[@]}" --run.folder="$work/stopped" > "$work/log" 2>&1
[ $? -eq 2 ] && grep -q "not those this run began with" "$work/log" || { cat "$work/log"; fail "rl went on with other problems"; }
finish
