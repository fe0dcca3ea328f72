#!/usr/bin/env bash
# Installs what a bare Debian 12 / Ubuntu 24.04 machine lacks to build, run and test athanor. Does nothing, and needs no
# network, when everything is there. As root, or as a user who may call sudo without a password.
#   ATHANOR_SKIP_SETUP=1   skip it: the libraries come from elsewhere (modules of a cluster, another distribution)
set -euo pipefail

packages=(g++ cmake ninja-build ccache git pkg-config clang-format
  procps                              # tests look for processes
  libopenmpi-dev openmpi-bin          # processes, control plane, CPU collectives
  libhdf5-dev hdf5-tools              # checkpoints and token files
  libboost-program-options-dev        # options and configuration files
  libgtest-dev libbenchmark-dev       # tests
  libdnnl-dev ocl-icd-opencl-dev      # CPU matrix products; the CMake file of the first asks for the second
  bubblewrap                          # namespaces of the sandbox: rewards that run programs refuse to start without
  python3-minimal                     # what those programs are mostly written in
  nlohmann-json3-dev libfmt-dev libspdlog-dev libpcre2-dev libxxhash-dev zlib1g-dev)

fail() {
  printf 'setup: %s\n' "$1" >&2
  exit 1
}

if [ "${ATHANOR_SKIP_SETUP:-0}" = 1 ]; then
  echo "setup: skipped (ATHANOR_SKIP_SETUP=1)"
  exit 0
fi
command -v dpkg-query > /dev/null 2>&1 || fail "this is no Debian or Ubuntu system, so packages can not be looked up here.
  Install the equivalents of: ${packages[*]}
  and set ATHANOR_SKIP_SETUP=1."

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null 2>&1 && sudo -n true 2> /dev/null ||
      fail "not root, and sudo asks for a password or is missing. Ask an administrator for:
  apt-get install -y ${missing[*]}
  or set ATHANOR_SKIP_SETUP=1 when the libraries come from elsewhere."
    as_root=(sudo -n)
  fi
  echo "setup: installing ${missing[*]}"
  apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" < /dev/null; }
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  apt update > "$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get update failed; is the network there?"; }
  apt install -y --no-install-recommends "${missing[@]}" > "$log" 2>&1 ||
    { tail -n 20 "$log" >&2; fail "apt-get could not install ${missing[*]}"; }
fi

cmake_version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
[ "$(printf '3.25\n%s\n' "$cmake_version" | sort -V | head -n 1)" = 3.25 ] ||
  fail "CMake 3.25 or later is needed, found $cmake_version (Debian 12 and Ubuntu 24.04 have it)"
echo "setup: everything is here"
