# shellcheck shell=bash
# What the scripts here share: a cluster of two nodes in $work/cluster, jobs on it, and what they left. Usage: source support.sh
# "$@"; the first argument is the program. KEEP=1 leaves the logs.
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

start_cluster() { # or ends the test as skipped
  "$cluster" start "$work/cluster" 2 2
  local status=$?
  [ $status -ne 77 ] || exit 77
  [ $status -eq 0 ] || { fail "the cluster did not start"; finish; }
}
stop_cluster() { # nothing is left of it
  "$cluster" stop > /dev/null || fail "the cluster did not stop"
  ! pgrep -f -- "$work/cluster" || fail "processes of the cluster are left"
  ! grep "$work" /proc/mounts || fail "mounts of the cluster are left"
}
head() { "$cluster" run head "$@"; }

submit() { # submit NAME settings...: leaves the number in $job, its log in $log
  local name=$1
  shift
  head jobs/submit.sh configs/recipes/smoke.cfg --nodes 2 --cluster configs/clusters/local_virtual.cfg --folder "$work/$name" \
    --set program="$athanor" "$@" -- --run.steps="$steps" --run.save_every=5 --run.eval_every=0 --run.batch_limit=false > "$work/$name.submit" ||
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
undisturbed() { # a run left alone: its content hash in $wanted
  submit straight
  wait_until 300 over || true
  says 'train: complete$' || give_up "the undisturbed run"
  wanted=$(content_hash "$work/straight")
  [ -n "$wanted" ] || give_up "the undisturbed run left no checkpoint"
  echo "undisturbed: content hash $wanted after $SECONDS s"
}
