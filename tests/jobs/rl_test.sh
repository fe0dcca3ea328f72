# Promise: reinforcement learning runs on every layout, and a run that was killed at any instant (in a rollout, an update, a save)
# ends with the weights, moments, reference and samples.jsonl of one that was left alone. KILLS: how many random kill -9 (3).
source "$(dirname "$0")/support.sh" "$@"
options=(--config configs/recipes/smoke_rl.cfg)
RANDOM=${SEED:-1}
hash_of() { "$athanor" inspect "$1/stages/r1_zero" --verify=true | sed -n 's/^content hash //p'; }
samples() { cat "$1/stages/r1_zero/samples.jsonl"; }
records() { grep -c '"step"' "$1/stages/r1_zero/metrics.jsonl" 2> /dev/null || true; }

ranks 2 run "${options[@]}" --run.folder="$work/straight" > "$work/log" 2>&1 || { cat "$work/log"; fail "the straight run"; finish; }
wanted=$(hash_of "$work/straight")
[ -n "$wanted" ] || fail "the straight run left no checkpoint"
grep -q '"rollout_train_logprob_gap/max"' "$work/straight/stages/r1_zero/metrics.jsonl" || fail "no gap was written"
[ "$(samples "$work/straight" | wc -l)" -eq 48 ] || fail "samples.jsonl has $(samples "$work/straight" | wc -l) lines, not 48"

for kill in $(seq "${KILLS:-3}"); do
  rm -rf "$work/kill"
  mkdir -p "$work/kill/stages"
  cp -r "$work/straight/stages/base" "$work/kill/stages/"
  kill_one_rank "$work/kill" records $((RANDOM % 20 + 1)) "${options[@]}"
  ranks 2 run "${options[@]}" --run.folder="$work/kill" > "$work/log" 2>&1 || { cat "$work/log"; fail "going on after kill -9"; }
  [ "$(hash_of "$work/kill")" = "$wanted" ] || fail "kill $kill: other weights, moments or reference at the end"
  diff <(samples "$work/straight") <(samples "$work/kill") > /dev/null || fail "kill $kill: other samples"
done
[ $killed -gt 0 ] || fail "no run was killed"

# Every axis, and every objective.
for layout in --parallel.tp=2 --parallel.pp=2 --parallel.ep=2 --parallel.cp=2; do
  ranks 2 run "${options[@]}" --run.folder="$work/layout" --run.start_over=true --run.steps=2 --base.run.steps=10 \
    --r1_zero.run.steps=4 $layout > "$work/log" 2>&1 || { cat "$work/log"; fail "rl with $layout"; }
done
for objective in dr_grpo dapo gspo cispo rloo reinforce++; do
  ranks 1 run "${options[@]}" --run.folder="$work/objective" --run.start_over=true --base.run.steps=4 --r1_zero.run.steps=2 \
    --rl.objective=$objective --rl.dynamic_sampling=1 > "$work/log" 2>&1 || { cat "$work/log"; fail "rl with $objective"; }
done
# The divergence in the reward, and shorter completions at the beginning, on 1 rank, on 2 and with sequences cut in two.
for kind in "1 one" "2 two" "2 cut --parallel.cp=2"; do
  # shellcheck disable=SC2086
  set -- $kind
  ranks "$1" run "${options[@]}" --run.folder="$work/reward_$2" --base.run.steps=4 --r1_zero.run.steps=4 --rl.kl_in=reward \
    --rl.kl_beta=0.05 --rl.length_stages=0:6,2:24 --run.dtype=f64 "${@:3}" > "$work/log" 2>&1 || { cat "$work/log"; fail "divergence in the reward"; }
  grep -o '"completion_length/mean":[^,]*' "$work/reward_$2/stages/r1_zero/metrics.jsonl" | cut -d: -f2 > "$work/lengths"
  [ "$(awk 'NR == 1 { print ($1 <= 6) } NR == 2 { print ($1 > 6) }' "$work/lengths" | tr -d '\n')" = 11 ] ||
    fail "completions of $(tr '\n' ' ' < "$work/lengths") tokens where 6 and then 24 are allowed"
done
for other in two cut; do
  diff <(samples "$work/reward_one") <(samples "$work/reward_$other") > /dev/null || fail "other samples: one and $other"
done
# PPO: a critic, the divergence at each token with a target, pre-training text beside the updates; killed and restarted.
ppo=("${options[@]}" --rl.objective=ppo --rl.kl_in=token --rl.kl_beta=0.05 --rl.kl_target=0.5 --rl.ptx_weight=2 --rl.ptx_sequences=8
  --base.run.steps=4 --r1_zero.run.steps=8 --r1_zero.run.save_every=2)
ranks 2 run "${ppo[@]}" --run.folder="$work/ppo" > "$work/log" 2>&1 || { cat "$work/log"; fail "ppo"; }
grep -q '"critic/explained_variance"' "$work/ppo/stages/r1_zero/metrics.jsonl" && grep -q '"ptx/loss"' "$work/ppo/stages/r1_zero/metrics.jsonl" ||
  fail "ppo says nothing of its critic or its text"
ranks 2 run "${ppo[@]}" --run.folder="$work/ppo2" --parallel.fault=kill@rank=1:axis=world:step=6:call=1 > "$work/log" 2>&1 && fail "the fault did not strike"
ranks 2 run "${ppo[@]}" --run.folder="$work/ppo2" > "$work/log" 2>&1 || { cat "$work/log"; fail "ppo after a kill"; }
[ "$(hash_of "$work/ppo")" = "$(hash_of "$work/ppo2")" ] || fail "ppo: other weights, moments or critic after a kill"
for layout in --parallel.tp=2 --parallel.pp=2 --parallel.ep=2; do
  ranks 2 run "${ppo[@]}" --run.folder="$work/layout" --run.start_over=true --r1_zero.run.steps=4 $layout > "$work/log" 2>&1 ||
    { cat "$work/log"; fail "ppo with $layout"; }
done
# Two kinds of prompts with rewards of their own, the second from half of the run on.
ranks 2 run "${options[@]}" --run.folder="$work/kinds" --base.run.steps=4 --r1_zero.run.steps=8 \
  --rl.prompts="arithmetic:level=1:language=symbols -> accuracy" \
  --rl.prompts="digits:level=1:language=symbols -> accuracy, repetition_penalty | weight 0.5 | from 0.5" > "$work/log" 2>&1 || { cat "$work/log"; fail "two kinds"; }
grep '"reward/repetition_penalty/mean":' "$work/kinds/stages/r1_zero/metrics.jsonl" > /dev/null || fail "the second kind was not asked"
finish
