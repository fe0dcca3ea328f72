# What the scripts here share. Usage: source support.sh "$@"; the first argument is the program.
set -uo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
athanor=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
  printf 'FAILED: %s\n' "$1"
  failures=$((failures + 1))
}
finish() {
  [ "$failures" -eq 0 ] || printf '%d failures\n' "$failures"
  exit $((failures > 0))
}
ranks() { # ranks N words...: the program on N ranks; one needs no launcher
  local n=$1
  shift
  if [ "$n" -eq 1 ]; then
    timeout -k 5 300 "$athanor" "$@"
    return
  fi
  timeout -k 5 300 mpirun --oversubscribe --bind-to none -np "$n" "$athanor" "$@"
}
killed=0
kill_one_rank() { # kill_one_rank FOLDER COUNT N words...: runs these words in FOLDER on 2 ranks and kills one of them, either, without
  # warning, a moment after `COUNT FOLDER` has come to N; $killed counts the runs that were not over before
  local folder=$1 count=$2 wanted=$3 job pid
  shift 3
  ranks 2 run "$@" --run.folder="$folder" > "$work/kill.log" 2>&1 &
  job=$!
  for _ in $(seq 1500); do
    [ "$("$count" "$folder")" -ge "$wanted" ] 2> /dev/null && break
    kill -0 $job 2> /dev/null || break
    sleep 0.02
  done
  sleep "0.0$((RANDOM % 10))"
  pid=$(pgrep -f -- "^$athanor run .*--run.folder=$folder\$" | sed -n "$((RANDOM % 2 + 1))p")
  [ -n "$pid" ] && kill -9 "$pid"
  wait $job || killed=$((killed + 1))
}
content_hash() { "$athanor" inspect "$1/stages/pretrain" --verify=true | sed -n 's/^content hash //p'; }
