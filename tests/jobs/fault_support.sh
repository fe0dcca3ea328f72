# shellcheck shell=bash
# What rehearsals of faults share. Usage: source fault_support.sh "$@"; the first argument is the program.
# Law: every rehearsal begins in a copy of one short run with good checkpoints, breaks one thing, and is judged by four questions:
# was it named in the words wanted, was the exit status right, was it over in time with no process left, does the newest
# checkpoint that was good before, or one that took its place, still verify. Each is a row of the table; FAULT_TABLE=FILE keeps it.
# FAULT_PART=1/2 rehearses the first of every two, 2/2 the second: they mostly wait, so two halves run beside each other.
source "$(dirname "${BASH_SOURCE[0]}")/support.sh" "$@" || exit 1
athanor=$(realpath "$athanor")
export OMP_NUM_THREADS=1
host=$(hostname)
rows=$work/rows
part=${FAULT_PART:-1/1}
asked=0 rehearsed=0 named=0 hung=0 lost=0 skipped=0
: > "$rows"

# Two stages at the smallest size: `learn` of 4 steps, with a checkpoint at 2 and at 4, and `reinforce`.
write_recipes() {
  cat > "$work/learn.cfg" << END
config = $PWD/configs/models/smoke.cfg
[recipe]
stage = learn
[run]
log_every = 2
save_every = 2
[data]
train = generated:tasks(arithmetic:level=1:language=symbols, bytes=40000)
held_out_fraction = 0.05
sequence_length = 64
batch_sequences = 8
isolate_documents = true
[rl]
tasks = arithmetic:level=1:language=symbols
prompt_template = marks
prompts_per_rollout = 2
group_size = 2
max_new_tokens = 8
slots = 4
rows_per_batch = 2
eval_problems = 2
eval_samples = 2
[learn]
kind = pretrain
run.steps = 4
END
  {
    sed 's/^stage = learn/&\nstage = reinforce/' "$work/learn.cfg"
    printf '[reinforce]\nkind = rl\ninit = learn\nrun.steps = 2\nrun.save_every = 1\n'
  } > "$work/reinforce.cfg"
}
learn() { printf '%s\n' run --config "$work/learn.cfg" --run.folder="$run" "$@"; } # the words of a job in $run, a line each
last_checkpoint() { find "$run" -path '*/checkpoints/step_*' -maxdepth 4 -name 'step_*[0-9]' | sort | tail -n 1; }
fresh_run() { # a copy of the base in $run, its stage not complete: it goes on after step 4
  run=${work:?}/run # never a folder of the system, whatever went wrong before
  rm -rf "${run:?}"
  cp -r "$work/base" "$run"
  [ "${1:-}" = complete ] || rm "$run/recipe_state.json"
}
processes_left() { pgrep -f -- "^$athanor run .*--run.folder=$run( |\$)" > /dev/null; }

# judge FAULT STATUS LIMIT WORDS: a row for what just ran: its output in $work/log, $status and $seconds. STATUS is a number, or
# `failed` for any but 0, 2, 75 and 124.
judge() {
  local fault=$1 wanted=$2 limit=$3 words=$4 found good=yes keeps=yes
  rehearsed=$((rehearsed + 1))
  found=$(grep -E -m 1 -- "$words" "$work/log" | cut -c 1-150 | tr '|' '/')
  [ -n "$found" ] || good=no
  case $wanted in
    failed) case $status in 0 | 2 | 75 | 124) good=no ;; esac ;;
    *) [ "$status" -eq "$wanted" ] || good=no ;;
  esac
  if [ "$status" -eq 124 ] || [ "$seconds" -gt "$limit" ] || processes_left; then
    hung=$((hung + 1)) good=no
  fi
  # Newer ones may have taken its place (run.keep_last).
  [ -z "$checkpoint" ] || [ -d "$checkpoint" ] || checkpoint=$(last_checkpoint)
  if [ -n "$checkpoint" ] && ! "$athanor" inspect "$checkpoint" --verify=true > "$work/inspect" 2>&1; then
    keeps=no lost=$((lost + 1))
  fi
  [ $good = yes ] && named=$((named + 1))
  if [ $good = no ] || [ $keeps = no ]; then
    printf '\nNOT AS WANTED: %s: status %s (wanted %s), %s s (at most %s), words: %s\n' "$fault" "$status" "$wanted" "$seconds" "$limit" "$words"
    tail -n 25 "$work/log"
  fi
  printf '| %d | %s | %s | %s | %s | %s |\n' "$rehearsed" "$fault" "${found:-(not named)}" "$status" "$seconds" "$keeps" >> "$rows"
}
# rehearse FAULT STATUS LIMIT WORDS COMMAND...: runs COMMAND and judges it. $checkpoint, a good one, must outlive it. Its status says
# whether this part rehearses it.
rehearse() {
  local fault=$1 wanted=$2 limit=$3 words=$4 begin
  shift 4
  asked=$((asked + 1))
  [ $((asked % ${part#*/})) -eq $((${part%/*} % ${part#*/})) ] || return 1
  checkpoint=$(last_checkpoint)
  begin=$SECONDS
  "$@" > "$work/log" 2>&1
  status=$?
  seconds=$((SECONDS - begin))
  judge "$fault" "$wanted" "$limit" "$words"
  return 0
}
skip() { # skip FAULT WHY
  skipped=$((skipped + 1))
  echo "SKIPPED: $1: $2"
}
break_job() { # break_job RANKS OPTIONS...: the base goes on after step 4 with these options
  local count=$1
  shift
  local -a words
  mapfile -t words < <(learn --learn.run.steps=1000000 "$@")
  ranks "$count" "${words[@]}"
}
two_sides() { # two_sides "OPTIONS OF RANK 0" "OPTIONS OF RANK 1" [PROGRAM OF RANK 1...]: ranks of one job, started differently
  local first=$1 second=$2
  shift 2
  local -a words program=("${@:-$athanor}")
  mapfile -t words < <(learn --learn.run.steps=6)
  # shellcheck disable=SC2086
  timeout -k 5 60 mpirun --oversubscribe --bind-to none -np 1 "$athanor" "${words[@]}" $first : -np 1 "${program[@]}" "${words[@]}" $second
}
can_mount() { unshare -m mount -t tmpfs none "$work" 2> /dev/null; }
with_mounts() { # with_mounts 'SHELL WORDS' COMMAND...: COMMAND where these mounts are, which nobody else sees
  local mounts=$1
  shift
  # shellcheck disable=SC2016
  unshare -m bash -c "$mounts"' && exec "$@"' mounts "$@"
}
go_on() { # go_on OPTIONS...: as a command that `with_mounts` can run
  local -a words
  mapfile -t words < <(learn --learn.run.steps=6 "$@")
  command=(timeout -k 5 60 mpirun --oversubscribe --bind-to none -np 2 "$athanor" "${words[@]}")
}

verdict() { # the table, the counts, and the end of the test
  {
    echo "| # | fault | what the log says first | status | seconds | last good checkpoint verifies |"
    echo "|--:|---|---|--:|--:|---|"
    cat "$rows"
    echo
    echo "$rehearsed faults, $named named with the right exit, $hung beyond their deadline, $lost checkpoints lost, $skipped skipped; $SECONDS s"
  } | tee "${FAULT_TABLE:-/dev/null}"
  [ $((named * 100)) -ge $((rehearsed * 95)) ] || fail "fewer than 95 % were named"
  [ $hung -eq 0 ] || fail "$hung did not end in time"
  [ $lost -eq 0 ] || fail "$lost good checkpoints were lost"
}
