# Promise: a run that is stopped or killed at any instant and started again ends with the weights, moments and records of one that
# was left alone, bit for bit. KILLS: how many random kill -9 (4).
source "$(dirname "$0")/support.sh" "$@"
options=(--config configs/recipes/smoke.cfg --run.steps=120 --run.save_every=5 --run.eval_every=0)
RANDOM=${SEED:-1}

start() { # start FOLDER: in the background, as job control wants it; leaves its pid in $job
  ranks 2 run "${options[@]}" --run.folder="$1" > "$1.log" 2>&1 &
  job=$!
}
a_rank() { # a_rank FOLDER N: the process of the Nth rank that works in FOLDER
  pgrep -f -- "^$athanor run .*--run.folder=$1\$" | sed -n "$2p"
}
records() { grep -c '"loss"' "$1/stages/pretrain/metrics.jsonl" 2> /dev/null || true; }
wait_for_records() { # wait_for_records FOLDER N
  for _ in $(seq 600); do
    [ "$(records "$1")" -ge "$2" ] 2> /dev/null && return
    sleep 0.02
  done
  fail "no $2 steps in $1"
}
expect_same() { # expect_same FOLDER WHAT
  [ "$(content_hash "$1")" = "$wanted" ] || fail "$2: other weights or moments at the end"
  diff <(losses "$work/straight") <(losses "$1") > /dev/null || fail "$2: other losses on the way"
}
losses() { sed -n 's/.*"step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' "$1/stages/pretrain/metrics.jsonl"; }

ranks 2 run "${options[@]}" --run.folder="$work/straight" > "$work/log" 2>&1 || { cat "$work/log"; fail "the straight run"; finish; }
wanted=$(content_hash "$work/straight")
[ -n "$wanted" ] || fail "the straight run left no checkpoint"

# Asked to stop by a signal to one rank: all stop after the same step, exit 75, and go on.
start "$work/signal"
wait_for_records "$work/signal" 10
kill -USR1 "$(a_rank "$work/signal" 2)"
wait $job
[ $? -eq 75 ] || { cat "$work/signal.log"; fail "SIGUSR1 did not end the run with status 75"; }
[ "$(records "$work/signal")" -lt 120 ] || fail "the run ended before it was asked to"
ranks 2 run "${options[@]}" --run.folder="$work/signal" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on after SIGUSR1"; }
expect_same "$work/signal" "SIGUSR1"

# Asked to stop by a file, and by the time limit.
start "$work/file"
wait_for_records "$work/file" 5
touch "$work/file/STOP"
wait $job
status=$?
[ $status -eq 75 ] || [ $status -eq 0 ] || fail "a STOP file gave status $status"
ranks 2 run "${options[@]}" --run.folder="$work/file" --run.time_limit=1 > "$work/log" 2>&1
status=$?
[ $status -eq 75 ] || [ $status -eq 0 ] || fail "the time limit gave status $status"
ranks 2 run "${options[@]}" --run.folder="$work/file" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on after the time limit"; }
expect_same "$work/file" "STOP file and time limit"

# Killed without warning, any rank, any time: the checkpoint before is there and the run goes on.
for kill in $(seq "${KILLS:-4}"); do
  start "$work/kill"
  # From before the first step to the end, in the middle of saves too: a save is made every five steps.
  wait_for_records "$work/kill" $((RANDOM % 100))
  sleep "0.0$((RANDOM % 10))"
  pid=$(a_rank "$work/kill" $((RANDOM % 2 + 1)))
  [ -n "$pid" ] && kill -9 "$pid"
  wait $job
  status=$?
  if [ $status -eq 0 ]; then # it was faster than the kill
    expect_same "$work/kill" "kill $kill, too late"
    rm -rf "$work/kill"
  fi
done
ranks 2 run "${options[@]}" --run.folder="$work/kill" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on after kill -9"; }
expect_same "$work/kill" "kill -9"

# A flipped byte in the newest checkpoint: it is named, the one before is used, and the end is the same.
cp -r "$work/straight" "$work/flipped"
rm "$work/flipped/recipe_state.json"
shard=$(ls "$work/flipped"/stages/pretrain/checkpoints/step_00000120/shard_00001.h5)
printf '\x5a' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") - 100)) conv=notrunc status=none
ranks 2 run "${options[@]}" --run.folder="$work/flipped" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on after a flipped byte"; }
grep -q "shard_00001.h5" "$work/log" || { cat "$work/log"; fail "the damaged shard is not named"; }
expect_same "$work/flipped" "flipped byte"
finish
