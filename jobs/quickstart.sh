#!/usr/bin/env bash
# Sets up the machine, builds athanor and goes the whole R1 road in miniature on 2 ranks, with progress: from an empty model to a
# distilled student. A shorter one: RECIPE=configs/recipes/r1_zero.cfg jobs/quickstart.sh
#   RECIPE              configuration of the run (configs/recipes/r1.cfg)
#   ATHANOR_BUILD_DIR   build folder (build)
#   ATHANOR_CUDA        on: with the CUDA back end, for GPUs (off)
#   ATHANOR_UNITY       OFF: compile every source by itself, for work on a few of them (ON: several at once, in half the time)
#   ATHANOR_RUN_FOLDER  run folder (runs/NAME, named as the recipe); a finished run there is not done again
# More arguments go to the run: jobs/quickstart.sh --run.steps=200
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${ATHANOR_BUILD_DIR:-build}
recipe=${RECIPE:-configs/recipes/r1.cfg}
folder=${ATHANOR_RUN_FOLDER:-runs/$(basename "$recipe" .cfg)}
ranks=2
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > ranks ? cores / ranks : 1))}
# Under mpirun a rank cannot see whether its output ends on a terminal.
if [ -t 1 ]; then export ATHANOR_PROGRESS=line; fi

jobs/setup.sh
cmake -S . -B "$build" -G Ninja -DCMAKE_UNITY_BUILD="${ATHANOR_UNITY:-ON}" -DATHANOR_CUDA="${ATHANOR_CUDA:-off}" > /dev/null
cmake --build "$build" --target athanor

mpirun --oversubscribe --bind-to none -np $ranks "$build/jobs/athanor" run --config "$recipe" \
  --run.folder="$folder" "$@"
echo
cat "$folder/summary.md"
echo
echo "Curves, tables and completions of every stage: $folder/report.html"
echo "The same command goes on where a stopped run was; --run.start_over=true begins anew."
