# Promise: a recipe submitted with jobs/submit.sh on 2 nodes x 2 ranks, put back into the queue at random moments and stopped by its
# time limit, ends with the weights and moments of one that was left alone, bit for bit; and so does one of whose nodes the power is
# cut: its log names the node within 60 s and the requeued job goes on. Nothing of the cluster is left behind.
# SEED: of the moments. REQUEUES (3) and NODE_KILLS (1): how many. KEEP=1 leaves the logs.
source "$(dirname "$0")/../jobs/support.sh" "$@"
athanor=$(realpath "$athanor")
rm -rf "$work"
work=$(mktemp -d /var/tmp/athanor_cluster_XXXXXX) # outside /tmp, which every host has for itself
export CLUSTER_FOLDER=$work/cluster CLUSTER_SHARE=${athanor%/*}
cluster=tests/cluster/cluster.sh
clean_up() {
  [ ! -d "$work/cluster/hosts.d" ] || "$cluster" stop > /dev/null
  if [ "${KEEP:-0}" = 1 ]; then echo "logs are in $work"; else rm -rf "$work"; fi
}
trap clean_up EXIT
trap 'exit 1' TERM INT
RANDOM=${SEED:-1}
steps=150

"$cluster" start "$work/cluster" 2 2
status=$?
[ $status -ne 77 ] || exit 77
[ $status -eq 0 ] || { fail "the cluster did not start"; finish; }
head() { "$cluster" run head "$@"; }

submit() { # submit NAME settings...: leaves the number in $job, its log in $log
  local name=$1
  shift
  head jobs/submit.sh configs/recipes/smoke.cfg --nodes 2 --cluster configs/clusters/local_virtual.cfg --folder "$work/$name" \
    --set program="$athanor" "$@" -- --run.steps=$steps --run.save_every=5 --run.eval_every=0 > "$work/$name.submit" ||
    { cat "$work/$name.submit"; fail "submitting $name"; finish; }
  job=$(sed -n 's/^submit: job \([0-9]*\) .*/\1/p' "$work/$name.submit")
  log=$work/$name/slurm/job_$job.log
}
state() { head squeue --noheader --jobs="$job" --format=%T 2> /dev/null; } # nothing when the job is over
wait_until() { # wait_until SECONDS COMMAND...: true as soon as the command is; false after that time or when the job is over
  local end=$((SECONDS + $1))
  shift
  while ! "$@"; do
    if [ $SECONDS -ge $end ] || [ -z "$(state)" ]; then return 1; fi
    sleep 0.1
  done
}
over() { [ -z "$(state)" ]; }
records() { grep -c '"loss"' "$work/$1/stages/pretrain/metrics.jsonl" 2> /dev/null || true; }
has_records() { [ "$(records "$1")" -ge "$2" ] 2> /dev/null; }
starts() { grep -c "train: job $job, start" "$log" 2> /dev/null || true; }
has_starts() { [ "$(starts)" -ge "$1" ] 2> /dev/null; }
says() { grep -q "$1" "$log"; }
ranks_of() { pgrep -f -- "^$athanor run .*--run.folder=$work/$1( |\$)"; }
give_up() {
  cat "$log"
  fail "$1"
  finish
}
expect_same() { # expect_same NAME: it is complete, and as the run that was left alone
  wait_until 300 over || true
  says 'train: complete$' || give_up "$1: not complete"
  [ "$(content_hash "$work/$1")" = "$wanted" ] || give_up "$1: other weights or moments than the undisturbed run"
}

submit straight
wait_until 300 over || true
says 'train: complete$' || give_up "the undisturbed run"
wanted=$(content_hash "$work/straight")
[ -n "$wanted" ] || fail "the undisturbed run left no checkpoint"
echo "undisturbed: content hash $wanted after $SECONDS s"

# A walltime of a minute and a signal 59 s before: Slurm looks at limits twice a minute, at moments of its own.
submit preempted --set walltime=00:01:00 --set signal_seconds=59
requeued=0
for _ in $(seq "${REQUEUES:-3}"); do
  before=$(starts)
  wait_until 120 has_records preempted $(($(records preempted) + 1 + RANDOM % 25)) || break
  sleep "0.$((RANDOM % 10))"
  echo "requeue after step $(records preempted)"
  head scontrol requeue "$job" || break
  requeued=$((requeued + 1))
  wait_until 120 has_starts $((before + 1)) || break
done
[ $requeued -eq "${REQUEUES:-3}" ] || give_up "only $requeued times requeued: the run was over or did not come back"
# The ranks are held in a step until Slurm's clock comes round, so that the run is not over before, however fast the machine is.
wait_until 120 has_records preempted $(($(records preempted) + 5)) || true
mapfile -t held < <(ranks_of preempted)
kill -STOP "${held[@]}" || give_up "the run was over before its time limit came near"
wait_until 75 says 'time limit is near' || true
echo "time limit after step $(records preempted)"
kill -CONT "${held[@]}"
says 'time limit is near' || give_up "no signal before the time limit"
expect_same preempted
says 'back into the queue: stopped with a checkpoint before the time limit' || give_up "not requeued at the time limit"
says 'goes on after step' || give_up "it did not go on from a checkpoint"
echo "preempted $requeued times and by the time limit: the same weights after $SECONDS s"

for number in $(seq "${NODE_KILLS:-1}"); do
  name=killed_$number
  submit "$name"
  wait_until 120 has_records "$name" $((11 + RANDOM % 30)) || give_up "$name: over before its node was killed"
  echo "node2 killed after step $(records "$name")"
  killed_at=$SECONDS
  "$cluster" kill node2
  wait_until 120 says 'train: node node2 is lost' || give_up "$name: the lost node is not named"
  named=$((SECONDS - killed_at))
  [ $named -le 60 ] || give_up "$name: the lost node was named after $named s"
  "$cluster" boot node2
  expect_same "$name"
  says 'goes on after step' || give_up "$name: it did not go on from a checkpoint"
  echo "node2 killed and back: named after $named s, the same weights after $SECONDS s"
done

"$cluster" stop > /dev/null || fail "the cluster did not stop"
! pgrep -f -- "$work/cluster" || fail "processes of the cluster are left"
! grep "$work" /proc/mounts || fail "mounts of the cluster are left"
finish
