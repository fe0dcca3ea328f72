# Promise: `data.tokenizer = bpe:N` learns one tokenizer a run from its first stage's text, the same on 1 and 2 ranks; every stage,
# a restart, `generate` and `evaluate` find it again; what it cannot be learned from is refused before any stage begins.
source "$(dirname "$0")/support.sh" "$@"
options=(--config configs/recipes/smoke_rl.cfg --data.tokenizer=bpe:320 --model.vocab_size=320 --base.run.steps=6 --r1_zero.run.steps=2
  "--data.train=generated:tasks(arithmetic:level=2:language=both, step_by_step=0.5, template=tags, bytes=60000)"
  --rl.tasks=arithmetic:level=1:language=both --data.sequence_length=128 --rl.prompt_template=r1)

ranks 2 run "${options[@]}" --run.folder="$work/two" > "$work/log" 2>&1 || { cat "$work/log"; fail "a run with bpe:320"; finish; }
grep -q "320 tokens learned from the text of stage base" "$work/log" || fail "the log does not tell of the tokenizer"
grep -q "</think>\|prompt" "$work/two/stages/r1_zero/samples.jsonl" || fail "rl in the r1 layout wrote no samples"
"$athanor" tokenizer info --tokenizer="$work/two/tokenizer.json" | grep -q "kind bpe, 320 tokens" || fail "tokenizer.json"

# Stopped before the second stage, on one rank: the same tokenizer; going on finds it, and does not learn it again.
ranks 1 run "${options[@]}" --run.folder="$work/one" --run.time_limit=0.01 > "$work/log" 2>&1
[ $? -eq 75 ] || { cat "$work/log"; fail "the time limit did not stop the run"; }
cmp -s "$work/one/tokenizer.json" "$work/two/tokenizer.json" || fail "another tokenizer on one rank"
before=$(stat -c %Y.%i "$work/one/tokenizer.json")
ranks 1 run "${options[@]}" --run.folder="$work/one" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on"; }
[ "$before" = "$(stat -c %Y.%i "$work/one/tokenizer.json")" ] || fail "the restart learned again"

# Checkpoints know it wherever the run is moved, and say what is missing.
mv "$work/two" "$work/moved"
"$athanor" evaluate "$work/moved/stages/base" > "$work/evaluation" 2> "$work/err" || fail "evaluate: $(cat "$work/err")"
held_out=$(sed -n 's/.*"held_out\/loss":\([^,}]*\).*/\1/p' "$work/moved/stages/base/metrics.jsonl" | tail -n 1)
[ "$(printf '%.4f' "$(sed 's/.*"loss":\([0-9.]*\),.*/\1/' "$work/evaluation")")" = "$(printf '%.4f' "$held_out")" ] ||
  fail "evaluate disagrees with the run: $held_out, $(cat "$work/evaluation")"
"$athanor" generate "$work/moved/stages/base" --prompt="User: Compute" --max_new_tokens=8 > "$work/text" 2> "$work/err" || fail "generate: $(cat "$work/err")"
grep -q "^User: Compute" "$work/text" || fail "generate wrote $(cat "$work/text")"
"$athanor" generate "$work/moved/stages/r1_zero" --layout=r1 --prompt="Compute 1+1." --max_new_tokens=8 > "$work/text" 2> "$work/err" ||
  fail "generate --layout: $(cat "$work/err")"
mv "$work/moved/tokenizer.json" "$work/kept.json"
"$athanor" generate "$work/moved/stages/base" > "$work/text" 2> "$work/err" && fail "generate without the tokenizer"
grep -q "$work/moved/tokenizer.json" "$work/err" || fail "what was looked for is not told: $(cat "$work/err")"

refused() { # refused WANTED options...
  ranks 2 run "${options[@]}" --run.folder="$work/bad" "${@:2}" > "$work/log" 2>&1
  [ $? -eq 2 ] || fail "exit status is not 2 with ${*:2}: $(tail -n 3 "$work/log")"
  grep -q -- "$1" "$work/log" || fail "no '$1' in $(cat "$work/log")"
  [ -z "$(ls -A "$work/bad/stages" 2> /dev/null)" ] || fail "a stage began with ${*:2}"
  rm -rf "$work/bad"
}
refused "wanted bpe:N" --data.tokenizer=bpe:many
refused "has no room for 256 bytes" --data.tokenizer=bpe:200
refused "a run learns one tokenizer" --r1_zero.data.tokenizer=bpe:300
refused "know another tokenizer" --r1_zero.init="$work/moved/stages/base"
refused "holds tokens, not text" --data.train="$work/tokens.h5"
ranks 1 run "${options[@]}" --run.folder="$work/one" --data.tokenizer=bpe:300 > "$work/log" 2>&1
[ $? -eq 2 ] || fail "another tokenizer under a finished run"

# A text with few pairs fills what it can, and says so; the restart takes it for the same, and another size for another.
few() { ranks 1 run "${options[@]}" --run.folder="$work/few" --model.vocab_size=3000 --run.time_limit=0.01 "$@" > "$work/log" 2>&1; }
few --data.tokenizer=bpe:3000
[ $? -eq 75 ] && grep -q "pairs for [0-9]* tokens only" "$work/log" || fail "bpe:3000 on little text: $(cat "$work/log")"
few --data.tokenizer=bpe:3000
[ $? -eq 75 ] || fail "a small tokenizer is not found again: $(cat "$work/log")"
few --data.tokenizer=bpe:300
[ $? -eq 2 ] && grep -q "learned with other options" "$work/log" || fail "bpe:300 took the tokenizer of bpe:3000"
finish
