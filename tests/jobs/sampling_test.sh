# Promise: rejection sampling keeps right solutions alone, in R1's layout, with counts of what it left out; the files are
# the same on 1 and 2 ranks, after a stop and after kill -9 at any instant. KILLS: how many random kill -9 (3).
source "$(dirname "$0")/support.sh" "$@"
options=(--config configs/recipes/smoke_sampling.cfg)
RANDOM=${SEED:-1}
data() { cat "$1"/stages/cold_start/data/{conversations.jsonl,rejected.json}; }
rounds() { grep -c '"acceptance_rate"' "$1/stages/cold_start/metrics.jsonl" 2> /dev/null || true; }
with_base() { # with_base FOLDER: a run whose base is trained
  rm -rf "$1"
  mkdir -p "$1/stages"
  cp -r "$work/one/stages/base" "$1/stages/"
}
count() { sed -n "s/^  *\"$1\": \([0-9]*\),*\$/\1/p" "$work/one/stages/cold_start/data/rejected.json" | head -1; }

ranks 1 run "${options[@]}" --run.folder="$work/one" > "$work/log" 2>&1 || { cat "$work/log"; fail "the recipe on one rank"; finish; }
conversations="$work/one/stages/cold_start/data/conversations.jsonl"
[ "$(count completions)" -eq 2048 ] || fail "$(count completions) completions, not 256 * 8"
kept=$(count kept)
[ "$kept" -ge 20 ] || { cat "$work/log"; fail "only $kept kept: the base learned nothing"; }
sum=$kept
for reason in truncated unreadable wrong no_format code_block too_long mixed_language repetitive contaminated duplicate over_cap; do
  sum=$((sum + $(count $reason)))
done
[ "$sum" -eq 2048 ] || fail "kept and rejected are $sum of 2048"
[ "$(count wrong)" -gt 0 ] || fail "a model of this size is never wrong?"
grep -q accepted "$work/one/summary.md" || fail "summary.md has no acceptance rate"

# All of it right, by the program's own check on what was sampled; nothing in it twice; R1's layout, its last sentence in
# signs, or in words where the completion has a word.
grep '"completion":' "$conversations" > "$work/sampled.jsonl"
[ "$(wc -l < "$work/sampled.jsonl")" -eq "$kept" ] || fail "$(wc -l < "$work/sampled.jsonl") sampled conversations, $kept were kept"
"$athanor" score --reward=accuracy --input="$work/sampled.jsonl" > "$work/scores" || fail "athanor score"
[ "$(grep -c '"accuracy":1.0' "$work/scores")" -eq "$kept" ] || fail "not all are right: $(grep -v '"accuracy":1.0' "$work/scores" | head -3)"
[ "$(sed 's/"answer":.*//' "$work/sampled.jsonl" | sort | uniq -d | wc -l)" -eq 0 ] || fail "duplicates"
layout='"reasoning_content":"[^"]*","content":"(#### -*[0-9]+|The answer is -*[0-9]+\.)"}'
[ "$(grep -cE "$layout" "$work/sampled.jsonl")" -eq "$kept" ] ||
  fail "not R1's layout: $(grep -vE "$layout" "$work/sampled.jsonl" | head -2)"
[ "$(grep -c '"stage":"base","checkpoint":"step_00000300"' "$work/sampled.jsonl")" -eq "$kept" ] || fail "no provenance"
mixed=$(grep -c generated:greetings "$conversations")
[ $((mixed * 4 - kept)) -ge -2 ] && [ $((mixed * 4 - kept)) -le 2 ] || fail "$mixed greetings with $kept sampled are not one in five"

with_base "$work/two"
ranks 2 run "${options[@]}" --run.folder="$work/two" > "$work/log" 2>&1 || { cat "$work/log"; fail "the recipe on two ranks"; }
diff <(data "$work/one") <(data "$work/two") > /dev/null || fail "other files on two ranks"
with_base "$work/pp"
ranks 2 run "${options[@]}" --run.folder="$work/pp" --parallel.pp=2 --sampling.problems_per_round=40 > "$work/log" 2>&1 ||
  { cat "$work/log"; fail "the recipe with pp=2"; }
diff <(data "$work/one") <(data "$work/pp") > /dev/null || fail "other files with pp=2 and longer rounds"

# Killed without warning, any rank, any time; then stopped by the clock; then to the end. Short rounds, and many.
long=("${options[@]}" --sampling.problems=2400 --sampling.problems_per_round=8 --rl.tasks=arithmetic:level=2:language=symbols)
with_base "$work/straight"
ranks 1 run "${long[@]}" --run.folder="$work/straight" > "$work/log" 2>&1 || { cat "$work/log"; fail "the long recipe"; }
with_base "$work/kill"
for kill in $(seq "${KILLS:-3}"); do
  before=$(rounds "$work/kill")
  kill_one_rank "$work/kill" rounds $((${before:-0} + RANDOM % 60 + 1)) "${long[@]}"
done
[ $killed -gt 0 ] || fail "no run was killed"
ranks 2 run "${long[@]}" --run.folder="$work/kill" --run.time_limit=1 > "$work/log" 2>&1
status=$?
[ $status -eq 75 ] || [ $status -eq 0 ] || { cat "$work/log"; fail "the time limit gave status $status"; }
ranks 2 run "${long[@]}" --run.folder="$work/kill" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on after kill -9"; }
diff <(data "$work/straight") <(data "$work/kill") > /dev/null || fail "other files after kill -9"
[ "$(rounds "$work/kill")" -eq 300 ] || fail "$(rounds "$work/kill") rounds in metrics.jsonl, not 300"

# Refused before anything is computed, and in a stage that was begun otherwise.
refused() { # refused FOLDER WANTED options...
  ranks 2 run "${options[@]}" --run.folder="$work/$1" "${@:3}" > "$work/log" 2>&1
  [ $? -eq 2 ] || fail "exit status is not 2 with ${*:3}"
  grep -q "$2" "$work/log" || fail "no '$2' in $(cat "$work/log")"
}
refused bad "share of the whole" --sampling.mix=generated:greetings
refused bad "nowhere.jsonl" --sampling.decontaminate=jsonl:/nowhere.jsonl
refused bad "has no end" --sampling.problems=0
[ -z "$(ls -A "$work/bad/stages" 2> /dev/null)" ] || fail "a stage began that cannot end"
# So many rounds that it is stopped in the midst of them, however fast the machine.
other=("${options[@]}" --sampling.problems=100000 "${long[@]:3}")
with_base "$work/other"
ranks 2 run "${other[@]}" --run.folder="$work/other" > "$work/kill.log" 2>&1 &
job=$!
for _ in $(seq 600); do
  [ "$(rounds "$work/other")" -ge 1 ] 2> /dev/null && break
  sleep 0.02
done
touch "$work/other/STOP"
wait $job
[ ! -e "$work/other/stages/cold_start/data/conversations.jsonl" ] || fail "the file STOP came too late"
refused other "sampling.temperature: 1.0 -> 0.5" "${other[@]:2}" --cold_start.sampling.temperature=0.5
finish
