# Promise: a rank that throws or is killed in the middle of a step ends the whole job within 20 seconds, on every axis; the log
# names the rank, its host and its last collective, and where the others stood; no process is left.
source "$(dirname "$0")/support.sh" "$@"
export OMP_NUM_THREADS=1
host=$(hostname)
call='[a-z_]* along [a-z]*, number [0-9]*, f32 x [0-9]*'

break_job() { # break_job KIND RANKS AXIS options...: the last rank fails at its second call along AXIS in step 2
  local kind=$1 count=$2 axis=$3 last=$(($2 - 1)) folder=$work/run
  shift 3
  local what="$kind along $axis of $count ranks $*" log=$work/log
  rm -rf "$folder"
  local begin=$SECONDS
  ranks "$count" run --config configs/recipes/smoke.cfg --run.steps=1000000 --run.save_every=0 --run.eval_every=0 \
    --run.folder="$folder" --parallel.fault="$kind@rank=$last:axis=$axis:step=2:call=2" "$@" > "$log" 2>&1
  local status=$? seconds=$((SECONDS - begin))
  local before=$failures
  [ $status -ne 0 ] && [ $status -ne 124 ] || fail "$what: status $status"
  [ $seconds -le 20 ] || fail "$what: took $seconds s"
  pgrep -f -- "^$athanor run .*--run.folder=$folder( |\$)" > /dev/null && fail "$what: a process is left"
  if [ "$kind" = throw ]; then
    grep -q "^\[rank $last $host\] a fault made on purpose" "$log" || fail "$what: the error is not named"
    grep -q "last collective of rank $last: ${call/along \[a-z\]/along $axis[a-z]}.*in step 2.*not finished" "$log" ||
      fail "$what: the last collective is not named"
  else
    grep -q "^\[rank [0-9]* $host\] rank $last (process [0-9]*.*) has died; its last collective: ${call/along \[a-z\]/along $axis[a-z]}.*in step 2.*not finished" "$log" ||
      fail "$what: nobody says where the dead rank stood"
  fi
  # Rank 0 waits for the one that failed, or for one that waits for it.
  grep -q "^\[rank 0 $host\] .*along [a-z]*, number" "$log" || fail "$what: rank 0 does not say where it stood"
  [ "$failures" -eq "$before" ] || cat "$log"
}

for kind in throw kill; do
  break_job $kind 2 data --parallel.dp=2
  break_job $kind 2 tp --parallel.tp=2
  break_job $kind 2 pp --parallel.pp=2 --data.micro_batch_sequences=4
  break_job $kind 2 ep --parallel.ep=2
  break_job $kind 2 cp --parallel.cp=2
  break_job $kind 4 ep --parallel.pp=2 --parallel.tp=2 --parallel.ep=2 --data.micro_batch_sequences=4
done

# A launcher that gives the ranks longer than they give themselves: they end on their own.
OMPI_MCA_odls_base_sigkill_timeout=6 break_job kill 2 tp --parallel.tp=2
grep -q "^\[rank 0 $host\] a rank has died and nobody has ended the job; this rank ends" "$work/log" ||
  { cat "$work/log"; fail "rank 0 did not end by itself"; }

refused() { # refused TEXT WORDS...: status 2 and the words in the message
  ranks 2 run --config configs/recipes/smoke.cfg --run.folder="$work/refused" --parallel.tp=2 --parallel.fault="$1" > "$work/log" 2>&1
  [ $? -eq 2 ] && grep -q "$2" "$work/log" || { cat "$work/log"; fail "fault '$1' is not refused"; }
}
refused throw@axis=ep "choose a rank below 2 and one of world tp"
refused burn@axis=tp "neither throw@ nor kill@"
refused kill@axis=tp:step=1:call=1000 "made [0-9]* calls along tp in step 1"
finish
