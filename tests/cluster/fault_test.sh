# Promise: a node whose cable is pulled in the middle of a run is named within 60 s, and with elastic = on the run goes on in the
# same job on the node left, with another layout; a job whose first node dies, which holds the batch script, goes back into the
# queue, by the guard of elastic jobs or by Slurm itself, and when the node is back, ends with the weights of an undisturbed run.
source "$(dirname "$0")/support.sh" "$@"
nodes_idle() { [ "$(head sinfo --noheader --Node --states=idle | wc -l)" -eq 2 ]; }
wait_for_nodes() {
  for _ in $(seq 300); do
    nodes_idle && return
    sleep 0.2
  done
  head sinfo
  fail "a node did not come back within 60 s"
  finish
}
steps=150
start_cluster
undisturbed

submit cut --set elastic=on
wait_until 120 has_records cut $((11 + RANDOM % 30)) || give_up "cut: over before its node was cut off"
echo "node2 cut off after step $(records cut)"
begin=$SECONDS
"$cluster" cut node2
wait_until 120 says 'train: node node2 is lost' || give_up "cut: the lost node is not named"
named=$((SECONDS - begin))
[ $named -le 60 ] || give_up "cut: the lost node was named after $named s"
wait_until 300 over || true
says 'train: complete$' || give_up "cut: not complete"
says 'elastic: the run goes on here from its last checkpoint, on node1$' || give_up "cut: not gone on on the node left"
says ', 2 ranks (pp 1 dp 2' || give_up "cut: not on two ranks"
says 'goes on after step' || give_up "cut: it did not go on from a checkpoint"
says 'back into the queue' && give_up "cut: it was requeued"
echo "node2 cut off: named after $named s, complete on node1 after $SECONDS s"

"$cluster" join node2
wait_for_nodes

submit first --set elastic=on
wait_until 120 has_records first $((11 + RANDOM % 30)) || give_up "first: over before its node was killed"
echo "node1 killed after step $(records first)"
begin=$SECONDS
"$cluster" kill node1
wait_until 120 says 'train: node node1 is lost, and with it the batch script' || give_up "first: the lost node is not named"
named=$((SECONDS - begin))
[ $named -le 60 ] || give_up "first: the lost node was named after $named s"
"$cluster" boot node1 # Slurm 22.05 requeues a job with the number of nodes it had, whatever the range it was submitted with
expect_same first
has_starts 2 || give_up "first: not requeued"
says 'goes on after step' || give_up "first: it did not go on from a checkpoint"
echo "node1, with the batch script, killed and back: named after $named s, the same weights after $SECONDS s"
wait_for_nodes

submit plain
wait_until 120 has_records plain $((11 + RANDOM % 30)) || give_up "plain: over before its node was killed"
echo "node1 killed after step $(records plain)"
"$cluster" kill node1
sleep 50 # until Slurm holds it for down, ends the job and requeues it
"$cluster" boot node1
expect_same plain
has_starts 2 || give_up "plain: not requeued"
says 'goes on after step' || give_up "plain: it did not go on from a checkpoint"
echo "node1 killed and back, elastic = off: the same weights after $SECONDS s"

stop_cluster
finish
