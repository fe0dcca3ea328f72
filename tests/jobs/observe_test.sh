# Promise: a run can be watched, and watching changes nothing: the trace of a step holds what every rank did on one axis
# of time, TensorBoard's files what metrics.jsonl holds, `report --follow` shows the job until it ends.
source "$(dirname "$0")/support.sh" "$@"

recipe="--config configs/recipes/smoke.cfg --run.steps=6 --run.save_every=3 --parallel.pp=2 --data.micro_batch_sequences=2"
ranks 4 run $recipe --run.folder="$work/plain" > "$work/log" 2>&1 || { cat "$work/log"; fail "the run that nobody watches"; }

# Held up in its fifth step, so that whoever follows finds it at work.
ranks 4 run $recipe --run.folder="$work/watched" --run.trace_step=3 --run.tensorboard \
  --parallel.fault=delay@rank=0:axis=data:step=5:call=1:seconds=3 > "$work/log" 2>&1 &
job=$!
for _ in $(seq 300); do
  [ -s "$work/watched/config.resolved.cfg" ] && break
  sleep 0.05
done
timeout 120 "$athanor" report --follow "$work/watched" --interval=0.05 > "$work/followed" 2>&1 || { cat "$work/followed"; fail "report --follow"; }
wait $job || { cat "$work/log"; fail "the run that is watched"; }
[ "$(content_hash "$work/plain")" = "$(content_hash "$work/watched")" ] || fail "watching changed the weights"

# Followed to its end, in plain lines.
[ "$(tail -n 1 "$work/followed")" = "2 of 2 stages complete, complete" ] || { cat "$work/followed"; fail "the end was not seen"; }
grep -q '^pretrain step [1-6]/6 loss' "$work/followed" || { cat "$work/followed"; fail "no step was seen"; }

# One trace of all ranks; every kind of work is in it, a pipeline's actions by chunk and micro-batch.
trace=$work/watched/stages/pretrain/traces/step_3.json
[ -s "$trace" ] || fail "there is no trace"
[ "$(grep -c '"name":"process_name"' "$trace")" -eq 4 ] || fail "the trace is not of 4 ranks"
for wanted in '"name":"0F0","cat":"pipeline","pid":0' '"name":"1B1","cat":"pipeline","pid":3' '"name":"attention layers.0"' \
  '"name":"finish_receive pp","cat":"communication"' '"name":"reduce_scatter' '"name":"update","cat":"optimizer"' \
  '"name":"snapshot","cat":"checkpoint"' '"name":"micro-batches","cat":"data"'; do
  grep -q -- "$wanted" "$trace" || fail "the trace has no $wanted"
done
[ "$(grep -c '"name":"train step"' "$trace")" -eq 4 ] || fail "the trace is not of one step"
[ ! -e "$work/plain/stages/pretrain/traces" ] || fail "a trace was made that nobody asked for"

# What runs late is timed where it runs: the guarded device has rows of its streams.
ranks 2 run --config configs/recipes/smoke.cfg --run.steps=2 --run.device=cpu-guarded --run.trace_step=1-2 \
  --run.folder="$work/late" > "$work/log" 2>&1 || { cat "$work/log"; fail "a trace of the guarded device"; }
trace=$work/late/stages/pretrain/traces/steps_1-2.json
[ "$(grep -c '"thread_name".*"compute stream"' "$trace")" -eq 2 ] || fail "the trace has no rows of streams"

for file in "$work"/watched/tensorboard/{pretrain,check}/events.out.tfevents.*; do
  grep -q 'brain.Event:2' "$file" || fail "$file is no event file"
done
grep -aq 'held_out/loss' "$work"/watched/tensorboard/pretrain/events.* || fail "the event files lack metrics"
[ ! -e "$work/plain/tensorboard" ] || fail "event files were made that nobody asked for"

# A wrong wish is refused before anything runs.
"$athanor" run --config configs/recipes/smoke.cfg --run.folder="$work/bad" --run.trace_step=5-2 > "$work/log" 2>&1
[ $? -eq 2 ] && grep -q 'trace_step.*5-2' "$work/log" || fail "a bad range of steps was taken"
finish
