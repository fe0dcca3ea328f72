#!/usr/bin/env bash
# Everything that wants a GPU, on a machine that was lent for half an hour: in parts that each end in time, go on after a
# failure and say at the end what failed.
#   tests/gpu_day.sh OUT PART...        in an unpacked bundle (jobs/bundle.sh OUT BUILD --with-tests)
# Each part leaves OUT/PART.md, a table, and OUT/PART.log; the status is 0 when nothing failed. Targets that were missed
# are told, and no failure. Parts:
#   conformance  every operation, and generation, on the GPU against references        (src_backend_gpu and others)
#   sanitizer    compute-sanitizer's four tools on small cases of every family of kernels
#   operations   athanor doctor, athanor bench gpu
#   models       bench train (dense, experts; bf16, FP8) and bench rollout
#   losses       training losses of tiny models, GPU against CPU                       (gpu_day_losses.sh)
#   quickstart   the smoke recipes, also two ranks on the GPU, then configs/recipes/r1.cfg as far as time allows
# Variables:
#   GPU_DAY_DEVICE=cuda    cpu, cpu-guarded: tiny sizes, to test this script
#   GPU_DAY_SECONDS=530    of a part; what is not begun by then is told as left out
#   GPU_DAY_MODELS="dense dense_fp8 experts experts_fp8"   of models;  GPU_DAY_LOSS_MODELS="experts dense wider"   of losses
#   GPU_DAY_RUNS           folder of the runs of quickstart (BUNDLE/runs); called again there, r1 goes on where it stopped
#   ATHANOR_CUDA_LIBRARIES folders of cuBLAS and NCCL; not set: those of Python's packages are looked for
# Half an hour in three calls of ten minutes: `conformance losses` with GPU_DAY_SECONDS=270, `operations models` with 280,
# `sanitizer quickstart` with 280. What a call left out is begun anew by naming it again.
set -uo pipefail

[ $# -ge 2 ] || { sed -n '2,20s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${ATHANOR_BUNDLE:-$(cd "$here/.." && pwd)}
out=$1
shift
mkdir -p "$out"
device=${GPU_DAY_DEVICE:-cuda} seconds=${GPU_DAY_SECONDS:-530} runs=${GPU_DAY_RUNS:-$root/runs}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ATHANOR_REQUIRE_GPU=1
if [ -z "${ATHANOR_CUDA_LIBRARIES:-}" ] && command -v python3 > /dev/null; then
  ATHANOR_CUDA_LIBRARIES=$(python3 -c 'import glob, sys; print(":".join(f for p in sys.path for f in glob.glob(p + "/nvidia/*/lib")))')
  export ATHANOR_CUDA_LIBRARIES
fi
[ -x "$root/athanor" ] || { echo "gpu_day: no bundle at $root; unpack one, or name it by ATHANOR_BUNDLE" >&2; exit 2; }
version=$("$root/athanor" --version) || exit 1
machine=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null || echo "no GPU")
tiny=0
case $device in cpu*) tiny=1 ;; esac
failures=() missed=()

say() { printf '%s\n' "$*" | tee -a "$log"; }
row() { printf '|%s|\n' "$*" >> "$table"; } # cells with | between
failed() {
  failures+=("$part: $*")
  say "FAILED: $*"
}
begin() { # begin TITLE: files and clock of a part
  table=$out/$part.md log=$out/$part.log begun=$SECONDS
  printf '# %s\n\n%s, %s; %s; device %s.\n\n' "$1" "$(date -u +%Y-%m-%d)" "$machine" "$version" "$device" > "$table"
  printf '%s\n' "$1, $(date -u)" > "$log"
}
left() { echo $((seconds - (SECONDS - begun))); }
# step NAME SECONDS COMMAND...: what it writes goes to $said, its end to the log. Status 0, its own, or 124: no time.
step() {
  local name=$1 most=$2 status=0 time=$SECONDS
  shift 2
  [ "$most" -le "$(left)" ] || most=$(left)
  said=$work/said
  : > "$said"
  if [ "$most" -le 0 ]; then
    failed "$name: left out, no time"
    return 124
  fi
  timeout -k 10 "$most" "$@" > "$said" 2>&1 < /dev/null || status=$?
  { printf '\n== %s: status %s, %d s\n$ %s\n' "$name" "$status" $((SECONDS - time)) "$*"; tail -n 120 "$said"; } >> "$log"
  case $status in
    0) say "$name: done, $((SECONDS - time)) s" ;;
    124 | 137) failed "$name: not ended after $most s" ;;
    *) failed "$name: status $status: $(grep -v '^{' "$said" | tail -n 1)" ;;
  esac
  return $status
}
value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "${2:-$said}" | head -n 1; } # of the first JSON line that has it
judge() { # judge NAME VALUE at_least|at_most TARGET: $verdict becomes a word for the table; no target, no word
  verdict=""
  [ -n "$4" ] || return 0
  verdict=met
  awk -v v="${2:-nan}" -v t="$4" -v how="$3" 'BEGIN { exit !(v == v + 0 && (how == "at_least" ? v >= t : v <= t)) }' && return 0
  verdict=missed
  missed+=("$1: ${2:-nothing}, wanted ${3/_/ } $4")
}

program() { echo "$root/bin/$1"; }
has() { [ -x "$(program "$1")" ] || { failed "$1 is not in this bundle: jobs/bundle.sh --with-tests, of a build with CUDA"; return 1; }; }
suites() { # names of the suites of src_backend_gpu that run on the GPU
  GTEST_FILTER='Gpu.*:*cuda_0*' "$(program src_backend_gpu)" --gtest_list_tests 2> /dev/null | sed -n 's/^\([A-Za-z][^ ]*\)\.$/\1/p'
}
# One suite in a process of its own: a kernel that faults takes those after it along. Leaves FOLDER/N.{log,status}.
conform() { # conform N PROGRAM FILTER
  OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} timeout -k 10 "$(($(left) > 5 ? $(left) - 5 : 1))" "$(program "$2")" --gtest_filter="$3" > "$work/$1.log" 2>&1 < /dev/null
  echo $? > "$work/$1.status"
}

conformance() {
  begin "Conformance on the GPU"
  row " suite | passed | failed | status "
  row "---|--:|--:|--:"
  local -a programs=() filters=()
  local name number=0
  if has src_backend_gpu; then
    for name in $(suites); do
      programs+=(src_backend_gpu) filters+=("$name.*cuda_0*")
      [ "$name" != Gpu ] || filters[-1]="Gpu.*"
    done
  fi
  for name in src_backend_cuda src_backend_gpu_kernels parallel_rollout_gpu; do
    if has $name; then programs+=("$name") filters+=("*"); fi
  done
  for ((number = 0; number < ${#programs[@]}; number++)); do
    conform $number "${programs[number]}" "${filters[number]}" &
    # Four beside each other: references are computed on the CPU.
    while [ "$(jobs -rp | wc -l)" -ge 4 ]; do sleep 0.2; done
  done
  wait
  for ((number = 0; number < ${#programs[@]}; number++)); do
    local title="${programs[number]} ${filters[number]%%.\**}" status counts
    status=$(cat "$work/$number.status" 2> /dev/null || echo "not run")
    # A test's own line ends with its time; the lists at the end do not.
    counts=$(awk '/^\[       OK \].*ms\)$/ { ok++ } /^\[  FAILED  \].*ms\)$/ { bad++ } END { printf "%d|%d", ok, bad }' "$work/$number.log")
    row " $title | ${counts%|*} | ${counts#*|} | $status "
    say "$title: ${counts%|*} passed, ${counts#*|} failed, status $status"
    [ "$status" = 0 ] && [ "${counts#*|}" = 0 ] && [ "${counts%|*}" -gt 0 ] && continue
    failed "$title: status $status; last: $(grep '^\[ RUN' "$work/$number.log" | tail -n 1)"
    { grep -A 6 ': Failure$' "$work/$number.log" | head -n 120; tail -n 10 "$work/$number.log"; } >> "$log"
  done
}

sanitizer() {
  begin "compute-sanitizer"
  local tool name sanitizer number=0
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null) ||
    { failed "no compute-sanitizer on the path"; return; }
  has src_backend_gpu || return
  local tools=(memcheck racecheck synccheck initcheck) families=()
  for name in $(suites); do [ "$name" = Gpu ] || families+=("$name"); done
  one() { # one N TOOL SUITE|training; the tool starts the program itself, in the surroundings that the bundle's script makes
    (
      # shellcheck disable=SC1091
      . "$root/libexec/environment.sh"
      # bf16 and f32, which are trained in; statistics of many draws take minutes and run the kernels of other cases.
      local words=(src_backend_gpu --gtest_filter="$3.*cuda_0*-*f64*:*DrawsTheTruncatedDistribution*:*FiniteDifferences*")
      [ "$3" != training ] || words=(athanor run --config "$root/configs/recipes/smoke_rl.cfg" --run.device="$device"
        --base.run.steps=2 --r1_zero.run.steps=2 --run.folder="$work/sanitized.$2")
      timeout -k 10 "$(($(left) > 5 ? $(left) - 5 : 1))" "$sanitizer" --tool "$2" --target-processes application-only \
        --error-exitcode 99 --print-limit 10 "$root/libexec/${words[0]}" "${words[@]:1}" > "$work/s$1.log" 2>&1 < /dev/null
      echo $? > "$work/s$1.status"
    )
  }
  families+=(training) # two steps of a model, two of reinforcement learning
  row " suite | ${tools[0]} | ${tools[1]} | ${tools[2]} | ${tools[3]} "
  row "---|---|---|---|---"
  for name in "${families[@]}"; do
    for tool in "${tools[@]}"; do
      one $number "$tool" "$name" &
      number=$((number + 1))
      while [ "$(jobs -rp | wc -l)" -ge 6 ]; do sleep 0.2; done
    done
  done
  wait
  number=0
  for name in "${families[@]}"; do
    local cells=" $name "
    for tool in "${tools[@]}"; do
      local status errors
      status=$(cat "$work/s$number.status" 2> /dev/null || echo "not run")
      errors=$(sed -n 's/^=* *ERROR SUMMARY: \([0-9]*\) error.*/\1/p; s/^=* *RACECHECK SUMMARY: \([0-9]*\) hazard.*/\1/p' "$work/s$number.log" | tail -n 1)
      case $status in
        0) cells="$cells| clean " ;;
        124 | 137) cells="$cells| no time " ;;
        *) cells="$cells| ${errors:-?} errors, status $status " ;;
      esac
      if [ "$status" != 0 ]; then
        failed "$tool, $name: status $status, ${errors:-unknown} errors"
        { printf '\n== %s, %s\n' "$tool" "$name"; grep -E '^=========|FAILED' "$work/s$number.log" | head -n 60; } >> "$log"
      fi
      number=$((number + 1))
    done
    row "$cells"
  done
}

operations() {
  begin "Operations"
  step "doctor" 60 "$root/athanor" doctor --run.device="$device" --run.folder="$work/doctor"
  printf '```\n%s\n```\n\n' "$(grep -v '^{' "$said")" >> "$table"
  step "bench gpu" 400 "$root/athanor" bench gpu --device="$device"
  grep -m 1 'matrix products at best' "$said" >> "$table"
  printf '\n' >> "$table"
  row " type | operation | microseconds | GFLOP/s or GB/s | share of its ceiling | target | "
  row "---|---|--:|--:|--:|--:|---"
  local line kind dtype operation share target
  while read -r line; do
    printf '%s\n' "$line" > "$work/line"
    dtype=$(value dtype "$work/line") share=$(value share_of_ceiling "$work/line")
    operation=$(sed -n 's/.*"operation":"\([^"]*\)".*/\1/p' "$work/line")
    kind=moves target=""
    case $line in *'"gflops"'*) kind=computes ;; esac
    if [ "$dtype" = bf16 ]; then
      case $operation in
        attention*) target=0.60 ;;
        decode* | sampling*) ;;
        *) [ $kind = computes ] || target=0.80 ;;
      esac
    fi
    judge "$operation, $dtype, share" "$share" at_least "$target"
    row " $dtype | $operation | $(awk -v s="$(value seconds "$work/line")" 'BEGIN { printf "%.1f", s * 1e6 }') | $(value gflops "$work/line")$(value gb_per_second "$work/line") | $share | $target | $verdict "
  done < <(grep '^{"bench":"gpu","device"' "$said")
}

dense_config="$root/configs/models/qwen2.5_1.5b.cfg" experts_config="$root/configs/models/moe_3b.cfg"
if [ $tiny -eq 1 ]; then
  common=(--model.vocab_size=512 --model.dim=128 --model.num_layers=2 --model.inter_dim=256 --data.sequence_length=64
    --data.batch_sequences=4 --data.micro_batch_sequences=2 --steps=1)
  experts_sizes=(--model.num_routed_experts=8 --model.num_expert_groups=1 --model.num_limited_groups=1
    --model.experts_per_token=2 --model.moe_inter_dim=128 --model.num_heads=2 --model.q_lora_rank=64)
  rollouts=(--rl.prompts_per_rollout=2 --rl.group_size=2 --rl.max_new_tokens=8)
else
  common=(--data.sequence_length=4096 --data.batch_sequences=16 --data.micro_batch_sequences=4 --steps=5)
  experts_sizes=()
  rollouts=(--rl.prompts_per_rollout=64 --rl.group_size=4 --rl.max_new_tokens=512 --rl.slots=256)
fi

models() {
  begin "Models in training and generation"
  local name config target share rate dense_rate="" kinds=${GPU_DAY_MODELS:-dense dense_fp8 experts experts_fp8}
  local -a sizes
  printf 'A share is of the bf16 matrix products of the same process; FLOPs as `athanor bench --help` says.\n\n' >> "$table"
  row " model | tokens/s | model TFLOP/s | matrix products, TFLOP/s | share | target | | tensors at most, GB | planned, GB "
  row "---|--:|--:|--:|--:|--:|---|--:|--:"
  for name in $kinds; do
    config=$dense_config sizes=() target=0.50
    case $name in experts*) config=$experts_config sizes=("${experts_sizes[@]}") target=0.35 ;; esac
    case $name in *fp8) sizes+=(--model.fp8=true) target="" ;; esac
    step "train $name" 150 "$root/athanor" bench train --config "$config" --run.device="$device" --run.dtype=bf16 \
      "${common[@]}" "${sizes[@]}" || continue
    share=$(value share_of_peak) rate=$(value tokens_per_second)
    judge "train $name, share of the peak" "$share" at_least "$target"
    [ "$name" != dense ] || dense_rate=$rate
    row " $name, $(basename "$config" .cfg) | $rate | $(awk -v g="$(value model_gflops)" 'BEGIN { printf "%.1f", g / 1e3 }') | $(
      awk -v g="$(value gemm_peak_gflops)" 'BEGIN { printf "%.1f", g / 1e3 }') | $share | $target | $verdict | $(
      awk -v m="$(value tensor_peak_mb)" 'BEGIN { printf "%.1f", m / 1e3 }') | $(
      awk -v m="$(value tensor_peak_estimate_mb)" 'BEGIN { printf "%.1f", m / 1e3 }') "
    if [ "$name" = dense_fp8 ] && [ -n "$dense_rate" ]; then
      local ratio
      ratio=$(awk -v a="$rate" -v b="$dense_rate" 'BEGIN { printf "%.3f", a / b }')
      judge "FP8 over bf16, dense" "$ratio" at_least 1.3
      row " FP8 over bf16, dense | | | | $ratio | 1.3 | $verdict | | "
    fi
  done
  printf '\nGeneration: 256 sequences at once; the floor is bytes to be read over the copy bandwidth of the same process.\n\n' >> "$table"
  row " model | tokens/s | seconds | floor, seconds | times the floor | target | | copies, GB/s | of the floor: weights, experts, cache, GB "
  row "---|--:|--:|--:|--:|--:|---|--:|---"
  for name in $kinds; do
    config=$dense_config sizes=()
    case $name in experts*) config=$experts_config sizes=("${experts_sizes[@]}") ;; esac
    case $name in *fp8) sizes+=(--model.fp8=true) ;; esac
    step "rollout $name" 120 "$root/athanor" bench rollout --config "$config" --run.device="$device" --run.dtype=bf16 \
      --run.numerics=fast "${common[@]}" "${rollouts[@]}" "${sizes[@]}" --steps=$((tiny ? 1 : 3)) || continue
    share=$(value times_floor)
    judge "rollout $name, times the floor" "$share" at_most 2
    row " $name, $(basename "$config" .cfg) | $(value tokens_per_second) | $(value rollout_seconds) | $(value floor_seconds) | $share | 2 | $verdict | $(
      value copy_gb_per_second) | $(value floor_weights_gb), $(value floor_experts_gb), $(value floor_cache_gb) "
  done
}

losses() {
  begin "Training losses, GPU against CPU"
  step "losses" $((seconds - 5)) bash "$here/gpu_day_losses.sh" "$root" "$device" "$work/losses"
  grep '^|' "$said" >> "$table"
}

quickstart() {
  begin "Recipes on the GPU"
  local recipe name gap
  row " recipe | ranks | status | largest log-probability gap of rollout and training "
  row "---|--:|---|--:"
  gap_of() { # largest of all stages; empty where none samples
    grep -h -o '"rollout_train_logprob_gap/max":[^,}]*' "$1"/stages/*/metrics.jsonl 2> /dev/null | cut -d: -f2 | sort -g | tail -n 1
  }
  for recipe in smoke smoke_rl smoke_sft smoke_reward_model smoke_sampling smoke_evaluate; do
    name=$recipe
    if step "$name" 90 "$root/athanor" run --config "$root/configs/recipes/$recipe.cfg" --run.device="$device" --run.folder="$work/$name"; then
      gap=$(gap_of "$work/$name")
      row " $name | 1 | done | $gap "
      [ -z "$gap" ] || awk -v g="$gap" 'BEGIN { exit !(g == 0) }' || failed "$name: generation and training differ by $gap"
    else
      row " $name | 1 | failed | "
    fi
  done
  if step "smoke, 2 ranks" 90 "$root/mpirun" --oversubscribe --bind-to none -np 2 "$root/athanor" run \
    --config "$root/configs/recipes/smoke.cfg" --run.device="$device" --run.folder="$work/two"; then
    row " smoke | 2 | done | "
  else
    row " smoke | 2 | failed | "
  fi
  [ $tiny -eq 0 ] || return
  local time=$(($(left) - 25)) status=0
  [ $time -gt 20 ] || { failed "r1: left out, no time"; return; }
  timeout -k 10 $((time + 20)) "$root/athanor" run --config "$root/configs/recipes/r1.cfg" --run.device="$device" \
    --run.folder="$runs/r1" --run.time_limit=$time > "$work/r1.log" 2>&1 < /dev/null || status=$?
  { printf '\n== r1: status %s\n' $status; tail -n 60 "$work/r1.log"; } >> "$log"
  case $status in
    0) row " r1 | 1 | done | $(gap_of "$runs/r1") " ;;
    75) row " r1 | 1 | stopped by its time limit, to go on when called again | $(gap_of "$runs/r1") " ;;
    *)
      row " r1 | 1 | failed | "
      failed "r1: status $status: $(tail -n 1 "$work/r1.log")"
      ;;
  esac
  { printf '\n'; cat "$runs/r1/summary.md"; } >> "$table" 2> /dev/null
  cp "$runs/r1/report.html" "$out/r1_report.html" 2> /dev/null
  [ $status -ne 75 ] || say "r1: stopped by its time limit; call this part again to go on"
}

for part in "$@"; do
  case $part in
    conformance | sanitizer | operations | models | losses | quickstart) ;;
    *) echo "gpu_day: '$part' is no part; there are conformance, sanitizer, operations, models, losses and quickstart" >&2; exit 2 ;;
  esac
done
for part in "$@"; do
  $part
  say "$part: $((SECONDS - begun)) s"
done
echo
[ ${#missed[@]} -eq 0 ] || printf 'missed: %s\n' "${missed[@]}"
[ ${#failures[@]} -eq 0 ] || printf 'FAILED: %s\n' "${failures[@]}"
printf '%d parts, %d failures, %d targets missed\n' $# ${#failures[@]} ${#missed[@]}
[ ${#failures[@]} -eq 0 ]
