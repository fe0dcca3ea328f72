#!/usr/bin/env bash
# Compiles every header of the four floors by itself (syntax only), on all cores: a header includes what it uses.
#   headers_alone.sh COMPILER ROOT [flags...]
set -euo pipefail
cd "$2"
# A source file on stdin includes the header: the header as main file would warn about its #pragma once.
compile='printf "#include \"%s\"\n" "$1" | "${@:2}" -std=c++20 -fsyntax-only -fopenmp -Wall -Wextra -Werror -I . -x c++ - ||
  { echo "does not compile alone: $1" >&2; exit 1; }'
headers=$(find src parallel io jobs -name '*.hpp' | sort)
xargs -P "$(nproc)" -I {} bash -c "$compile" bash {} "$1" "${@:3}" <<< "$headers"
echo "$(wc -l <<< "$headers") headers compile alone"
