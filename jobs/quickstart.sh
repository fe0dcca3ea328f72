#!/usr/bin/env bash
# Sets up the machine, builds athanor, trains a small model on 2 ranks with progress, and lets it write.
#   ATHANOR_BUILD_DIR   build folder (build)
#   ATHANOR_RUN_FOLDER  run folder (runs/quickstart); a finished run there is not done again
# More arguments go to the run: jobs/quickstart.sh --run.steps=200
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${ATHANOR_BUILD_DIR:-build}
folder=${ATHANOR_RUN_FOLDER:-runs/quickstart}
ranks=2
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > ranks ? cores / ranks : 1))}
# Under mpirun a rank cannot see whether its output ends on a terminal.
if [ -t 1 ]; then export ATHANOR_PROGRESS=line; fi

jobs/setup.sh
cmake -S . -B "$build" -G Ninja -DATHANOR_CUDA="${ATHANOR_CUDA:-off}" > /dev/null
cmake --build "$build" --target athanor

mpirun --oversubscribe --bind-to none -np $ranks "$build/jobs/athanor" run --config configs/recipes/quickstart.cfg \
  --run.folder="$folder" "$@"
echo
echo "A tale by the model:"
"$build/jobs/athanor" generate "$folder" --prompt="Dora the potter lived" --max_new_tokens=320 --temperature=0.3
echo
echo "Everything is in $folder; the same command goes on where a stopped run was, --run.start_over=true begins anew."
