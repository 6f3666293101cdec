#!/usr/bin/env bash
# Look for mistakes without running anything: tests/analyze.sh [--deep]
#
#   --deep   clang's static analyzer instead of clang-tidy, to be read by hand: it takes minutes, and
#            does not know that gr_fail returns false, so what it says of NULL after that is wrong
#
# clang-tidy (.clang-tidy says what it looks for), cppcheck (tests/cppcheck.supp: what it is wrong
# about) and gcc's analyzer go over runtime, ops and tools. Other versions find other things, so a
# tool counts only in the version of Debian 12.
set -euo pipefail
cd "$(dirname "$0")/.."

deep=
case ${1:-} in
--deep) deep=yes ;;
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
?*) echo "tests/analyze.sh: unknown option $1 (see --help)" >&2 && exit 2 ;;
esac

build=build-analyze
CC=gcc cmake --preset release -B "$build" -DGR_TESTS=OFF -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_C_FLAGS_DEBUG=-O0 -DGR_WERROR=ON -DGR_ANALYZE=ON >/dev/null
mkdir -p "$build/clang" # the same commands without what only gcc knows
sed -E 's/ -W?(no-|fno-|f)analyzer[a-z-]*//g' "$build/compile_commands.json" \
    >"$build/clang/compile_commands.json"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0

# Runs the tool named first, if its version is the wanted one; then the command.
check() {
    local name=$1 wanted=$2 is=$3
    shift 3
    if [[ $is != *"$wanted"* ]]; then
        echo "$name: not checked (needs version $wanted)"
        return
    fi
    local start=$SECONDS
    if "$@" >"$log" 2>&1; then
        echo "$name: ok ($((SECONDS - start)) s)"
    else
        cat "$log"
        echo "$name: failed ($((SECONDS - start)) s)"
        status=1
    fi
}

tidy() {
    local more=()
    [[ -z $deep ]] || more=(--checks="-*,clang-analyzer-*,-clang-analyzer-optin.performance.Padding,\
-clang-analyzer-security.*,-clang-analyzer-valist.Uninitialized")
    printf '%s\0' runtime/*/*.c ops/*.c tools/*.c |
        xargs -0 -n 8 -P "$(nproc)" clang-tidy -p "$build/clang" --quiet "${more[@]}" \
            --extra-arg=-Wno-unknown-warning-option
}

check "gcc -fanalyzer" 12. "$(gcc -dumpfullversion 2>/dev/null || true)" \
    cmake --build "$build" -- -k 0
cmake --build "$build" --target page_files.c >/dev/null # which cppcheck misses
check clang-tidy 14. "$(clang-tidy --version 2>/dev/null || true)" tidy
check cppcheck 2.10 "$(cppcheck --version 2>/dev/null || true)" \
    cppcheck --project="$build/clang/compile_commands.json" -j "$(nproc)" --quiet --error-exitcode=1 \
    --enable=warning,performance,portability --suppressions-list=tests/cppcheck.supp \
    --suppress='*:*/page_files.c' --template='{file}:{line}: {message} [{id}]'
exit "$status"
