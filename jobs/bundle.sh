#!/usr/bin/env bash
# Packs a built athanor into a folder that runs where nothing was installed: clusters without root, borrowed machines.
#   jobs/bundle.sh OUT.tar.gz|FOLDER [BUILD] [--with-tests] [--with-libc]
# BUILD is the build folder (default: build). In the folder: athanor and mpirun (start these), configs, lib (the shared
# libraries), openmpi (components and help), libexec (the programs themselves).
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
out="" build="" with_tests=0 with_libc=0
for word in "$@"; do
  case $word in
    --with-tests) with_tests=1 ;;
    --with-libc) with_libc=1 ;;
    -*) fail "$word is not known; there are --with-tests and --with-libc" ;;
    *) if [ -z "$out" ]; then out=$word; elif [ -z "$build" ]; then build=$word; else fail "what is '$word'?"; fi ;;
  esac
done
[ -n "$out" ] || fail "wanted: jobs/bundle.sh OUT.tar.gz|FOLDER [BUILD] [--with-tests] [--with-libc]"
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
[ $with_tests -eq 0 ] || find "$build/tests" -type f -perm -u+x ! -name '*.so' ! -name '*.sh' -exec cp -t "$root/libexec" {} +
cp -r "$source_root/configs" "$root/configs"

# Every library that these and the components need, but the C library and the driver of a GPU, which are the target's.
is_of_the_target() {
  case $1 in
    libcuda.so.* | libnvidia-*) return 0 ;;
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
if [ -x "$root/lib/ld-linux-x86-64.so.2" ]; then
  # The bundle's own C library, for its own programs only: in LD_LIBRARY_PATH it would meet the loader of others.
  unset LD_LIBRARY_PATH
  start() {
    program=$1
    shift
    exec "$root/lib/ld-linux-x86-64.so.2" --library-path "$root/lib" "$program" "$@"
  }
else
  export LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  start() { exec "$@"; }
fi
END
for program in "$root"/libexec/*; do
  name=${program##*/}
  case $name in environment.sh | athanor_sandbox) continue ;; esac
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
printf 'kernels compiled for %s\n%s\n%s\n' "${arch:-native}" "$libc" "$(ompi_info --parsable | sed -n 's/^ompi:version:full:/Open MPI /p')" > "$root/MADE_FOR"

if [ -n "$scratch" ]; then tar -C "$scratch" -czf "$out" athanor; fi
printf 'bundle: %s, %s\n' "$out" "$(du -sh "$root" | cut -f1)"
[ "${arch:-native}" != native ] || printf 'bundle: kernels are compiled for the CPU of this machine; see the head of jobs/bundle.sh for others\n'
