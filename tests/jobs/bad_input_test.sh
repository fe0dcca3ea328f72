# Promise: a mistake in the input is one clear error with the key or the file in it and the status 2 (mend the input) or 1, on one
# rank and on two, with no rank left hanging and nothing overwritten.
source "$(dirname "$0")/support.sh" "$@"
smoke=(run --config configs/recipes/smoke.cfg --run.folder="$work/run" --run.steps=2)

expect() { # expect STATUS TEXT words...: on 1 and on 2 ranks
  local wanted=$1 text=$2 n status
  shift 2
  for n in 1 2; do
    ranks "$n" "$@" > "$work/out" 2> "$work/err" < /dev/null
    status=$?
    [ $status -eq "$wanted" ] || fail "status $status, wanted $wanted ($n ranks): $* -- $(head -c 600 "$work/err")"
    grep -qF -- "$text" "$work/err" || fail "no \"$text\" ($n ranks): $* -- $(head -c 600 "$work/err")"
  done
}

expect 2 "unknown command 'trian'" trian
expect 2 "optimizer.lr" "${smoke[@]}" --optimizer.lrr=1
printf '[model]\ndimm = 3\n' > "$work/bad.cfg"
expect 2 "$work/bad.cfg:2" run --config "$work/bad.cfg"
expect 2 "missing.cfg" run --config "$work/missing.cfg"
expect 2 "run.steps" "${smoke[@]}" --run.steps=many
expect 2 "run.device" "${smoke[@]}" --run.device=tpu
expect 2 "model.num_heads" "${smoke[@]}" --model.attention=gqa --model.num_heads=3 --model.num_kv_heads=2
expect 2 "model.vocab_size" "${smoke[@]}" --model.vocab_size=200
expect 2 "data.sequence_length" "${smoke[@]}" --data.sequence_length=5000
expect 2 "parallel" "${smoke[@]}" --parallel.pp=3
expect 2 "no-such-file.txt" "${smoke[@]}" --data.train="$work/no-such-file.txt"

expect 2 "known are gpipe, 1f1b, interleaved, zb1, dualpipev" schedule zb3
expect 2 "wanted at least 8" schedule dualpipev --ranks=4 --micro_batches=7
expect 2 "cannot read" schedule --file="$work/no-such-file.txt"
"$athanor" schedule 1f1b --ranks=2 --micro_batches=2 --text="$work/mine.txt" --svg="$work/mine.svg" > "$work/out" || fail "schedule"
grep -q "idle 3 units (33.3 %); peak activations 2" "$work/out" || fail "schedule does not say what it found: $(cat "$work/out")"
grep -q "^<svg .*" "$work/mine.svg" || fail "schedule drew nothing"
"$athanor" schedule --file="$work/mine.txt" > "$work/again" || fail "schedule does not read what it wrote"
cmp -s "$work/out" "$work/again" || fail "a schedule that was written and read again is another"
expect 2 "leave it out" schedule 1f1b --file="$work/mine.txt"
sed -i 's/ 0B1$//' "$work/mine.txt"
expect 2 "mine.txt: schedule 1f1b: rank 0 never does I of chunk 0, micro-batch 1" schedule --file="$work/mine.txt"
sed -i 's/^rank 0: .*/rank 0: 0F0 0B0 0F1 0B1/; s/^rank 1: .*/rank 1: 1F0 1F1 1B0 1B1/' "$work/mine.txt"
expect 2 "rank 1, action 1 (1F1) waits for F of chunk 0, micro-batch 1: rank 0, action 2 (0F1)" schedule --file="$work/mine.txt"
sed -i 's/^rank 0: .*/rank 0: 1F0/' "$work/mine.txt"
expect 2 "rank 0, action 0 (1F0): chunk 1 belongs to rank 1" schedule --file="$work/mine.txt"
sed -i 's/^rank 0: .*/rank 0: oF0/' "$work/mine.txt"
expect 2 "mine.txt:2: wanted an action" schedule --file="$work/mine.txt"

: > "$work/empty.txt"
expect 2 "empty.txt" "${smoke[@]}" --data.train="$work/empty.txt" --data.held_out_fraction=0
printf 'good text\n\xff\xfe bad\n' > "$work/latin.txt"
ranks 2 "${smoke[@]}" --data.train="$work/latin.txt" > "$work/out" 2> "$work/err"
status=$?
[ $status -eq 1 ] || [ $status -eq 2 ] || fail "text that is no UTF-8 gave status $status"
grep -q "latin.txt" "$work/err" || fail "text that is no UTF-8: the file is not named: $(cat "$work/err")"

# A token file that was cut short.
cp LICENSE "$work/license.txt"
"$athanor" prepare "$work/license.txt" --output="$work/tokens.h5" > /dev/null || fail "prepare"
head -c 3000 "$work/tokens.h5" > "$work/short.h5"
expect 1 "short.h5" "${smoke[@]}" --data.train="$work/short.h5"
before=$(cksum < "$work/tokens.h5")
ranks 2 prepare "$work/latin.txt" --output="$work/tokens.h5" > /dev/null 2>&1 && fail "prepare took text that is no UTF-8"
[ "$before" = "$(cksum < "$work/tokens.h5")" ] || fail "prepare overwrote its output with nothing better"

# A checkpoint of another model, and other data under a run.
ranks 2 "${smoke[@]}" > "$work/out" 2> "$work/err" || fail "the run to be disturbed: $(cat "$work/err")"
before=$(content_hash "$work/run")
rm "$work/run/recipe_state.json"
expect 2 "wants" "${smoke[@]}" --model.dim=64 --run.steps=4
expect 2 "training data" "${smoke[@]}" --run.steps=4 --data.sequence_length=32
[ "$before" = "$(content_hash "$work/run")" ] || fail "a refused run changed the checkpoint"
expect 2 "neither a checkpoint" generate "$work"
finish
