# Promise: jobs/submit.sh fills every template from every cluster file to a whole script, and refuses by name what it can not use.
source "$(dirname "$0")/../jobs/support.sh" "$@"
recipe=configs/recipes/smoke.cfg
submit() { jobs/submit.sh --dry-run --set program="$athanor" "$@" > "$work/out" 2> "$work/err"; }

mkdir -p "$work/run/stages/pretrain/checkpoints/step_00000005"
for cluster in $(grep -L '^\[' configs/clusters/*.cfg); do
  for words in "$recipe --nodes 4" "preflight --nodes 4" "evaluate $work/run --nodes 1"; do
    # shellcheck disable=SC2086
    submit $words --cluster "$cluster" || { cat "$work/err"; fail "$words on $cluster"; }
    bash -n "$work/out" || fail "$words on $cluster is no script"
    grep -q '@[a-z_]*@' "$work/out" && fail "$words on $cluster: something is not filled: $(grep -m 1 '@[a-z_]*@' "$work/out")"
    # An empty value would be an error of sbatch's, or worse, the site's default unseen.
    grep -qE '^#SBATCH .*=$' "$work/out" && fail "$words on $cluster: an option without a value"
  done
done

submit "$recipe" --nodes 4 --cluster configs/clusters/cpu_generic.cfg --set elastic=on --set min_nodes=2 --set account=me \
  --set sbatch=--exclude=node7 --set environment='A=two words' -- --run.steps=7 || { cat "$work/err"; fail "settings"; }
for line in '#SBATCH --nodes=2-4' '#SBATCH --account=me' '#SBATCH --exclude=node7' '#SBATCH --signal=B:USR1@300' \
  'export A=two\ words' '#SBATCH --cpus-per-task=16'; do
  grep -qxF -- "$line" "$work/out" || fail "no line '$line'"
done
grep -q '^command=(run --config .*smoke.cfg --run.folder=.*runs/smoke --run.steps=7)$' "$work/out" || fail "the command"

refused() { # refused WORDS OPTIONS...: status 2 and the words in the message
  local words=$1
  shift
  submit "$@"
  [ $? -eq 2 ] && grep -qF -- "$words" "$work/err" || { cat "$work/err"; fail "not refused with '$words': $*"; }
}
good=configs/clusters/local_virtual.cfg
printf 'launcher = srun\nnodes_per_task = 3\n' > "$work/unknown.cfg"
grep -v '^walltime' $good > "$work/missing.cfg"
refused "unknown.cfg:2: unknown key 'nodes_per_task'" $recipe --cluster "$work/unknown.cfg"
refused "the key 'walltime' is missing" $recipe --cluster "$work/missing.cfg"
refused "is a section of athanor's own options" $recipe --cluster configs/layouts/v3_2048.cfg
refused "there are srun and mpirun" $recipe --cluster $good --set launcher=aprun
refused "wanted a whole number, at least 1" $recipe --cluster $good --set tasks_per_node=0
refused "wanted HH:MM:SS" $recipe --cluster $good --set walltime=soon
refused "wanted NAME=VALUE" $recipe --cluster $good --set environment=OMP
refused "unknown key 'elastics'" $recipe --cluster $good --set elastics=on
refused "min_nodes = 3 is more than --nodes 2" $recipe --cluster $good --nodes 2 --set min_nodes=3
refused "no multiple of node_multiple = 2" $recipe --cluster $good --nodes 3 --set node_multiple=2
refused "the folder is given by --folder" $recipe --cluster $good -- --run.folder=x
refused "there is no recipe nowhere.cfg" nowhere.cfg --cluster $good
refused "which cluster?" $recipe
refused "holds no checkpoints" evaluate configs --cluster $good
refused "take for something else" $recipe --cluster $good --folder "a folder"
jobs/submit.sh $recipe --cluster $good --dry-run --set program=/nowhere/athanor > "$work/out" 2> "$work/err"
grep -q "there is no program /nowhere/athanor" "$work/err" || fail "a program that is not there"
finish
