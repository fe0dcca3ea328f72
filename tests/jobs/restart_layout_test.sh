# Promise: a run that was stopped goes on with other axes and another number of ranks, and its held-out loss at the end is that of
# one that never stopped (f64: 1e-9).
source "$(dirname "$0")/support.sh" "$@"
options=(--config configs/recipes/smoke.cfg --run.dtype=f64 --run.steps=60 --run.save_every=0 --run.eval_every=0)

held_out() { # held_out FOLDER: at the end of the training
  sed -n 's/.*"held_out\/loss":\([^,}]*\).*/\1/p' "$1/stages/pretrain/metrics.jsonl" | tail -n 1
}
agree() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d < 1e-9 && d > -1e-9) }'; }

ranks 2 run "${options[@]}" --run.folder="$work/straight" > "$work/log" 2>&1 || { cat "$work/log"; fail "the straight run"; finish; }
wanted=$(held_out "$work/straight")
[ -n "$wanted" ] || fail "the straight run has no held-out loss"

# Stopped after some steps, on two ranks of data parallelism.
ranks 2 run "${options[@]}" --run.folder="$work/stopped" > "$work/log" 2>&1 &
job=$!
for _ in $(seq 600); do
  [ "$(grep -c '"loss"' "$work/stopped/stages/pretrain/metrics.jsonl" 2> /dev/null)" -ge 10 ] 2> /dev/null && break
  sleep 0.02
done
kill -USR1 "$(pgrep -f -- "^$athanor run .*--run.folder=$work/stopped\$" | head -n 1)"
wait $job
[ $? -eq 75 ] || { cat "$work/log"; fail "the run did not stop"; finish; }

goes_on() { # goes_on NAME RANKS options...
  local name=$1 count=$2
  shift 2
  cp -r "$work/stopped" "$work/$name"
  ranks "$count" run "${options[@]}" --run.folder="$work/$name" "$@" > "$work/log" 2>&1 ||
    { cat "$work/log"; fail "going on with $name"; return; }
  grep -q "pretrain: goes on after step" "$work/log" || fail "$name did not go on from the checkpoint"
  agree "$wanted" "$(held_out "$work/$name")" || fail "$name: held-out loss $(held_out "$work/$name"), wanted $wanted"
}
goes_on tp2 2 --parallel.tp=2
goes_on cp2 2 --parallel.cp=2
goes_on pp2 2 --parallel.pp=2 --data.micro_batch_sequences=4
goes_on ep2 2 --parallel.ep=2
goes_on one 1
goes_on all 4 --parallel.pp=2 --parallel.tp=2 --parallel.ep=2 --parallel.schedule=zb1
finish
