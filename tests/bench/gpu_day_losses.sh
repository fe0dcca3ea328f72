#!/usr/bin/env bash
# Trains tiny models on a device and on the CPU from the same seed and compares their losses, step by step.
#   gpu_day_losses.sh BUNDLE DEVICE FOLDER
# Law: the CPU in f64 is the truth, and the CPU's own largest distance from it in a type says how much rounding in that
# type costs these models; the device may be 4 times as far away, and as far as the floor of the type where that is less
# (another order of sums; a token whose two best experts are nearly even may go to the other one). In f64 the floor alone
# counts: 1e-9. GPU_DAY_LOSS_STEPS of training (40), GPU_DAY_LOSS_MODELS
# (experts dense wider). A table with one row a model and type; the status is 0 when all are within their bounds.
set -uo pipefail
[ $# -eq 3 ] || { echo "wanted: gpu_day_losses.sh BUNDLE DEVICE FOLDER" >&2; exit 2; }
root=$1 device=$2 folder=$3
mkdir -p "$folder"
printf '%s\n' "config = $(cd "$root" && pwd)/configs/models/smoke.cfg" '[recipe]' 'stage = pretrain' '[pretrain]' 'kind = pretrain' \
  '[run]' "steps = ${GPU_DAY_LOSS_STEPS:-40}" 'save_every = 0' 'log_every = 100' '[data]' 'train = generated:tales' 'tokenizer = byte' \
  'sequence_length = 64' 'batch_sequences = 8' '[optimizer]' 'lr = 3e-3' 'warmup_steps = 5' > "$folder/losses.cfg"
recipe=(--config "$folder/losses.cfg")
# shellcheck disable=SC2034 # named by reference below
experts=()
dense=(--model.attention=gqa --model.num_heads=4 --model.num_kv_heads=2 --model.head_dim=16 --model.num_routed_experts=0 --model.mtp_depth=0)
# Several tiles of every kernel, and widths that its vectors and tensor cores like.
wider=(--model.dim=128 --model.num_heads=4 --model.kv_lora_rank=64 --model.q_lora_rank=0 --model.qk_nope_head_dim=16
  --model.qk_rope_head_dim=16 --model.v_head_dim=32 --model.inter_dim=256 --model.moe_inter_dim=96 --model.num_routed_experts=8
  --data.sequence_length=160 --data.batch_sequences=2)
failed=0

train() { # train NAME DEVICE DTYPE options...: losses of all steps into FOLDER/NAME
  local name=$1 on=$2 dtype=$3
  shift 3
  "$root/athanor" run "${recipe[@]}" "$@" --run.device="$on" --run.dtype="$dtype" --run.folder="$folder/run.$name" \
    > "$folder/$name.log" 2>&1 || { tail -n 3 "$folder/$name.log"; return 1; }
  sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$folder/run.$name/stages/pretrain/metrics.jsonl" > "$folder/$name"
}
distance() { # distance A B: "largest step first last", the largest difference and where it is
  paste "$folder/$1" "$folder/$2" | awk 'NF != 2 { bad = 1 } { d = $1 - $2; if (d < 0) d = -d; if (!(d <= most)) { most = d; at = NR } }
    END { if (bad || NR == 0) print "nan 0"; else printf "%.3g %d\n", most, at }'
}
echo "| model | type | steps | device from f64, at most | at step | CPU from f64, at most | bound | | device from CPU in the type |"
echo "|---|---|--:|--:|--:|--:|--:|---|--:|"
compare() { # compare MODEL TYPE DTYPE FLOOR options...
  local model=$1 type=$2 dtype=$3 floor=$4 own="0 0" apart="- -" far verdict bound
  shift 4
  if ! train "$model.$type.device" "$device" "$dtype" "$@"; then
    echo "| $model | $type | | did not train | | | | failed | |"
    failed=1
    return
  fi
  if [ "$type" != f64 ]; then
    train "$model.$type.cpu" cpu "$dtype" "$@" || { failed=1; return; }
    own=$(distance "$model.$type.cpu" "$model.truth") apart=$(distance "$model.$type.device" "$model.$type.cpu")
  fi
  far=$(distance "$model.$type.device" "$model.truth")
  bound=$(awk -v own="${own% *}" -v least="$floor" 'BEGIN { b = 4 * own; if (b < least + 0) b = least + 0; printf "%.3g", b }')
  verdict=within
  awk -v d="${far% *}" -v b="$bound" 'BEGIN { exit !(d == d + 0 && d <= b) }' || { verdict=beyond failed=1; }
  echo "| $model | $type | $(wc -l < "$folder/$model.truth") | ${far% *} | ${far#* } | ${own% *} | $bound | $verdict | ${apart% *} |"
}
for model in ${GPU_DAY_LOSS_MODELS:-experts dense wider}; do
  declare -n options=$model
  fp8=1
  [ $model != experts ] || fp8=0 # sides of its matrices are no multiples of 16
  train "$model.truth" cpu f64 "${options[@]}" || { echo "| $model | f64 on the CPU | | did not train | | | | failed | |"; failed=1; continue; }
  compare $model f64 f64 1e-9 "${options[@]}"
  compare $model f32 f32 2e-5 "${options[@]}"
  compare $model bf16 bf16 5e-3 "${options[@]}"
  [ $fp8 -eq 0 ] || compare $model fp8 bf16 2e-2 "${options[@]}" --model.fp8=true
done
exit $failed
