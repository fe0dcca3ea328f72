# Promise: reward models learn what a rule prefers, on every layout alike, and a run that was killed at any instant ends with the
# weights and moments of one that was left alone. KILLS: how many random kill -9 (2).
source "$(dirname "$0")/support.sh" "$@"
options=(--config configs/recipes/smoke_reward_model.cfg)
RANDOM=${SEED:-1}
hash_of() { "$athanor" inspect "$1/stages/$2" --verify=true | sed -n 's/^content hash //p'; }
last() { grep -o "\"$2\":[^,}]*" "$1/stages/$3/metrics.jsonl" | tail -1 | cut -d: -f2; }
records() { cat "$1"/stages/{helpful,safety}/metrics.jsonl 2> /dev/null | grep -c '"lr"' || true; }

ranks 2 run "${options[@]}" --run.folder="$work/straight" > "$work/log" 2>&1 || { cat "$work/log"; fail "the straight run"; finish; }
grep -q "bias shifted by" "$work/log" || fail "the bias was not centred"
for stage in helpful safety; do
  accuracy=$(last "$work/straight" held_out/accuracy $stage)
  awk -v a="$accuracy" 'BEGIN { exit !(a > 0.6) }' || fail "$stage: held-out accuracy $accuracy"
done

for kill in $(seq "${KILLS:-2}"); do
  rm -rf "$work/kill"
  mkdir -p "$work/kill/stages"
  cp -r "$work/straight/stages/base" "$work/kill/stages/"
  kill_one_rank "$work/kill" records $((RANDOM % 36 + 1)) "${options[@]}"
  ranks 2 run "${options[@]}" --run.folder="$work/kill" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on after kill -9"; }
  for stage in helpful safety; do
    [ "$(hash_of "$work/kill" $stage)" = "$(hash_of "$work/straight" $stage)" ] || fail "kill $kill: another $stage at the end"
  done
done
[ $killed -gt 0 ] || fail "no run was killed"

# Every axis: the same losses and accuracies in f64 as one rank.
few=(--run.dtype=f64 --base.run.steps=4 "--helpful.reward_model.data=helpful(arithmetic:language=symbols, prompts=64, answers=3)"
  "--safety.reward_model.data=safety(arithmetic:language=symbols, prompts=64, forbidden=xyz)")
ranks 1 run "${options[@]}" "${few[@]}" --run.folder="$work/one" > "$work/log" 2>&1 || { cat "$work/log"; fail "one rank"; }
for layout in --parallel.dp=2 --parallel.tp=2 --parallel.pp=2 --parallel.ep=2; do
  ranks 2 run "${options[@]}" "${few[@]}" --run.folder="$work/layout" --run.start_over=true $layout > "$work/log" 2>&1 ||
    { cat "$work/log"; fail "reward models with $layout"; }
  for stage in helpful safety; do
    for value in held_out/accuracy held_out/loss loss; do
      one=$(last "$work/one" $value $stage) two=$(last "$work/layout" $value $stage)
      awk -v a="$one" -v b="$two" 'BEGIN { exit !(a - b < 1e-8 && b - a < 1e-8 && a > 0) }' ||
        fail "$stage with $layout: $value is $two, on one rank $one"
    done
  done
done

# What cannot be learned from is refused before anything runs.
printf '{"prompt":"a","chosen":"b","rejected":"c"}\n' > "$work/pairs.jsonl"
ranks 1 run "${options[@]}" --run.folder="$work/refused" --safety.reward_model.data="$work/pairs.jsonl" > "$work/log" 2>&1 &&
  fail "pairs for labels were taken"
grep -q "pairs.jsonl: line 1" "$work/log" || fail "the line that cannot be used is not named: $(tail -3 "$work/log")"
[ ! -e "$work/refused/stages/base/checkpoints" ] || fail "time was spent before the refusal"
finish
