# Promise: `athanor doctor` tells of every rank, leaves nothing behind, and refuses a folder that cannot be written to.
source "$(dirname "$0")/support.sh" "$@"

ranks 2 doctor --all-ranks=true --outlier=0 --run.folder="$work/runs" > "$work/log" 2>&1 || { cat "$work/log"; fail "doctor"; }
[ "$(grep -c "^ *[01]  $(hostname | cut -c1-16)" "$work/log")" -eq 2 ] || { cat "$work/log"; fail "not every rank is shown"; }
grep -q "[01]: [0-9.]* GB/s" "$work/log" || fail "no link was measured"
[ ! -e "$work/runs" ] || fail "a folder was left behind"
ranks 2 doctor --run.folder=/proc/nowhere > "$work/log" 2>&1
[ $? -eq 2 ] && grep -q "cannot be written to /proc/nowhere" "$work/log" || { cat "$work/log"; fail "a bad folder was taken"; }
finish
