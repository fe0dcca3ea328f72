#!/usr/bin/env bash
# Submits a job to Slurm: fills a template of jobs/slurm from a cluster file and shows what is submitted.
#   jobs/submit.sh RECIPE [options] [-- athanor options]      train: configs/recipes/*.cfg or one of your own
#   jobs/submit.sh evaluate FOLDER [options] [-- ...]         all checkpoints of a run, an array job
#   jobs/submit.sh preflight [options] [-- ...]               are the nodes fit? bad ones are named
#   --nodes N          nodes (1)
#   --cluster FILE     the site: configs/clusters/*.cfg, or $ATHANOR_CLUSTER
#   --set KEY=VALUE    instead of the cluster file's, for this job; may be repeated
#   --folder FOLDER    of the run; RECIPE: runs/NAME, preflight: runs/preflight
#   --at-once N        tasks of an evaluation array at a time (8)
#   --dry-run          shows it and submits nothing
# Run it again with the same words to go on with a run that has stopped.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
  printf 'submit: %s\n' "$1" >&2
  exit 2
}
usage() {
  sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit "$1"
}

# What a cluster file may say; configs/clusters/README.md explains each. A key without a default must be there. Lists are keys
# that may be repeated.
declare -A defaults=([mpi]=pmix [partition]="" [account]="" [qos]="" [constraint]="" [reservation]="" [memory_per_node]=""
  [launcher_options]="" [program]="$root/build/jobs/athanor" [max_failures]=3 [node_check_seconds]=15 [elastic]=off [min_nodes]=1
  [node_multiple]=1 [check_seconds]=120)
required=(launcher tasks_per_node cpus_per_task gpus_per_node walltime signal_seconds)
lists=(module environment sbatch)
declare -A value=()
known=" ${!defaults[*]} ${required[*]} ${lists[*]} "

take() { # take KEY VALUE WHERE
  case $known in *" $1 "*) ;; *) fail "$3: unknown key '$1'; there are: $(tr ' ' '\n' <<< "$known" | sort | xargs)" ;; esac
  case " ${lists[*]} " in
    *" $1 "*) value[$1]+=$2$'\n' ;;
    *) value[$1]=$2 ;;
  esac
}
read_cluster() { # read_cluster FILE: key = value, a line each; # starts a comment line
  local line number=0
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
    [[ $line =~ ^[[:space:]]*\[ ]] && fail "$1:$number: '$line' is a section of athanor's own options (configs/layouts); a cluster file \
for submit.sh has only lines of key = value: see configs/clusters/README.md"
    [[ $line =~ ^[[:space:]]*([a-z_]+)[[:space:]]*=[[:space:]]*(.*[^[:space:]])?[[:space:]]*$ ]] ||
      fail "$1:$number: wanted key = value, found '$line'"
    take "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "$1:$number"
  done < "$1"
}
need_number() { # need_number KEY LEAST
  if ! [[ ${value[$1]} =~ ^[0-9]{1,9}$ ]] || [ "${value[$1]}" -lt "$2" ]; then
    fail "$1 = ${value[$1]} (from $cluster or --set): wanted a whole number, at least $2"
  fi
}
check_values() {
  local key
  for key in "${required[@]}"; do [ -n "${value[$key]:-}" ] || fail "$cluster: the key '$key' is missing"; done
  for key in "${!defaults[@]}"; do value[$key]=${value[$key]-${defaults[$key]}}; done
  for key in "${lists[@]}"; do value[$key]=${value[$key]:-}; done
  for key in tasks_per_node cpus_per_task min_nodes node_multiple check_seconds; do need_number "$key" 1; done
  for key in gpus_per_node max_failures node_check_seconds; do need_number "$key" 0; done
  need_number signal_seconds 4
  [[ ${value[launcher]} =~ ^(srun|mpirun)$ ]] || fail "launcher = ${value[launcher]}: there are srun and mpirun"
  [[ ${value[elastic]} =~ ^(on|off)$ ]] || fail "elastic = ${value[elastic]}: there are on and off"
  [[ ${value[walltime]} =~ ^([0-9]+-)?[0-9]+(:[0-9]{2}){0,2}$ ]] ||
    fail "walltime = ${value[walltime]}: wanted HH:MM:SS or D-HH:MM:SS"
  [ -x "${value[program]}" ] ||
    fail "there is no program ${value[program]}; build it (README.md, Try it) or name it: program = FILE"
  while IFS= read -r key; do
    [ -z "$key" ] || [[ $key =~ ^[A-Za-z_][A-Za-z_0-9]*= ]] || fail "environment = $key: wanted NAME=VALUE"
  done <<< "${value[environment]}"
  while IFS= read -r key; do
    [ -z "$key" ] || [[ $key == --* ]] || fail "sbatch = $key: wanted an option of sbatch, --NAME=VALUE"
  done <<< "${value[sbatch]}"
}

words() { # for a shell to read again
  local text=""
  [ $# -eq 0 ] || printf -v text '%q ' "$@"
  printf '%s' "${text% }"
}
lines() { # lines FORM TEXT: each line that holds something, through a form of printf
  local line
  while IFS= read -r line; do
    # shellcheck disable=SC2059 # the form is the caller's
    [ -z "$line" ] || printf "$1\n" "$line"
  done <<< "$2"
}
environment_lines() {
  local line
  while IFS= read -r line; do
    [ -z "$line" ] || printf 'export %s=%q\n' "${line%%=*}" "${line#*=}"
  done <<< "${value[environment]}"
}
fill() { # fill TEMPLATE: to standard output, from $field
  local text key line
  text=$(cat "$1")
  text=${text/"# @launch@"/"$(cat "$root/jobs/slurm/launch.sh")"}
  text=${text/"# @sbatch_lines@"/"$(lines '#SBATCH %s' "${value[sbatch]}")"}
  for key in "${!field[@]}"; do text=${text//"@$key@"/"${field[$key]}"}; done
  while IFS= read -r line; do
    [[ $line =~ ^#SBATCH\ --[a-z-]+=$ ]] && continue
    printf '%s\n' "$line"
  done <<< "$text"
  # What is left over would run as text that nobody meant.
  if [[ $text =~ @[a-z_]+@ ]]; then fail "$1: ${BASH_REMATCH[0]} is filled by nothing"; fi
}

kind="" subject="" nodes=1 cluster=${ATHANOR_CLUSTER:-} folder="" at_once=8 dry=0
settings=() options=()
[ $# -gt 0 ] || usage 2
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage 0 ;;
    --dry-run) dry=1 ;;
    --nodes | --cluster | --set | --folder | --at-once)
      [ $# -ge 2 ] || fail "$1 wants a value"
      case $1 in
        --nodes) nodes=$2 ;;
        --cluster) cluster=$2 ;;
        --set) settings+=("$2") ;;
        --folder) folder=$2 ;;
        --at-once) at_once=$2 ;;
      esac
      shift
      ;;
    --)
      shift
      options=("$@")
      break
      ;;
    -*) fail "unknown option $1; options of athanor stand behind --" ;;
    *)
      if [ -z "$kind" ]; then
        case $1 in
          preflight | evaluate) kind=$1 ;;
          *) kind=train subject=$1 ;;
        esac
      elif [ "$kind" = evaluate ] && [ -z "$subject" ]; then
        subject=$1
      else
        fail "one word too many: $1"
      fi
      ;;
  esac
  shift
done
[ -n "$kind" ] || usage 2
[[ $nodes =~ ^[1-9][0-9]{0,4}$ ]] || fail "--nodes $nodes: wanted a whole number, at least 1"
[[ $at_once =~ ^[1-9][0-9]{0,4}$ ]] || fail "--at-once $at_once: wanted a whole number, at least 1"
[ -n "$cluster" ] || fail "which cluster? --cluster FILE, one of: $(cd "$root" && echo configs/clusters/*.cfg)"
[ -r "$cluster" ] || fail "there is no cluster file $cluster"
read_cluster "$cluster"
for setting in "${settings[@]}"; do
  [[ $setting == *=* ]] || fail "--set $setting: wanted KEY=VALUE"
  take "${setting%%=*}" "${setting#*=}" "--set"
done
check_values
for option in "${options[@]}"; do
  case $option in --run.folder*) fail "$option: the folder is given by --folder, because the job looks into it too" ;; esac
done

nodes_wanted=$nodes array_size="" list=""
recipe=$root/configs/recipes/smoke.cfg
case $kind in
  train)
    [ -r "$subject" ] || fail "there is no recipe $subject; those of the program: $(cd "$root" && echo configs/recipes/*.cfg)"
    recipe=$(realpath "$subject")
    name=$(basename "$recipe" .cfg)
    folder=$(realpath -m "${folder:-runs/$name}")
    command=(run --config "$recipe" --run.folder="$folder" "${options[@]}")
    [ "${value[min_nodes]}" -le "$nodes" ] || fail "min_nodes = ${value[min_nodes]} is more than --nodes $nodes"
    if [ "${value[elastic]}" = on ]; then
      nodes_wanted=${value[min_nodes]}-$nodes
      value[sbatch]+=--no-kill
    else
      value[min_nodes]=$nodes
    fi
    [ $((nodes % value[node_multiple])) -eq 0 ] || fail "--nodes $nodes is no multiple of node_multiple = ${value[node_multiple]}"
    template=train
    ;;
  evaluate)
    [ -d "$subject" ] || fail "evaluate what? a run folder; '$subject' is none"
    folder=$(realpath "$subject")
    name=evaluate_$(basename "$folder")
    checkpoints=$(find "$folder"/stages/*/checkpoints -maxdepth 1 -type d -name 'step_*[0-9]' 2> /dev/null | sort || true)
    [ -n "$checkpoints" ] || fail "$folder holds no checkpoints (stages/*/checkpoints/step_*)"
    array_size=$(wc -l <<< "$checkpoints")
    list=$folder/slurm/evaluate/list_$(date +%Y%m%d_%H%M%S)
    command=("${options[@]}")
    template=evaluate_array
    ;;
  preflight)
    name=preflight
    folder=$(realpath -m "${folder:-runs/preflight}")
    command=("${options[@]}")
    template=preflight
    ;;
esac
[[ $folder =~ [[:space:]%\\] ]] &&
  fail "the folder $folder has a character that #SBATCH lines take for something else (space, %, \\)"

gpus=${value[gpus_per_node]}
[ "$gpus" -gt 0 ] || gpus=""
# shellcheck disable=SC2206 # words of one line
launcher_options=(${value[launcher_options]})
declare -A field=(
  [job_name]="athanor_$name" [nodes_wanted]="$nodes_wanted" [tasks_per_node]="${value[tasks_per_node]}"
  [cpus_per_task]="${value[cpus_per_task]}" [gpus_per_node]="$gpus" [memory_per_node]="${value[memory_per_node]}"
  [partition]="${value[partition]}" [account]="${value[account]}" [qos]="${value[qos]}" [constraint]="${value[constraint]}"
  [reservation]="${value[reservation]}" [walltime]="${value[walltime]}" [signal_seconds]="${value[signal_seconds]}"
  [folder]="$folder" [recipe]="$(words "$recipe")" [list]="$list" [array_size]="$array_size" [array_at_once]="$at_once"
  [command]="$(words "${command[@]}")" [program]="$(words "${value[program]}")"
  [launcher]="${value[launcher]}" [mpi]="${value[mpi]}"
  [launcher_options]="$(words "${launcher_options[@]}")" [modules]="$(lines 'module load %s' "${value[module]}")"
  [environment]="$(environment_lines)" [elastic]="${value[elastic]}" [min_nodes]="${value[min_nodes]}"
  [node_multiple]="${value[node_multiple]}" [max_failures]="${value[max_failures]}"
  [node_check_seconds]="${value[node_check_seconds]}" [check_seconds]="${value[check_seconds]}")
script=$(fill "$root/jobs/slurm/$template.sbatch")

printf '%s\n' "$script"
if [ "$dry" -eq 1 ]; then
  echo "submit: nothing was submitted (--dry-run)" >&2
  exit 0
fi
command -v sbatch > /dev/null || fail "there is no sbatch on this machine; submit from a login node of the cluster"
mkdir -p "$folder/slurm"
if [ -n "$list" ]; then
  mkdir -p "${list%/*}"
  printf '%s\n' "$checkpoints" > "$list"
fi
# The script that ran is kept with the run.
file=$folder/slurm/${template}_$(date +%Y%m%d_%H%M%S).sbatch
printf '%s\n' "$script" > "$file"
job=$(sbatch --parsable "$file")
echo "submit: job ${job%%;*} from $file; logs in $folder/slurm"
