# Promise: whatever breaks, the job ends in time with the right status (or goes on, where it can), one line names what broke and
# where, no process is left and no good checkpoint is lost. At least 95 % of the faults below are named so; none hangs, none loses
# a checkpoint. FAULT_TABLE=FILE writes the table (tests/bench/results has one).
source "$(dirname "$0")/fault_support.sh" "$@" || exit 1
call='[a-z_]* (of host messages )?along'
write_recipes
run=$work/base
mapfile -t words < <(learn)
ranks 2 "${words[@]}" > "$work/log" 2>&1 || { cat "$work/log"; fail "the base run"; finish; }

# ---- a rank that throws or dies at its second call of a step, on every axis
for kind in throw kill; do
  for axis in data tp pp ep cp; do
    fresh_run
    option=--parallel.$axis=2
    [ $axis != data ] || option=--parallel.dp=2
    case $kind in
      throw) pattern="last collective of rank 1: $call $axis, number .*in step 6.*not finished" ;;
      kill) pattern="^\[rank 0 $host\] rank 1 \(process .*\) has died; its last collective: $call $axis, number .*in step 6.*not finished" ;;
    esac
    rehearse "$kind along $axis" failed 20 "$pattern" break_job 2 $option --data.micro_batch_sequences=4 \
      --parallel.fault="$kind@rank=1:axis=$axis:step=6:call=2"
  done
  fresh_run
  rehearse "$kind along ep, 4 ranks: pp, tp, ep" failed 30 "rank 3.*along ep, number .*in step 6.*not finished" break_job 4 \
    --parallel.pp=2 --parallel.tp=2 --parallel.ep=2 --data.micro_batch_sequences=4 --parallel.fault="$kind@rank=3:axis=ep:step=6:call=2"
done

# ---- the same in every other phase
for kind in throw kill; do
  for phase in data loading evaluation saving writing rollout; do
    pattern="rank 1 \(process .*\) has died; its last collective: "
    [ $phase = writing ] || pattern+=".*, $phase: "
    [ $kind = kill ] || pattern="a fault made on purpose .parallel.fault = throw@rank=1:phase=$phase"
    if [ $phase = rollout ]; then
      fresh_run complete
      rehearse "$kind in phase rollout" failed 20 "$pattern" ranks 2 run --config "$work/reinforce.cfg" --run.folder="$run" \
        --parallel.fault="$kind@rank=1:phase=rollout"
      continue
    fi
    fresh_run
    [ $phase != data ] || rm -r "$run/stages/learn/data"
    rehearse "$kind in phase $phase" failed 20 "$pattern" break_job 2 --run.eval_every=1 --parallel.fault="$kind@rank=1:phase=$phase"
  done
done

# ---- a rank that is there and silent: found by the deadlines that the run has learned
quick=(--parallel.deadline_floor=2 --parallel.deadline_ceiling=4 --parallel.deadline_factor=5)
fresh_run
rehearse "stopped rank (SIGSTOP) in a step" failed 20 "NOT ARRIVED: rank 1 \(process .*, stopped by a signal.*in phase step" \
  break_job 2 "${quick[@]}" --parallel.fault=stop@rank=1:axis=data:step=9
fresh_run
rehearse "rank 0 stopped along tp" failed 20 "NOT ARRIVED: rank 0 \(process .*, stopped by a signal.*in phase step" \
  break_job 2 "${quick[@]}" --parallel.tp=2 --parallel.fault=stop@rank=0:axis=tp:step=9:call=3
fresh_run
rehearse "rank that hangs in a step: its stack" failed 20 "^\[rank 1 $host\] stack, innermost first: .*athanor::happen" \
  break_job 2 "${quick[@]}" --parallel.fault=hang@rank=1:axis=data:step=9
fresh_run complete
rehearse "rank that hangs in a rollout" failed 25 "NOT ARRIVED: rank 1 .*in phase rollout" ranks 2 run --config "$work/reinforce.cfg" \
  --run.folder="$run" "${quick[@]}" --parallel.fault=hang@rank=1:phase=rollout
fresh_run
rehearse "rank alone that hangs in evaluation" failed 25 "HANGS: .*in phase evaluation|HANGS: waiting in .*evaluation|HANGS: .*, evaluation" \
  break_job 1 "${quick[@]}" --run.eval_every=1 --parallel.fault=hang@phase=evaluation
fresh_run
OMPI_MCA_odls_base_sigkill_timeout=6 rehearse "dead rank, launcher that waits" failed 25 \
  "^\[rank 0 $host\] a rank has died and nobody has ended the job; this rank ends" break_job 2 --parallel.fault=kill@rank=1:axis=data:step=6

# ---- numbers and speed
fresh_run
rehearse "loss of one rank is no number" 1 20 "step 6: loss .*nothing was updated.* Rank 1 \($host\): loss nan" \
  break_job 2 --parallel.fault=nan@rank=1:step=6
fresh_run
if rehearse "slow rank" 0 25 "rank 1 \($host\) takes .* s a step by itself, .* times the median" break_job 2 --learn.run.steps=8 \
  --parallel.fault=delay@rank=1:axis=data:step=5:seconds=0.2; then
  grep -q '"straggler/rank":1' "$run/stages/learn/metrics.jsonl" || fail "the straggler is not in metrics.jsonl"
fi

fresh_run
SLURM_JOB_END_TIME=$(($(date +%s) + 9)) rehearse "end of the Slurm job" 75 9 "stopped by the end of the Slurm job" break_job 2

# ---- disks
fresh_run
rehearse "slow disk" 0 25 "slow disk: rank 1 \($host\) took [0-9.]* s to write its shard" break_job 2 --learn.run.steps=6 \
  --parallel.fault=delay@rank=1:phase=writing:seconds=1.5
damage() { # damage WHAT COMMAND WORDS: the newest checkpoint is damaged; the one before is used
  fresh_run
  (cd "$run/stages/learn/checkpoints/step_00000004" && eval "$2")
  go_on
  checkpoint_before=$run/stages/learn/checkpoints/step_00000002
  rehearse "$1" 0 20 "checkpoint step_00000004 is skipped.*$3" "${command[@]}" || return 0
  "$athanor" inspect "$checkpoint_before" --verify=true > /dev/null 2>&1 || fail "$1: the checkpoint before is gone"
}
# shellcheck disable=SC2016
damage "corrupted shard" 'printf "\x5a\xa5" | dd of=shard_00001.h5 bs=1 seek=$(($(stat -c %s shard_00001.h5) - 100)) conv=notrunc status=none' shard_00001.h5
damage "truncated shard" 'truncate -s -4096 shard_00001.h5' shard_00001.h5
damage "missing shard" 'rm shard_00000.h5' shard_00000.h5
damage "corrupted index" 'printf "\x5a\xa5" | dd of=index.h5 bs=1 seek=4000 conv=notrunc status=none' index.h5
fresh_run
truncate -s 1000 "$run"/stages/learn/checkpoints/step_*/shard_00001.h5
go_on
last_checkpoint() { :; } # none is good
rehearse "all checkpoints damaged" 1 20 "none of the checkpoints in .* is whole" "${command[@]}"
last_checkpoint() { find "$run" -path '*/checkpoints/step_*' -maxdepth 4 -name 'step_*[0-9]' | sort | tail -n 1; }
if can_mount; then
  fresh_run
  go_on
  blocks=$(du -sk "$run" | cut -f 1)
  mkdir "$work/whole" && cp -r "$run/." "$work/whole"
  rehearse "full disk" 1 20 "No space left on device" with_mounts \
    "mount -t tmpfs -o size=$((blocks + 600))k none $run && cp -r $work/whole/. $run" "${command[@]}"
  fresh_run
  go_on
  rehearse "read-only folder" 2 20 "run.folder: .*Read-only file system" with_mounts "mount --bind $run $run && mount -o remount,bind,ro $run" "${command[@]}"
  fresh_run
  go_on
  saves=$run/stages/learn/checkpoints
  rehearse "checkpoints read-only" 1 20 "Read-only file system" with_mounts "mount --bind $saves $saves && mount -o remount,bind,ro $saves" "${command[@]}"
else
  for fault in "full disk" "read-only folder" "checkpoints read-only"; do skip "$fault" "no mounts without privileges"; done
fi

# ---- ranks that do not belong together
fresh_run
rehearse "another configuration on rank 1" 1 20 "the resolved configuration differs between ranks: rank 1 \($host\) has .*0.002.*have .*0.003" \
  two_sides --optimizer.lr=0.003 --optimizer.lr=0.002
fresh_run
cp "$athanor" "$work/athanor_other"
offset=$(readelf --wide --sections "$athanor" | sed -n 's/.*\.note\.gnu\.build-id *NOTE *[0-9a-f]* \([0-9a-f]*\).*/\1/p')
printf '\x5a\xa5\x5a\xa5' | dd of="$work/athanor_other" bs=1 seek=$((0x$offset + 20)) conv=notrunc status=none
rehearse "another build on rank 1" 1 20 "the build of the program differs between ranks: rank 1 \($host\) has .*5aa55aa5" \
  two_sides "" "" "$work/athanor_other"
fresh_run
mkdir -p "$work/one" "$work/two"
rehearse "folder not shared" 2 20 "run.folder: .*do not see what rank 0 \($host\) writes there: rank 1 \($host\)" timeout -k 5 60 mpirun \
  --oversubscribe --bind-to none -np 1 -wdir "$work/one" "$athanor" run --config "$work/learn.cfg" --run.folder=here : \
  -np 1 -wdir "$work/two" "$athanor" run --config "$work/learn.cfg" --run.folder=here
if cc -x c -shared -fPIC -o "$work/clock.so" - 2> /dev/null << 'END'; then
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec* now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += 7;
  return result;
}
END
  fresh_run
  rehearse "clock 7 s ahead" 0 20 "the clock of rank 1 \($host\) is [67]\.[0-9] s ahead of that of rank 0" two_sides "" "" \
    env LD_PRELOAD="$work/clock.so" "$athanor"
else
  skip "clock 7 s ahead" "no C compiler"
fi

# ---- faults that cannot be
refused() { # refused TEXT WORDS: status 2 and the words in the message
  fresh_run
  break_job 2 --parallel.tp=2 --parallel.fault="$1" > "$work/log" 2>&1
  [ $? -eq 2 ] && grep -q "$2" "$work/log" || { cat "$work/log"; fail "fault '$1' is not refused"; }
}
refused throw@axis=ep "choose a rank below 2 and one of world tp"
refused burn@axis=tp "no kind of fault"
refused kill@axis=tp:step=5:call=1000 "made [0-9]* calls along tp in step 5"
verdict
finish
