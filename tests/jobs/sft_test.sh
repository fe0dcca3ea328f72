# Promise: fine-tuning and distillation run on every layout; a run that was killed at any instant ends with the weights and
# moments of one that was left alone; losses do not depend on the number of ranks; a finished stage is not run again; bad lines
# are named, counted, and refused above the stated share before any stage begins. KILLS: how many random kill -9 (2).
source "$(dirname "$0")/support.sh" "$@"
options=(--config configs/recipes/smoke_sft.cfg)
RANDOM=${SEED:-1}
hash_of() { "$athanor" inspect "$1/stages/$2" --verify=true | sed -n 's/^content hash //p'; }
losses() { sed -n 's/.*"loss":\([^,}]*\).*/\1/p' "$1/stages/$2/metrics.jsonl"; }
records() { cat "$1"/stages/{tuned,student,student_of_teacher}/metrics.jsonl 2> /dev/null | grep -c '"step"'; }

ranks 2 run "${options[@]}" --run.folder="$work/straight" > "$work/log" 2>&1 || { cat "$work/log"; fail "the straight run"; finish; }
for stage in tuned student student_of_teacher; do
  [ "$(losses "$work/straight" $stage | wc -l)" -gt 10 ] || fail "$stage took $(losses "$work/straight" $stage | wc -l) steps"
done
first=$(losses "$work/straight" tuned | head -n 1) last=$(losses "$work/straight" tuned | tail -n 1)
awk -v a="$first" -v b="$last" 'BEGIN { exit !(b < 0.85 * a) }' || fail "fine-tuning learned nothing: loss $first to $last"

# Complete: nothing is repeated.
before=$(cat "$work"/straight/stages/*/metrics.jsonl | cksum)
ranks 2 run "${options[@]}" --run.folder="$work/straight" > "$work/log" 2>&1 || fail "a finished run, started again"
[ "$before" = "$(cat "$work"/straight/stages/*/metrics.jsonl | cksum)" ] || fail "a finished stage was run again"
ranks 1 run "${options[@]}" --run.folder="$work/straight" --evaluate.problems=7 > "$work/log" 2>&1 ||
  fail "an option that no stage of the run reads was refused: $(tail -n 3 "$work/log")"
ranks 2 run "${options[@]}" --run.folder="$work/straight" --tuned.sft.epochs=3 > /dev/null 2> "$work/err"
[ $? -eq 2 ] && grep -q "sft.epochs" "$work/err" || fail "other options of a finished stage were taken: $(cat "$work/err")"

for kill in $(seq "${KILLS:-2}"); do
  rm -rf "$work/kill"
  mkdir -p "$work/kill/stages"
  cp -r "$work/straight/stages/base" "$work/kill/stages/"
  kill_one_rank "$work/kill" records $((RANDOM % 60 + 1)) "${options[@]}"
  ranks 2 run "${options[@]}" --run.folder="$work/kill" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on after kill -9"; }
  for stage in tuned student student_of_teacher; do
    [ "$(hash_of "$work/kill" $stage)" = "$(hash_of "$work/straight" $stage)" ] || fail "kill $kill: $stage ends with other weights"
    diff <(losses "$work/straight" $stage) <(losses "$work/kill" $stage) > /dev/null || fail "kill $kill: other losses of $stage"
  done
done
[ $killed -gt 0 ] || fail "no run was killed"

# One rank and every axis, in f64: the same losses.
short=(--run.dtype=f64 --base.run.steps=4 --sft.epochs=0.5)
ranks 1 run "${options[@]}" "${short[@]}" --run.folder="$work/one" > "$work/log" 2>&1 || { cat "$work/log"; fail "one rank"; }
for layout in --parallel.dp=2 --parallel.pp=2 --parallel.cp=2 --parallel.tp=2 "--parallel.ep=2 --student.parallel.ep=1 --student_of_teacher.parallel.ep=1"; do
  # shellcheck disable=SC2086
  ranks 2 run "${options[@]}" "${short[@]}" --run.folder="$work/layout" --run.start_over=true $layout > "$work/log" 2>&1 ||
    { cat "$work/log"; fail "$layout"; }
  for stage in tuned student student_of_teacher; do
    paste <(losses "$work/one" $stage) <(losses "$work/layout" $stage) |
      awk 'function abs(x) { return x < 0 ? -x : x } abs($1 - $2) > 1e-8 { bad = 1 } END { exit bad || NR == 0 }' ||
      fail "$stage: other losses with $layout: $(losses "$work/one" $stage | tr '\n' ' ') / $(losses "$work/layout" $stage | tr '\n' ' ')"
  done
done
# Users' files.
{
  for i in $(seq 40); do printf '{"prompt": "Say %d.", "completion": "%d"}\n' "$i" "$i"; done
  printf '{"messages": [{"role": "user", "content": "no answer"}]}\n'
} > "$work/mine.jsonl"
mine=("${options[@]}" --run.start_over=true --run.folder="$work/mine" --base.run.steps=2 --sft.layout=v3 --sft.data="$work/mine.jsonl")
ranks 2 run "${mine[@]}" --sft.max_bad_share=0.05 > "$work/log" 2>&1 || { cat "$work/log"; fail "a user's file"; }
grep -q "mine.jsonl: line 41" "$work/log" || fail "the bad line is not named: $(grep -i "left out" "$work/log")"
ranks 2 run "${mine[@]}" --sft.max_bad_share=0.01 > "$work/log" 2>&1
[ $? -eq 2 ] && grep -q "mine.jsonl" "$work/log" || fail "too many bad lines were taken: $(tail -n 3 "$work/log")"
grep -q "base step" "$work/log" && fail "time was spent before the bad lines were seen"
finish
