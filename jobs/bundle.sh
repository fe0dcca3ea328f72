#!/usr/bin/env bash
# Packs a built athanor into a folder that runs where nothing was installed: clusters without root, borrowed machines.
#   jobs/bundle.sh OUT.tar.gz|FOLDER [BUILD] [--with-tests[=REGEX]] [--with-libc] [--without-cuda-libraries]
# BUILD is the build folder (default: build). In the folder: athanor and mpirun (start these), configs, lib (the shared
# libraries), openmpi (components and help), libexec (the programs themselves, without their symbol tables), with tests
# those whose name matches REGEX (default: all) and tests/gpu_day.sh.
#
# --without-cuda-libraries leaves out cuBLAS and NCCL, which take six times the room of everything else. The programs
# then look for them in the folders of ATHANOR_CUDA_LIBRARIES (a list with colons), in /usr/local/cuda/lib64 and where
# the loader looks, and say which are missing. Where Python's packages brought them (nvidia-cublas, nvidia-nccl-cu13):
#   export ATHANOR_CUDA_LIBRARIES=$(python3 -c 'import glob, sys; print(":".join(f for p in sys.path for f in glob.glob(p + "/nvidia/*/lib")))')
#
# What the target machine must bring: Linux on x86-64, /bin/sh, for GPUs the driver, for several machines ssh or Slurm.
# glibc: programs run with the one they were linked against or a newer one, never with an older. The bundle therefore
# leaves the target's in place; --with-libc takes this machine's along, loader included, for targets with an older one
# (name service modules of the target are then not used: host names come from /etc/hosts and DNS alone).
# CPU: kernels are compiled for the CPU of the build (ATHANOR_ARCH=native); for other machines build with
# -DATHANOR_ARCH=x86-64-v3 (2013 and later) or x86-64-v4 (AVX-512).
set -euo pipefail

fail() {
  printf 'bundle: %s\n' "$1" >&2
  exit 1
}
out="" build="" tests="" with_libc=0 without_cuda=0
for word in "$@"; do
  case $word in
    --with-tests) tests=. ;;
    --with-tests=*) tests=${word#*=} ;;
    --with-libc) with_libc=1 ;;
    --without-cuda-libraries) without_cuda=1 ;;
    -*) fail "$word is not known; there are --with-tests[=REGEX], --with-libc and --without-cuda-libraries" ;;
    *) if [ -z "$out" ]; then out=$word; elif [ -z "$build" ]; then build=$word; else fail "what is '$word'?"; fi ;;
  esac
done
[ -n "$out" ] || fail "wanted: jobs/bundle.sh OUT.tar.gz|FOLDER [BUILD] [--with-tests[=REGEX]] [--with-libc] [--without-cuda-libraries]"
source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${build:-$source_root/build}
[ -x "$build/jobs/athanor" ] || fail "no program at $build/jobs/athanor; build it first (jobs/setup.sh, cmake, ninja)"
command -v ompi_info > /dev/null || fail "no ompi_info here: the bundle carries Open MPI, the MPI of the build must be that"

case $out in
  *.tar.gz | *.tgz) scratch=$(mktemp -d) root=$scratch/athanor ;;
  *) scratch="" root=$out ;;
esac
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT
[ ! -e "$root" ] || fail "$root is there already; name a new folder"
mkdir -p "$root/lib" "$root/libexec" "$root/bin" "$root/openmpi"
root=$(cd "$root" && pwd)

# Open MPI is told by variables where its parts are; its launcher is asked for them here.
path_of() { ompi_info --parsable --path "$1" | cut -d: -f3; }
components=$(path_of pkglibdir) help_texts=$(path_of pkgdatadir) settings=$(path_of sysconfdir) mpi_bin=$(path_of bindir)
cp -rL "$components" "$root/openmpi/components"
cp -rL "$help_texts" "$root/openmpi/help"
mkdir -p "$root/openmpi/etc"
[ ! -d "$settings" ] || cp -rL "$settings/." "$root/openmpi/etc"
cp -L "$mpi_bin/mpirun" "$mpi_bin/orted" "$build/jobs/athanor" "$root/libexec/"
cp -L "$build/jobs/athanor_sandbox" "$root/libexec/"
if [ -n "$tests" ]; then
  find "$build/tests" -type f -perm -u+x ! -name '*.so' ! -name '*.sh' | while read -r program; do
    if [[ ${program##*/} =~ $tests ]]; then cp "$program" "$root/libexec/"; fi
  done
  mkdir "$root/tests"
  cp "$source_root"/tests/bench/gpu_day*.sh "$root/tests/"
fi
# Names of functions in stacks are in the dynamic table, which stays.
! command -v strip > /dev/null || strip "$root"/libexec/*
cp -r "$source_root/configs" "$root/configs"

# Every library that these and the components need, but the C library and the driver of a GPU, which are the target's,
# and, where asked so, those of CUDA's that are large. Its runtime is small, and of the version the kernels want.
is_of_the_target() {
  case $1 in
    libcuda.so.* | libnvidia-*) return 0 ;;
    libcublas* | libnccl*) [ $without_cuda -eq 1 ] ;;
    ld-linux* | libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | librt.so.* | libresolv.so.* | libutil.so.*) [ $with_libc -eq 0 ] ;;
    *) return 1 ;;
  esac
}
take_libraries() { # take_libraries FILE...: those that the dynamic linker finds for them here
  ldd "$@" 2> /dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => \(\/[^ ]*\) .*/\1 \2/p; s/^[[:space:]]*\(\/[^ ]*ld-linux[^ ]*\) .*/\1 \1/p' |
    sort -u | while read -r name path; do
    name=${name##*/}
    is_of_the_target "$name" || [ -e "$root/lib/$name" ] || cp -L "$path" "$root/lib/$name"
  done
}
missing=$(ldd "$root"/libexec/* 2> /dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' | sort -u | tr '\n' ' ')
[ -z "$missing" ] || fail "the programs need libraries that are not found here: $missing"
take_libraries "$root"/libexec/*
# A component whose library is missing here could not be used here either.
for component in "$root"/openmpi/components/*.so; do
  if ldd "$component" 2> /dev/null | grep -q 'not found'; then rm "$component"; else echo "$component"; fi
done | xargs -r ldd 2> /dev/null | sed -n 's/^[[:space:]]*[^ ]* => \(\/[^ ]*\) .*/\1/p' | sort -u > "$root/libraries.list"
while read -r path; do
  name=${path##*/}
  is_of_the_target "$name" || [ -e "$root/lib/$name" ] || cp -L "$path" "$root/lib/$name"
done < "$root/libraries.list"
# PMIx, where it is a library of its own, has components too.
if pmix=$(grep '/libpmix\.so' "$root/libraries.list"); then
  pmix=$(dirname "$(readlink -f "$pmix")")/pmix
  [ ! -d "$pmix" ] || cp -rL "$pmix" "$root/openmpi/pmix"
fi
rm "$root/libraries.list"
if [ $without_cuda -eq 1 ]; then
  ldd "$root"/libexec/* 2> /dev/null | sed -n 's/^[[:space:]]*\(lib\(cublas\|nccl\)[^ ]*\) => .*/\1/p' | sort -u > "$root/libexec/cuda_libraries"
  [ -s "$root/libexec/cuda_libraries" ] || fail "--without-cuda-libraries: the programs of $build use none"
fi

cat > "$root/libexec/environment.sh" << 'END'
# Read by the scripts in bin, with $root set: where the parts of the bundle are.
export OPAL_PREFIX=$root OPAL_BINDIR=$root/bin OPAL_LIBDIR=$root/lib OPAL_PKGLIBDIR=$root/openmpi/components
export OPAL_PKGDATADIR=$root/openmpi/help OPAL_SYSCONFDIR=$root/openmpi/etc
export PMIX_INSTALL_PREFIX=$root PMIX_PKGLIBDIR=$root/openmpi/pmix PMIX_MCA_mca_base_component_path=$root/openmpi/pmix
export HOME=${HOME:-/tmp}  # PMIx ends with a fault where it is unset and the user has no entry in /etc/passwd
# Without ssh and outside Slurm there is this machine alone, and mpirun need not look for a way to others.
if [ -z "${SLURM_JOB_ID-}${OMPI_MCA_plm-}" ] && ! command -v ssh > /dev/null 2>&1 && ! command -v rsh > /dev/null 2>&1; then
  export OMPI_MCA_plm=isolated
fi
export ATHANOR_SANDBOX_HELPER=$root/libexec/athanor_sandbox
library_folders=$root/lib
[ ! -e "$root/libexec/cuda_libraries" ] ||
  library_folders=$library_folders${ATHANOR_CUDA_LIBRARIES:+:$ATHANOR_CUDA_LIBRARIES}:/usr/local/cuda/lib64
# require_libraries COMMAND...: says what the loader does not find, in place of its own words, which do not say what to do.
require_libraries() {
  [ -e "$root/libexec/cuda_libraries" ] || return 0
  missing=$(LD_TRACE_LOADED_OBJECTS=1 "$@" 2> /dev/null | while read -r name _ place _; do
    [ "$place" != not ] || printf ' %s' "$name"
  done)
  [ -n "$missing" ] || return 0
  printf '%s\n' "athanor: this bundle was made without CUDA's large libraries; of what it wants, this is not found:$missing" \
    "  Looked in: ATHANOR_CUDA_LIBRARIES (${ATHANOR_CUDA_LIBRARIES:-not set}), /usr/local/cuda/lib64, where the loader looks." \
    "  Set ATHANOR_CUDA_LIBRARIES to the folders that hold them, with colons between. Where Python's packages brought them:" \
    "  export ATHANOR_CUDA_LIBRARIES=\$(python3 -c 'import glob, sys; print(\":\".join(f for p in sys.path for f in glob.glob(p + \"/nvidia/*/lib\")))')" >&2
  exit 127
}
if [ -x "$root/lib/ld-linux-x86-64.so.2" ]; then
  # The bundle's own C library, for its own programs only: in LD_LIBRARY_PATH it would meet the loader of others.
  unset LD_LIBRARY_PATH
  start() {
    program=$1
    shift
    require_libraries "$root/lib/ld-linux-x86-64.so.2" --library-path "$library_folders" "$program"
    exec "$root/lib/ld-linux-x86-64.so.2" --library-path "$library_folders" "$program" "$@"
  }
else
  export LD_LIBRARY_PATH=$library_folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  start() {
    require_libraries "$1"
    exec "$@"
  }
fi
END
for program in "$root"/libexec/*; do
  name=${program##*/}
  case $name in environment.sh | athanor_sandbox | cuda_libraries) continue ;; esac
  options=""
  # mpirun starts $root/bin/orted on other machines, which finds its parts by itself.
  [ "$name" != mpirun ] || options='--prefix "$root" '
  cat > "$root/bin/$name" << END
#!/bin/sh
root=\$(cd "\${0%/*}/.." && pwd -P) && . "\$root/libexec/environment.sh" && start "\$root/libexec/$name" $options"\$@"
END
  chmod +x "$root/bin/$name"
done
for name in athanor mpirun; do
  printf '#!/bin/sh\ncase $0 in */*) here=${0%%/*} ;; *) here=. ;; esac\nexec "$here/bin/%s" "$@"\n' $name > "$root/$name"
  chmod +x "$root/$name"
done
arch=$(sed -n 's/^ATHANOR_ARCH:[^=]*=//p' "$build/CMakeCache.txt" 2> /dev/null || true)
libc=$(getconf GNU_LIBC_VERSION)
[ $with_libc -eq 1 ] && libc="$libc, in the bundle" || libc="$libc or newer, the target's"
gpus=$(sed -n 's/^CMAKE_CUDA_ARCHITECTURES:[^=]*=//p' "$build/CMakeCache.txt" 2> /dev/null || true)
grep -q '^CMAKE_CUDA_COMPILER:.*=/' "$build/CMakeCache.txt" 2> /dev/null || gpus=none
left=$(tr '\n' ' ' < "$root/libexec/cuda_libraries" 2> /dev/null || true)
printf 'kernels compiled for %s\nGPUs of compute capability %s\nlibraries left to the machine: %s\n%s\n%s\n' "${arch:-native}" "${gpus:-none}" "${left:-none}" "$libc" "$(ompi_info --parsable | sed -n 's/^ompi:version:full:/Open MPI /p')" > "$root/MADE_FOR"

if [ -n "$scratch" ]; then tar -C "$scratch" -czf "$out" athanor; fi
printf 'bundle: %s, %s\n' "$out" "$(du -sh "$root" | cut -f1)"
[ "${arch:-native}" != native ] || printf 'bundle: kernels are compiled for the CPU of this machine; see the head of jobs/bundle.sh for others\n'
