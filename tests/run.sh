#!/usr/bin/env bash
# Install what is needed, build, and run every test: tests/run.sh [OPTION...]
#
#   --sanitize      the same under the address and undefined-behaviour sanitizers
#   --threads       only tests of what has threads, under clang's thread sanitizer
#   --helgrind      the same tests and a short training under valgrind's helgrind, which takes long
#   --analyze       no tests: look for mistakes by clang-tidy, cppcheck and gcc's analyzer
#   --compiler CC   with this compiler instead of the default
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release compiler=() suffix= select=() targets=()
packages=(libcmocka-dev graphviz clang-format)
while [[ $# -gt 0 ]]; do
    case $1 in
    --sanitize) preset=dev ;;
    --threads)
        preset=tsan select=(-L threads) targets=(--target threaded)
        packages+=(clang libomp-dev)
        ;;
    --helgrind)
        tools/packages.sh libcmocka-dev valgrind
        exec tests/helgrind.sh
        ;;
    --analyze)
        tools/packages.sh clang-tidy cppcheck
        exec tests/analyze.sh
        ;;
    --compiler) compiler=(-DCMAKE_C_COMPILER="$2") suffix=-$2 && shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "tests/run.sh: unknown option $1 (see --help)" >&2 && exit 2 ;;
    esac
    shift
done

tools/packages.sh "${packages[@]}"

# The layout of the code, where the version of clang-format that defines it is at hand.
if command -v clang-format >/dev/null && clang-format --version | grep -q 'version 14\.'; then
    find runtime ops tools tests -name '*.[ch]' -print0 |
        xargs -0 clang-format --dry-run --Werror
    echo "format: ok"
else
    echo "format: not checked (needs clang-format 14)"
fi

case $preset in
release) build=build$suffix ;;
*) build=build-$preset$suffix ;;
esac
cmake --preset "$preset" -B "$build" -DGR_WERROR=ON "${compiler[@]}" >/dev/null
cmake --build "$build" "${targets[@]}"

# Waiting threads sleep, so that tests beside each other do not spin against each other. The leaks
# that remain are one-off allocations of the OpenMP runtime and the like.
export OMP_WAIT_POLICY=passive
# Archer tells the thread sanitizer what the OpenMP runtime does, and wants the second option.
export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp:ignore_noninstrumented_modules=1"
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
[[ $preset != dev ]] || export GR_FAULTS=${GR_FAULTS:-60} # slower here; see tests/faults/trial.h
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
ctest --test-dir "$build" "${select[@]}" --output-on-failure -j "$(nproc)" | tee "$log" || status=$?
total=$(sed -n 's/.*tests passed, [0-9]* tests failed out of \([0-9]*\)/\1/p' "$log")
failed=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of.*/\1/p' "$log")

# Every parser for a moment, where clang with libFuzzer is at hand (tests/fuzz/run.sh runs longer).
if [[ $preset = release && ${#compiler[@]} -eq 0 ]]; then
    if echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
        clang -fopenmp -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null; then
        tests/fuzz/run.sh --seconds 1 || status=1
    else
        echo "fuzzing: left out (needs clang with libFuzzer and OpenMP)"
    fi
fi
echo "$((${total:-0} - ${failed:-0})) passed, ${failed:-0} failed"
exit "$status"
