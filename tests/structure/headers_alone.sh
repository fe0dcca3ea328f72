#!/usr/bin/env bash
# Every header of the four floors compiles by itself: it includes what it uses. One whose own .cpp includes it first is
# proven by a build that compiles every source by itself (ATHANOR_UNITY=OFF); the others are compiled here (syntax only), on all cores.
#   headers_alone.sh COMPILER ROOT [flags...]
set -euo pipefail
cd "$2"
unproven=() proven=0
while read -r header; do
  own=${header%.hpp}.cpp
  if [ -f "$own" ] && [ "$(grep -m 1 '^ *# *include' "$own")" = "#include \"$header\"" ]; then
    proven=$((proven + 1))
  else
    unproven+=("$header")
  fi
done < <(find src parallel io jobs -name '*.hpp' | sort)
# A source file on stdin includes the header: the header as main file would warn about its #pragma once.
compile='printf "#include \"%s\"\n" "$1" | "${@:2}" -std=c++20 -fsyntax-only -fopenmp -Wall -Wextra -Werror -I . -x c++ - ||
  { echo "does not compile alone: $1" >&2; exit 1; }'
printf '%s\n' "${unproven[@]}" | xargs -P "$(nproc)" -I {} bash -c "$compile" bash {} "$1" "${@:3}"
echo "${#unproven[@]} headers compiled alone, $proven proven by their .cpp"
