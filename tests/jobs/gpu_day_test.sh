# Promise: gpu_day.sh goes on after what fails, faults or is not there, tells it at the end, and fills its tables from what the
# program writes. Programs that want a GPU are played by scripts; the program itself runs on the CPU, at tiny sizes.
source "$(dirname "$0")/support.sh" "$@"

bundle=$work/bundle
mkdir -p "$bundle/bin" "$bundle/libexec" "$bundle/tests" "$work/path"
cp tests/bench/gpu_day*.sh "$bundle/tests"
cp -r configs "$bundle/configs"
ln -s "$athanor" "$bundle/athanor"
: > "$bundle/libexec/environment.sh"
cat > "$bundle/bin/src_backend_gpu" << 'END'
#!/bin/bash
case $* in
  *list_tests*) printf 'Gpu.\n  IsThere\nBackends/Good.\n  One/cuda_0\nBackends/Bad.\n  One/cuda_0\nBackends/Faults.\n  One/cuda_0\n' ;;
  *Gpu.*) echo '[       OK ] Gpu.IsThere (0 ms)' ;;
  *Good*) printf '[       OK ] Backends/Good.One/cuda_0 (1 ms)\n[       OK ] Backends/Good.Two/cuda_0 (1 ms)\n' ;;
  *Bad*) printf '[       OK ] Backends/Bad.One/cuda_0 (1 ms)\n[  FAILED  ] Backends/Bad.Two/cuda_0 (1 ms)\n[  FAILED  ] Backends/Bad.Two/cuda_0\n'; exit 1 ;;
  *Faults*) echo '[ RUN      ] Backends/Faults.One/cuda_0'; kill -SEGV $$ ;;
esac
END
printf '#!/bin/sh\necho "[       OK ] Any.One (1 ms)"\n' > "$bundle/bin/src_backend_cuda"
cat > "$work/path/compute-sanitizer" << 'END'
#!/bin/bash
case $* in
  *racecheck*Bad*) echo '========= RACECHECK SUMMARY: 3 hazards displayed (3 errors, 0 warnings)'; exit 99 ;;
  *) echo '========= ERROR SUMMARY: 0 errors' ;;
esac
END
cp "$bundle/bin/src_backend_gpu" "$bundle/libexec/"
chmod +x "$bundle"/bin/* "$bundle"/libexec/src* "$work/path/compute-sanitizer"

day() { PATH=$work/path:$PATH GPU_DAY_DEVICE=cpu bash "$bundle/tests/gpu_day.sh" "$work/out" "$@" > "$work/log" 2>&1; }
says() { grep -qF -- "$1" "$2" || { cat "$2"; fail "not in ${2##*/}: $1"; }; }

day conformance sanitizer && fail "failures are no failure"
table=$work/out/conformance.md
says '| src_backend_gpu Backends/Good | 2 | 0 | 0 |' "$table"
says '| src_backend_gpu Backends/Bad | 1 | 1 | 1 |' "$table"
says '| src_backend_gpu Backends/Faults | 0 | 0 | 139 |' "$table"
says '| src_backend_cuda * | 1 | 0 | 0 |' "$table"
says 'FAILED: conformance: parallel_rollout_gpu is not in this bundle' "$work/log"
says 'FAILED: conformance: src_backend_gpu Backends/Faults: status 139; last: [ RUN      ] Backends/Faults.One/cuda_0' "$work/log"
says '| Backends/Good | clean | clean | clean | clean |' "$work/out/sanitizer.md"
says '| Backends/Bad | clean | 3 errors, status 99 | clean | clean |' "$work/out/sanitizer.md"
says '| training | clean | clean | clean | clean |' "$work/out/sanitizer.md"
says '2 parts, 5 failures, 0 targets missed' "$work/log"

GPU_DAY_MODELS=dense GPU_DAY_LOSS_MODELS=dense GPU_DAY_LOSS_STEPS=2 day models losses || { cat "$work/log"; fail "models and losses on the CPU"; }
grep -Eq '^\| dense, qwen2.5_1.5b \| [0-9]+ \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \| 0.50 \| (met|missed) \| [0-9.]+ \| [0-9.]+ \|$' "$work/out/models.md" ||
  fail "no speed of training: $(cat "$work/out/models.md")"
grep -Eq '^\| dense, qwen2.5_1.5b \| [0-9]+ \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \| 2 \| (met|missed) \| [0-9.]+ \| [0-9.]+, 0.000, [0-9.]+ \|$' "$work/out/models.md" ||
  fail "no speed of generation: $(cat "$work/out/models.md")"
[ "$(grep -c '| dense | .* | 2 | .* | within |' "$work/out/losses.md")" -eq 4 ] || fail "losses of the CPU are not the CPU's: $(cat "$work/out/losses.md")"

# A device that trains differently is found: another seed in its place.
sed 's/--run.device="$on"/--run.device=cpu --run.seed=$((on == "cpu" ? 1 : 2))/; s/on == "cpu"/${#on} == 3/' "$bundle/tests/gpu_day_losses.sh" > "$work/wrong.sh"
GPU_DAY_LOSS_MODELS=dense GPU_DAY_LOSS_STEPS=2 bash "$work/wrong.sh" "$bundle" other "$work/wrong" > "$work/log" 2>&1 && fail "other losses are within their bounds"
grep -q '| dense | f64 | 2 | [^|]* | [12] | 0 | 1e-09 | beyond |' "$work/log" || { cat "$work/log"; fail "no word about other losses"; }
GPU_DAY_SECONDS=0 day models && fail "a part without time did something"
says 'left out, no time' "$work/log"
day nonsense && fail "an unknown part is known"
finish
