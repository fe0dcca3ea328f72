# Promise: a recipe submitted with jobs/submit.sh on 2 nodes x 2 ranks, put back into the queue at random moments and stopped by
# its time limit, ends with the weights and moments of one that was left alone, bit for bit; and so does one of whose nodes the
# power is cut: its log names the node within 60 s and the requeued job goes on. Nothing of the cluster is left behind.
# SEED: of the moments. REQUEUES (3) and NODE_KILLS (1): how many. LAUNCHER (srun).
source "$(dirname "$0")/support.sh" "$@"
steps=$((60 + 35 * ${REQUEUES:-3}))
start_cluster
undisturbed

# A walltime of a minute and a signal 59 s before: Slurm looks at limits twice a minute, at moments of its own.
submit preempted --set launcher="${LAUNCHER:-srun}" --set walltime=00:01:00 --set signal_seconds=59
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
if ! says 'time limit is near'; then
  # The ranks are held in a step until Slurm's clock comes round, so that the run is not over before, however fast the machine is.
  wait_until 120 has_records preempted $(($(records preempted) + 5)) || true
  mapfile -t held < <(ranks_of preempted)
  [ ${#held[@]} -gt 0 ] || give_up "the run was over before its time limit came near"
  kill -STOP "${held[@]}"
  wait_until 75 says 'time limit is near' || true
  echo "time limit after step $(records preempted)"
  kill -CONT "${held[@]}"
fi
says 'time limit is near' || give_up "no signal before the time limit"
expect_same preempted
says 'back into the queue: stopped with a checkpoint before the time limit' || give_up "not requeued at the time limit"
says 'goes on after step' || give_up "it did not go on from a checkpoint"
echo "preempted $requeued times and by the time limit: the same weights after $SECONDS s"

for number in $(seq "${NODE_KILLS:-1}"); do
  name=killed_$number
  submit "$name" --set launcher="${LAUNCHER:-srun}"
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

stop_cluster
finish
