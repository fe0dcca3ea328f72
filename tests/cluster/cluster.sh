#!/usr/bin/env bash
# A small Slurm cluster on one machine: a host `head` (slurmctld) and hosts node1, node2, ... (slurmd), each with its own network,
# name, processes, /tmp, /dev/shm and System V memory, on a switch of their own. For tests, and for trying jobs/slurm.
#   cluster.sh start FOLDER HOSTS [CPUS]   HOSTS nodes of CPUS cores (2), whether the machine has as many or not
#   cluster.sh run HOST COMMAND...         in the working folder; head is where to call sbatch, squeue, scontrol
#   cluster.sh cut HOST | join HOST        the network cable out, and in again
#   cluster.sh kill HOST | boot HOST       the power off, without warning, and on again
#   cluster.sh stop                        ends every process of it; namespaces, cables and mounts go with them
# FOLDER holds keys, configuration and logs; it and the job's files must lie outside /tmp, which every host has for itself. The
# source tree is visible on all hosts, and so are the folders in CLUSTER_SHARE (separated by colons).
# The last cluster started is meant; CLUSTER_FOLDER=FOLDER names another. Exit 77: this machine can not have one, and why.
#
# Law: every host is one process tree below its own PID 1 and nothing is made outside its namespaces, so that killing the PID 1s
# removes all of it, whatever state it was in. That is also what makes `kill` a fair copy of a dead machine.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
link=/run/athanor_cluster
subnet=10.77.0

fail() {
  printf 'cluster: %s\n' "$1" >&2
  exit 1
}
skip() {
  printf 'cluster: SKIPPED, no virtual cluster on this machine: %s\n' "$1" >&2
  exit 77
}
usage() {
  sed -n '4,9s/^#   //p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

packages=(slurmctld slurmd slurm-client munge iproute2 util-linux procps)
have_packages() {
  local program
  for program in slurmctld slurmd sbatch munged ip unshare nsenter pgrep; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" > /dev/null || return 1
  done
}
require_machine() { # what a cluster needs, or a skip that says which part is missing
  [ "$(id -u)" -eq 0 ] || skip "namespaces, bridges and slurmd need root; run as root"
  unshare --net --uts --mount --ipc --pid --fork --propagation private true 2> /dev/null ||
    skip "the kernel or container refuses new namespaces (unshare --net --uts --mount --ipc --pid)"
  if ! have_packages; then
    command -v apt-get > /dev/null ||
      skip "slurmctld, slurmd, sbatch, munged or ip are missing and there is no apt-get to install ${packages[*]}"
    echo "cluster: installing ${packages[*]}"
    local log
    log=$(mktemp)
    # Packages start their daemons on installation where the system lets them; ours are started here, on hosts of their own.
    if ! { apt-get -q update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
      apt-get -q install -y --no-install-recommends "${packages[@]}"; } < /dev/null > "$log" 2>&1; then
      tail -n 5 "$log" >&2
      rm -f "$log"
      skip "apt-get could not install ${packages[*]} (last lines above)"
    fi
    rm -f "$log"
  fi
  unshare --net ip link add name probe type bridge 2> /dev/null || skip "the kernel refuses network bridges"
  unshare --net ip link add name probe type veth peer name other 2> /dev/null || skip "the kernel refuses veth pairs"
}

folder() { # the cluster that is meant
  local found=${CLUSTER_FOLDER:-$(readlink "$link" || true)}
  if [ -z "$found" ] || [ ! -d "$found/hosts.d" ]; then fail "no cluster is running; start one: cluster.sh start FOLDER HOSTS"; fi
  printf '%s' "$found"
}
is_on() { # is_on HOST PID: the process is still that host's PID 1, not another that got its number
  tr '\0' ' ' < "/proc/$2/cmdline" 2> /dev/null | grep -q "cluster.sh host_main $1 \$"
}
init_of() { # init_of HOST: its PID 1, as this machine numbers it
  local pid
  pid=$(cat "$cluster/hosts.d/$1/init" 2> /dev/null) || fail "no host $1; there are: $(cd "$cluster/hosts.d" && echo *)"
  is_on "$1" "$pid" || fail "host $1 is switched off; cluster.sh boot $1"
  printf '%s' "$pid"
}
address() { # address HOST
  if [ "$1" = head ]; then echo "$subnet.254"; else echo "$subnet.${1#node}"; fi
}

host_main() { # PID 1 of host $1, inside its namespaces: private folders, daemons, then waiting and reaping
  local host=$1 mine=$cluster/hosts.d/$1 share
  hostname "$host"
  mount -t proc proc /proc
  mount -t tmpfs tmpfs /run
  mount -t tmpfs tmpfs /dev/shm
  mount -t tmpfs tmpfs "$mine/tmp"
  # What lies below /tmp but is meant to be shared is carried over before the private /tmp covers it.
  local -a shares
  IFS=: read -r -a shares <<< "$root:$(cat "$cluster/shared")"
  for share in "${shares[@]}"; do
    case $share in /tmp/?*)
      mkdir -p "$mine$share"
      mount --bind "$share" "$mine$share"
      ;;
    esac
  done
  mount --rbind "$mine/tmp" /tmp
  chmod 1777 /tmp
  mount --bind "$cluster/hosts" /etc/hosts
  ip link set lo up
  until [ -e "$mine/cable" ]; do sleep 0.02; done
  export SLURM_CONF=$cluster/slurm.conf PATH=$PATH:/usr/sbin:/sbin
  mkdir -p /run/munge
  munged --force --key-file="$cluster/munge.key" --pid-file=/run/munge/pid --seed-file=/run/munge/seed \
    --log-file="$mine/munged.log" --num-threads=2
  if [ "$host" = head ]; then
    slurmctld
  else
    slurmd -N "$host"
  fi
  touch "$mine/up"
  while :; do # bash reaps orphans while it waits
    sleep 1000 &
    wait $! || true
  done
}

boot() { # boot HOST: its namespaces, its cable to the switch (a bridge in head's network), its daemons
  local host=$1 mine=$cluster/hosts.d/$1 outer pid="" head_pid
  mkdir -p "$mine/tmp"
  rm -f "$mine"/{init,cable,up}
  CLUSTER_FOLDER=$cluster setsid unshare --net --uts --mount --ipc --pid --fork --kill-child --propagation private \
    bash "${BASH_SOURCE[0]}" host_main "$host" > "$mine/log" 2>&1 < /dev/null &
  outer=$!
  for _ in $(seq 250); do
    pid=$(pgrep -P "$outer" || true)
    [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = bash ] && break
    sleep 0.02
  done
  [ -n "$pid" ] || fail "host $host did not start: $(cat "$mine/log")"
  echo "$pid" > "$mine/init"
  if [ "$host" = head ]; then
    nsenter -t "$pid" -n ip link add name switch type bridge
    nsenter -t "$pid" -n ip addr add "$(address head)/24" dev switch
    nsenter -t "$pid" -n ip link set switch up
  else
    head_pid=$(init_of head)
    # The kernel takes the cable of a host that was killed away when it comes to it.
    nsenter -t "$head_pid" -n ip link del "$host" 2> /dev/null || true
    nsenter -t "$head_pid" -n ip link add name "$host" type veth peer name eth0 netns "$pid" ||
      fail "host $host has no network cable"
    nsenter -t "$head_pid" -n ip link set "$host" master switch up
    nsenter -t "$pid" -n ip addr add "$(address "$host")/24" dev eth0
    nsenter -t "$pid" -n ip link set eth0 up
  fi
  touch "$mine/cable"
  for _ in $(seq 500); do
    [ -e "$mine/up" ] && return
    sleep 0.02
  done
  cat "$mine/log" "$mine"/*.log >&2 || true
  fail "host $host did not come up in 10 s (its logs are above)"
}

write_configuration() { # write_configuration HOSTS CPUS
  local host
  dd if=/dev/urandom of="$cluster/munge.key" bs=1024 count=1 status=none
  chmod 400 "$cluster/munge.key"
  {
    echo "127.0.0.1 localhost"
    echo "$(address head) head"
    for host in $(seq "$1"); do echo "$(address "node$host") node$host"; done
  } > "$cluster/hosts"
  # Times are short where a real cluster has minutes, so that a test sees a node die and a job come back within a test's patience.
  cat > "$cluster/slurm.conf" << END
ClusterName=virtual
SlurmctldHost=head($(address head))
SlurmUser=root
SlurmdUser=root
# A requeued job waits for cred_expire + 1 seconds (121 by default, 6 at least) before it may start again.
AuthInfo=cred_expire=5
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/hosts.d/%n/spool
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=$cluster/hosts.d/head/slurmctld.log
SlurmdLogFile=$cluster/hosts.d/%n/slurmd.log
# No cgroups and no accounting: hosts are namespaces, and PID 1 of a host is what its processes hang on.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=pmix
JobRequeue=1
ReturnToService=2
SlurmdTimeout=${CLUSTER_NODE_TIMEOUT:-45}
# SIGTERM to SIGKILL: the time a preempted job has to save.
KillWait=${CLUSTER_KILL_WAIT:-10}
MessageTimeout=5
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=2
SlurmdParameters=config_overrides
NodeName=node[1-$1] CPUs=$2 RealMemory=1024 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
}

start() { # start FOLDER HOSTS [CPUS]
  if [ $# -lt 2 ] || ! [[ $2 =~ ^[1-9][0-9]?$ ]]; then usage; fi
  require_machine
  mkdir -p "$1"
  cluster=$(cd "$1" && pwd)
  case $cluster/ in /tmp/* | /run/* | /dev/shm/*)
    fail "the folder $cluster lies where every host has its own; give one elsewhere, /var/tmp for example" ;;
  esac
  [ ! -e "$cluster/hosts.d" ] || fail "$cluster holds a cluster already; stop it, or give another folder"
  mkdir -p "$cluster/hosts.d" "$cluster/state"
  chmod 755 "$cluster"
  [ -n "${CLUSTER_FOLDER:-}" ] || ln -sfn "$cluster" "$link"
  echo "${CLUSTER_SHARE:-}" > "$cluster/shared"
  write_configuration "$2" "${3:-2}"
  local host idle=0
  boot head
  for host in $(seq "$2"); do boot "node$host"; done
  for _ in $(seq 300); do
    idle=$(enter head sinfo --noheader --Node --states=idle | wc -l)
    [ "$idle" -eq "$2" ] && break
    sleep 0.1
  done
  if [ "$idle" -ne "$2" ]; then
    enter head sinfo >&2
    fail "$idle of $2 nodes are idle after 30 s; see $cluster/hosts.d/*/slurm*.log"
  fi
  echo "cluster: $2 nodes of ${3:-2} cores are up in $cluster"
}

enter() { # enter HOST COMMAND...: there, in the same working folder where it exists
  local pid
  pid=$(init_of "$1")
  shift
  # shellcheck disable=SC2016 # the inner shell is the one to expand
  nsenter -t "$pid" --net --uts --mount --ipc --pid env SLURM_CONF="$cluster/slurm.conf" \
    bash -c 'cd "$0" 2> /dev/null || cd /; exec "$@"' "$PWD" "$@"
}

kill_host() { # its PID 1, and with that all of it at once
  local pid
  pid=$(init_of "$1")
  kill -KILL "$pid"
  while kill -0 "$pid" 2> /dev/null; do sleep 0.02; done
}

stop() {
  local host pid
  for host in "$cluster"/hosts.d/*; do
    pid=$(cat "$host/init" 2> /dev/null) || continue
    is_on "${host##*/}" "$pid" || continue
    kill_host "${host##*/}"
  done
  [ "$(readlink "$link" || true)" != "$cluster" ] || rm -f "$link"
  # Logs stay where they are for those who want them; what marks the folder as a running cluster goes.
  rm -rf "$cluster/stopped"
  mv "$cluster/hosts.d" "$cluster/stopped"
  rm -rf "$cluster/state" "$cluster/munge.key"
  echo "cluster: stopped; logs are in $cluster/stopped"
}

[ $# -ge 1 ] || usage
command=$1
shift
if [ "$command" = start ]; then
  start "$@"
  exit
fi
cluster=$(folder)
case $command in
  run)
    [ $# -ge 2 ] || usage
    enter "$@"
    ;;
  cut | join)
    [ $# -eq 1 ] || usage
    # The switch's end: the host itself sees a cable without a signal, as a host would.
    state=down
    [ "$command" = cut ] || state=up
    pid=$(init_of head)
    nsenter -t "$pid" -n ip link set "$1" "$state"
    ;;
  kill)
    [ $# -eq 1 ] || usage
    kill_host "$1"
    ;;
  boot)
    [ $# -eq 1 ] || usage
    boot "$1"
    ;;
  stop) stop ;;
  host_main) host_main "$@" ;;
  *) usage ;;
esac
