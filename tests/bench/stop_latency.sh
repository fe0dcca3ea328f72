#!/usr/bin/env bash
# How long after a signal the job is gone, in every phase: SIGUSR1 to all ranks (as mpirun and srun hand it on) at a random moment
# of the phase, TRIES (3) times. Beside it the times that bound it: a step (of one micro-batch here), and a save.
#   tests/bench/stop_latency.sh build/jobs/athanor > table.md
source "$(dirname "$0")/../jobs/support.sh" "$@" || exit 1
athanor=$(realpath "$athanor")
export OMP_NUM_THREADS=1
RANDOM=${SEED:-1}
tries=${TRIES:-3}
cat > "$work/stop.cfg" << END
config = $PWD/configs/models/smoke.cfg
[recipe]
stage = learn
stage = reinforce
[run]
save_every = 0
[data]
train = generated:tasks(arithmetic:level=1:language=symbols, bytes=400000)
held_out_fraction = 0.5
sequence_length = 128
batch_sequences = 64
isolate_documents = true
[rl]
tasks = arithmetic:level=1:language=symbols
prompt_template = marks
prompts_per_rollout = 64
group_size = 16
max_new_tokens = 64
slots = 16
[learn]
kind = pretrain
run.steps = 100000
[reinforce]
kind = rl
init = learn
run.steps = 100
END
run=${work:?}/run
ranks_of() { pgrep -f -- "^$athanor run .*--run.folder=$run( |\$)"; }
losses() { grep -c '"loss"' "$run/stages/$1/metrics.jsonl" 2> /dev/null || true; }
# When a phase has begun, by what it leaves.
in_data() { [ -n "$(find "$run/stages/learn/data" -name 'tasks-*' 2> /dev/null)" ]; }
in_tokenizer() { in_data && [ ! -e "$run/tokenizer.json" ]; }
in_training() { [ "$(losses learn)" -ge 2 ] 2> /dev/null; }
in_rollout() { grep -q 'reinforce: .*on arithmetic' "$work/log"; }
in_saving() { [ -n "$(find "$run/stages/learn/checkpoints" -name '*.tmp' 2> /dev/null)" ]; }

stop_in() { # stop_in PHASE WITHIN OPTIONS...: a row; the signal comes up to WITHIN tenths of a second after the phase has begun
  local phase=$1 within=$2 worst=0 statuses="" begin end took
  shift 2
  for _ in $(seq "$tries"); do
    rm -rf "${run:?}"
    [ "$phase" != rollout ] || cp -r "$work/base" "$run"
    ranks 2 run --config "$work/stop.cfg" --run.folder="$run" "$@" > "$work/log" 2>&1 &
    for _ in $(seq 700); do
      if "in_$phase" || ! kill -0 %% 2> /dev/null; then break; fi
      sleep 0.02
    done
    sleep "$(printf '%d.%d' $((RANDOM % within / 10)) $((RANDOM % 10)))"
    begin=$(date +%s%N)
    # shellcheck disable=SC2046
    kill -USR1 $(ranks_of)
    while ranks_of > /dev/null; do sleep 0.01; done
    end=$(date +%s%N)
    wait %%
    statuses+=" $?"
    took=$(((end - begin) / 1000000))
    [ $took -le $worst ] || worst=$took
  done
  printf '| %s%s | %s |%s |\n' "$phase" "$(micro_batches_of "$@")" "$(printf '%d.%03d' $((worst / 1000)) $((worst % 1000)))" "$statuses"
}
micro_batches_of() { case $* in *--data.micro_batch_sequences*) echo ", 16 micro-batches a step" ;; esac; }
in_evaluation() { [ "$(losses learn)" -ge 1 ] 2> /dev/null; }

ranks 2 run --config "$work/stop.cfg" --run.folder="$work/base" --learn.run.steps=6 --learn.data.held_out_fraction=0 \
  --reinforce.run.steps=1 --reinforce.rl.prompts_per_rollout=2 > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
step=$(sed -n 's/.*"stage":"learn".*"step_seconds":\([0-9.]*\).*/\1/p' "$work/base/stages/learn/metrics.jsonl" | tail -n 1)
rm -r "$work/base/stages/reinforce"
python3 - "$work/base/recipe_state.json" << 'END'
import json, sys
state = json.load(open(sys.argv[1]))
state["complete"] = [entry for entry in state["complete"] if entry["stage"] == "learn"]
json.dump(state, open(sys.argv[1], "w"))
END
echo "A step of one micro-batch takes $step s; 2 ranks on $(nproc --all) cores; worst of $tries tries each."
echo
echo "| phase | seconds from the signal to the end | exit statuses |"
echo "|---|--:|---|"
big='generated:tasks(arithmetic:level=1:language=symbols, bytes=20000000)'
stop_in tokenizer 20 --data.train="$big" --data.tokenizer=bpe:272
stop_in data 20 --data.train="$big"
stop_in training 20
# A step of 16 micro-batches, each as large as the step above.
stop_in training 40 --data.batch_sequences=1024 --data.micro_batch_sequences=32
stop_in evaluation 10 --run.eval_every=1
stop_in rollout 30 --learn.run.steps=6 --learn.data.held_out_fraction=0
stop_in saving 2 --run.save_every=1
