# Promise: a node whose cable is pulled in the middle of a run is named within 60 s, and with elastic = on the run goes on in the
# same job on the node left, with another layout; a job whose first node dies, which holds the batch script, is put back into the
# queue by Slurm and ends with the weights of an undisturbed run.
source "$(dirname "$0")/support.sh" "$@"
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
nodes_idle() { [ "$(head sinfo --noheader --Node --states=idle | wc -l)" -eq 2 ]; }
for _ in $(seq 300); do
  nodes_idle && break
  sleep 0.2
done
nodes_idle || { head sinfo; fail "node2 did not come back when its cable did"; finish; }

submit first
wait_until 120 has_records first $((11 + RANDOM % 30)) || give_up "first: over before its node was killed"
echo "node1 killed after step $(records first)"
"$cluster" kill node1
sleep 20 # until Slurm holds it for down
"$cluster" boot node1
expect_same first
has_starts 2 || give_up "first: not requeued"
says 'goes on after step' || give_up "first: it did not go on from a checkpoint"
echo "node1, with the batch script, killed and back: the same weights after $SECONDS s"

stop_cluster
finish
