# Promise: the smoke recipe runs from nothing on 2 ranks, gives the same weights on the guarded device, and what it leaves can be
# inspected, evaluated and used to write.
source "$(dirname "$0")/support.sh" "$@"

for device in cpu cpu-guarded; do
  ranks 2 run --config configs/recipes/smoke.cfg --run.folder="$work/$device" --run.device=$device > "$work/log" 2>&1 ||
    { cat "$work/log"; fail "the smoke recipe on $device"; }
done
hash=$(content_hash "$work/cpu")
[ -n "$hash" ] && [ "$hash" = "$(content_hash "$work/cpu-guarded")" ] || fail "the guarded device gives other weights"
for name in config.resolved.cfg recipe_state.json summary.json summary.md stages/pretrain/metrics.jsonl; do
  [ -s "$work/cpu/$name" ] || fail "$name is missing"
done
[ "$(grep -c '"loss"' "$work/cpu/stages/pretrain/metrics.jsonl")" -eq 40 ] || fail "metrics.jsonl has not one record a step"

# A finished run is not done again, and its resolved configuration is a recipe of its own.
ranks 2 run --config "$work/cpu/config.resolved.cfg" --run.folder="$work/cpu" 2>&1 | grep -q "pretrain: complete, skipped" ||
  fail "a finished stage was run again"

"$athanor" evaluate "$work/cpu/stages/pretrain" > "$work/evaluation" 2> /dev/null || fail "evaluate"
held_out=$(sed -n 's/^| pretrain | [0-9.]* | \([0-9.]*\) .*/\1/p' "$work/cpu/summary.md")
[ "$(printf '%.4f' "$(sed 's/.*"loss":\([0-9.]*\),.*/\1/' "$work/evaluation")")" = "$held_out" ] || fail "evaluate disagrees with the run: $held_out, $(cat "$work/evaluation")"
text=$("$athanor" generate "$work/cpu" --prompt="Ada the" --max_new_tokens=20 --seed=3 2> /dev/null) || fail "generate"
[ "${text:0:7}" = "Ada the" ] || fail "generate does not begin with its prompt"
[ "$text" = "$("$athanor" generate "$work/cpu" --prompt="Ada the" --max_new_tokens=20 --seed=3 2> /dev/null)" ] || fail "generate does not repeat"
# A layout of 2048 ranks is planned on one, and holds the published model.
"$athanor" plan --config configs/models/deepseek_v3.cfg --config configs/layouts/v3_2048.cfg > "$work/plan" || fail "plan"
grep -q "^671026419200 parameters" "$work/plan" || fail "plan does not hold the model: $(cat "$work/plan")"
# Every described model can be built, and the one that measures a GPU has its sizes and fits it with its optimizer.
for model in configs/models/*.cfg; do
  "$athanor" inspect --config "$model" > "$work/model" 2>&1 || fail "inspect $model: $(cat "$work/model")"
  [ "$model" != configs/models/moe_3b.cfg ] || [ "$(sed -n 's/^\(parameters\|  activated a token\)  *//p' "$work/model" | tr '\n' ' ')" = "2952641600 626375744 " ] ||
    fail "moe_3b: $(cat "$work/model")"
done
most=$("$athanor" plan --config configs/models/moe_3b.cfg --ranks=1 --run.dtype=bf16 --data.sequence_length=4096 \
  --data.batch_sequences=32 --data.micro_batch_sequences=8 | sed -n 's/.*most of a rank \([0-9]*\)\..* GiB.*/\1/p')
[ "${most:-999}" -lt 139 ] || fail "moe_3b wants $most GiB"

# The measurement of saving saves, and leaves nothing behind.
ranks 2 bench checkpoint --config configs/recipes/smoke.cfg --run.folder="$work/bench" --steps=1 --saves=1 > "$work/out" 2> "$work/err" ||
  fail "bench checkpoint: $(cat "$work/err")"
grep -q '"share_of_plain_write":' "$work/out" || fail "bench checkpoint says nothing: $(cat "$work/out")"
[ -z "$(ls "$work/bench")" ] || fail "bench checkpoint left $(ls "$work/bench")"

"$athanor" --version > "$work/out" || fail "--version"
grep -Eq '^athanor [0-9.]+ \(build [0-9a-f]{40}, CUDA back end (on|off), ' "$work/out" || fail "--version says $(cat "$work/out")"
for command in "" run evaluate generate prepare tokenizer inspect plan bench; do
  # shellcheck disable=SC2086
  "$athanor" $command --help > "$work/help" || fail "$command --help"
  [ -s "$work/help" ] || fail "$command --help says nothing"
done
finish
