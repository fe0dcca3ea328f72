# Promise: a bundle runs in a root that holds nothing but it, a shell and a C library: the program alone, and two ranks that train
# through its own mpirun; with --with-libc on its own C library. What was left to the machine is found where a variable says, or
# named. Needs bubblewrap to make such a root.
source "$(dirname "$0")/support.sh" "$@"

bwrap --ro-bind / / true 2> /dev/null || { echo "skipped: no namespaces for bubblewrap here"; exit 77; }
build=$(cd "$(dirname "$athanor")/.." && pwd)

in_empty_root() { # in_empty_root FOLDER words...: with FOLDER as /opt/athanor and $work/files as /work
  local bundle=$1 library binds=()
  shift
  for library in $(ldd /bin/sh "$athanor" | grep -oE '/[^ ]*/(libc|libm|libpthread|libdl|librt|libresolv)\.so\.[0-9]*' | sort -u); do
    binds+=(--ro-bind "$library" "$library")
  done
  timeout -k 5 100 bwrap --unshare-pid --die-with-parent --ro-bind "$bundle" /opt/athanor --dev /dev --proc /proc --ro-bind /sys /sys \
    --tmpfs /tmp --bind "$work/files" /work --ro-bind "$(readlink -f /bin/sh)" /bin/sh \
    --ro-bind /lib64/ld-linux-x86-64.so.2 /lib64/ld-linux-x86-64.so.2 "${binds[@]}" --clearenv --setenv OMP_NUM_THREADS 1 \
    --setenv OMPI_ALLOW_RUN_AS_ROOT 1 --setenv OMPI_ALLOW_RUN_AS_ROOT_CONFIRM 1 --chdir /work "$@" 2>&1
}

mkdir "$work/files"
for kind in --with-tests=^src_backend_arena$ --with-libc; do
  bundle=$work/bundle$kind
  # shellcheck disable=SC2086
  jobs/bundle.sh "$bundle" "$build" $kind > "$work/log" 2>&1 || { cat "$work/log"; fail "bundle.sh $kind"; continue; }
  in_empty_root "$bundle" /opt/athanor/athanor --help > "$work/log"
  grep -q "^athanor COMMAND" "$work/log" || { cat "$work/log"; fail "the program alone, bundle $kind"; }
  in_empty_root "$bundle" /opt/athanor/mpirun --oversubscribe --bind-to none -np 2 /opt/athanor/athanor run \
    --config /opt/athanor/configs/recipes/smoke.cfg --run.folder="/work/run$kind" --run.steps=4 > "$work/log" ||
    { cat "$work/log"; fail "two ranks, bundle $kind"; }
  grep -q "2 ranks" "$work/log" && [ -s "$work/files/run$kind/summary.md" ] || { cat "$work/log"; fail "training, bundle $kind"; }
done

jobs/bundle.sh "$work/bundle--with-libc" "$build" > "$work/log" 2>&1 && fail "a folder that is there was overwritten"
grep -q "is there already" "$work/log" || fail "no word about the folder that is there: $(cat "$work/log")"
jobs/bundle.sh "$work/other" "$work" > "$work/log" 2>&1 && fail "a bundle of nothing was made"
bundle=$work/bundle--with-tests=^src_backend_arena$
[ "$(ls "$bundle/libexec" | grep -c _backend_)" -eq 1 ] && [ -x "$bundle/bin/src_backend_arena" ] || fail "other tests than the one asked for: $(ls "$bundle/libexec")"
[ -x "$bundle/tests/gpu_day.sh" ] || fail "no gpu_day.sh beside the tests"

# A library that was left out, as CUDA's may be: found where the variable says, else named with what to do.
echo libfmt > "$bundle/libexec/cuda_libraries"
mv "$bundle/lib/libfmt"* "$work/files"
in_empty_root "$bundle" /opt/athanor/athanor --help > "$work/log" && fail "a bundle without a library runs: this root is not empty"
grep -q "this is not found: libfmt.*" "$work/log" && grep -q "Set ATHANOR_CUDA_LIBRARIES to the folders" "$work/log" ||
  fail "no word about the library that is missing: $(cat "$work/log")"
in_empty_root "$bundle" /bin/sh -c 'ATHANOR_CUDA_LIBRARIES=/nowhere:/work /opt/athanor/athanor --help' | grep -q "^athanor COMMAND" ||
  fail "ATHANOR_CUDA_LIBRARIES is not heeded"
if ! ldd "$athanor" | grep -q libcublas; then
  jobs/bundle.sh "$work/third" "$build" --without-cuda-libraries > "$work/log" 2>&1 && fail "libraries were left out that nothing uses"
fi
rm "$bundle/libexec/cuda_libraries"
in_empty_root "$bundle" /opt/athanor/athanor --help > "$work/log" && fail "a bundle without a library runs: this root is not empty"
finish
