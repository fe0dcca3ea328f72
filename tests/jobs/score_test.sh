# Promise: score runs programs in the sandbox, writes a line for each of the input, names what failed, and refuses when
# there is no sandbox.
source "$(dirname "$0")/support.sh" "$@"

if ! [ -x /usr/bin/python3 ] && ! [ -x /usr/local/bin/python3 ]; then
  echo "SKIPPED: no python3 (jobs/setup.sh installs it)"
  exit 77
fi
tests='"tests": [{"input": "3", "output": "9"}, {"input": "4", "output": "16"}]'
cat > "$work/in.jsonl" << EOF
{"prompt": "square", "completion": "\`\`\`python\nn = int(input())\nprint(n * n)\n\`\`\`", $tests}
{"prompt": "square", "completion": "\`\`\`python\nn = int(input())\nprint(n + 6)\n\`\`\`", $tests}
{"prompt": "square", "completion": "\`\`\`python\nwhile True: pass\n\`\`\`", $tests}
{"prompt": "square", "completion": "\`\`\`python\nimport os\nos.fork()\nprint(open('/etc/passwd').read())\n\`\`\`", $tests}
{"prompt": "square", "completion": "n * n", $tests}
{"prompt": "other", "completion": "nothing to test"}
{"prompt": "published", "completion": "\`\`\`python\nprint(1)\n\`\`\`", "verification_info": {"language": "python", "test_cases": [{"input": "", "output": "1\n"}]}}
{"prompt": "unknown", "completion": "x", "code_language": "cobol", $tests}
EOF
"$athanor" score --reward="code:timeout=1, binary_code:timeout=1 @ 0.5" --input="$work/in.jsonl" > "$work/out" 2> "$work/err" ||
  fail "score: $(cat "$work/err")"
expect() { # expect LINE TEXT...
  local text
  for text in "${@:2}"; do
    sed -n "$1p" "$work/out" | grep -qF -- "$text" || fail "line $1 has no $text: $(sed -n "$1p" "$work/out")"
  done
}
[ "$(wc -l < "$work/out")" -eq 8 ] || fail "not one line each: $(cat "$work/out")"
expect 1 '"code":1.0' '"binary_code":1.0' '"total":1.5'
expect 2 '"code":0.5' '"binary_code":0.0' '"total":0.5' 'test 2 of 2: wrong output'
expect 3 '"code":0.0' 'not done within 1 s'
expect 4 '"code":0.0' 'BlockingIOError'
expect 5 '"code":0.0' 'no block of code'
expect 6 '"code":null' '"total":null'
expect 7 '"code":1.0'
expect 8 '"code":null' '"errors"' 'cobol'

# Under MPI as well: the helper has nothing of MPI's, and MPI does not mind it.
ranks 2 score --reward=code --input="$work/in.jsonl" --output="$work/two" > "$work/log" 2>&1 || fail "on 2 ranks: $(cat "$work/log")"
[ "$(grep -c '"code":1.0' "$work/two")" -eq 2 ] || fail "other scores on 2 ranks: $(cat "$work/two")"
grep -qi fork "$work/log" && fail "MPI warns: $(cat "$work/log")"

ATHANOR_SANDBOX_HELPER=/nowhere "$athanor" score --reward=code --input="$work/in.jsonl" > "$work/out" 2> "$work/err"
[ $? -eq 2 ] && grep -q "no helper at /nowhere" "$work/err" || fail "runs without a sandbox: $(cat "$work/err")"
[ -s "$work/out" ] && fail "scores without a sandbox"
finish
