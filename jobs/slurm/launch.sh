# How ranks are started, for every job of this folder. submit.sh puts this text into the job in place of the line that names it,
# so that what runs is one file that does not change under a waiting job.

# Modules and environment lines of the cluster file.
@modules@
@environment@

# OpenMP: threads of a rank, one a core of its core group; beside each other, and never moved to another core, since a thread
# that wanders leaves its caches and its memory bank.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-@cpus_per_task@}
export OMP_PLACES=${OMP_PLACES:-cores}
export OMP_PROC_BIND=${OMP_PROC_BIND:-close}
# Open MPI: its mpirun kills ranks one second after it got SIGTERM itself; a save takes longer.
export OMPI_MCA_odls_base_sigkill_timeout=${OMPI_MCA_odls_base_sigkill_timeout:-@signal_seconds@}
# Open MPI refuses to run as root, for good reasons on a machine that people share; the jobs of a container or a virtual cluster
# are root's.
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
# UCX: say nothing of transports it can not use; warnings and errors stay.
export UCX_LOG_LEVEL=${UCX_LOG_LEVEL:-warn}
# NCCL: warnings name the host and the call that failed; INFO is a page a rank.
export NCCL_DEBUG=${NCCL_DEBUG:-WARN}
# CUDA: GPUs are numbered as the node's slots are, so that local rank 3 and nvidia-smi's GPU 3 are the same one.
export CUDA_DEVICE_ORDER=${CUDA_DEVICE_ORDER:-PCI_BUS_ID}

program=@program@
launcher_kind=@launcher@
tasks_per_node=@tasks_per_node@
launcher_options=(@launcher_options@)

say() { printf '%s %s: %s\n' "$(date +%H:%M:%S)" "$job_kind" "$1"; }

one_line() { # the lines of standard input as words of one
  local -a all
  mapfile -t all
  printf '%s' "${all[*]}"
}

launch() { # launch NODE... -- COMMAND...: the command on tasks_per_node ranks of each of these nodes; in the foreground
  local -a nodes=()
  while [ "$1" != -- ]; do
    nodes+=("$1")
    shift
  done
  shift
  local list count=$((${#nodes[@]} * tasks_per_node))
  if [ "$launcher_kind" = srun ]; then
    list=$(IFS=,; printf '%s' "${nodes[*]}")
    # --cpus-per-task is said again because srun does not take it over from sbatch; --no-kill=off because a step that lost a node
    # is over, also where the job is not; --kill-on-bad-exit because ranks can not go on without one; --overlap because Slurm
    # keeps the cores of the step before until its lost node is declared down, and the next one would wait for them.
    exec srun --mpi=@mpi@ --nodes="${#nodes[@]}" --nodelist="$list" --ntasks="$count" --ntasks-per-node="$tasks_per_node" \
      --cpus-per-task=@cpus_per_task@ --kill-on-bad-exit=1 --no-kill=off --overlap "${launcher_options[@]}" "$@"
  else
    list=$(printf "%s:$tasks_per_node," "${nodes[@]}")
    # Ranks of other nodes get these variables; Open MPI hands over its own (OMPI_*) by itself.
    local -a variables=()
    local name
    while read -r name; do variables+=(-x "$name"); done < <(compgen -e | grep -E '^(OMP|UCX|NCCL|CUDA)_' || true)
    exec mpirun --host "${list%,}" -np "$count" "${variables[@]}" "${launcher_options[@]}" "$@"
  fi
}

node_answers() { # node_answers NODE [PORT]: its slurmd takes a connection, which needs no help of slurmctld and takes no minutes
  timeout 4 bash -c ": < /dev/tcp/$1/$slurmd_port" 2> /dev/null
}
slurmd_port=$(scontrol show config | sed -n 's/^SlurmdPort *= *\([0-9]*\).*/\1/p')
slurmd_port=${slurmd_port:-6818}

nodes_lost() { # nodes_lost NODE...: those of these that do not answer, twice in a row, a line each; all are asked at once
  local node
  for node in "$@"; do
    { node_answers "$node" || { sleep 2; node_answers "$node"; } || echo "$node"; } &
  done
  wait
}

stop_steps() { # ends what the launcher started, on every node that can be reached; the batch script itself goes on
  local step
  squeue --noheader --steps --jobs="$SLURM_JOB_ID" --format=%i | grep -E '\.[0-9]+$' | while read -r step; do
    scancel "$step" || true
  done
}
