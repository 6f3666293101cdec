#!/usr/bin/env bash
# Make sure that the packages Graph Runner is built from are there: packages.sh [PACKAGE...]
#
# On Debian and Ubuntu, installs what is missing (with sudo when not root), and the packages given as
# well. Elsewhere, says what to install.
set -euo pipefail

build=(gcc libc6-dev cmake ninja-build pkg-config libdnnl-dev libopenblas-openmp-dev libyaml-dev
       libjpeg-dev libpng-dev libjansson-dev zlib1g-dev)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    for tool in cc cmake pkg-config; do
        command -v "$tool" >/dev/null || missing+=" $tool"
    done
    if [[ -n ${missing:-} ]]; then
        echo "Please install:$missing, and the development files of oneDNN (2.6 or later), OpenBLAS" >&2
        echo "(OpenMP build), libyaml, libjpeg-turbo, libpng, Jansson and zlib." >&2
        exit 1
    fi
    exit 0
fi

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

missing=()
for package in "${build[@]}" "$@"; do
    installed "$package" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || {
        echo "Please install, as root: apt-get install ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi
echo "Installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1 || {
    cat "$log" >&2
    echo "The installation failed; see above." >&2
    exit 1
}
