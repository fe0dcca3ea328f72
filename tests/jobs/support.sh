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
    timeout -k 5 120 "$athanor" "$@"
    return
  fi
  timeout -k 5 120 mpirun --oversubscribe --bind-to none -np "$n" "$athanor" "$@"
}
content_hash() { "$athanor" inspect "$1/stages/pretrain" --verify=true | sed -n 's/^content hash //p'; }
