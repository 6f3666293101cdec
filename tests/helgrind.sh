#!/usr/bin/env bash
# Look for data races and misused locks with valgrind's helgrind: tests/helgrind.sh [TEST...]
#
# Runs the tests of what has threads, or those named, and a short training with checkpoints, with one
# thread of OpenMP and again with two. helgrind knows locks and threads, but no futexes: tests/helgrind.c
# tells it what OpenMP does with them, and tests/helgrind.supp leaves out what is not ours.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;;
-*) echo "tests/helgrind.sh: unknown option $1 (see --help)" >&2 && exit 2 ;;
esac

build="build-helgrind"
cmake --preset helgrind >/dev/null
cmake --build "$build" --target threaded
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_WAIT_POLICY=passive
status=0

# NAME THREADS COMMAND: the command under helgrind; what it says goes to a file, shown on failure.
check() {
    local name=$1 threads=$2 log=$folder/log start=$SECONDS
    shift 2
    if OMP_NUM_THREADS=$threads timeout 3600 valgrind --tool=helgrind --error-exitcode=99 \
        --trace-children=yes --trace-children-skip='*/dot,*/sh,*/rm' --num-callers=30 \
        --suppressions=tests/helgrind.supp --log-file="$log.%p" "$@" >"$folder/out" 2>&1 &&
        ! grep -q 'ERROR SUMMARY: [1-9]' "$log".*; then
        echo "$name, threads $threads: ok ($((SECONDS - start)) s)"
    else
        cat "$folder/out" "$log".*
        echo "$name, threads $threads: failed ($((SECONDS - start)) s)"
        status=1
    fi
    rm -f "$log".*
}

tests=("$@")
[[ $# -gt 0 ]] || mapfile -t tests < <(ctest --test-dir "$build" -L threads -N |
    sed -n 's/.*Test *#[0-9]*: //p')
for threads in 1 2; do
    for test in "${tests[@]}"; do
        check "$test" "$threads" "$build/$test"
    done
    [[ $# -gt 0 ]] || check "training" "$threads" "$build/graph-runner" train models/lenet.yaml \
        --out "$folder/run-$threads" --batch 16 --epochs 2 --tune off --quiet \
        --set 'train.checkpoint={steps: 3}' --set 'data={train: {synthetic: {count: 96}}}'
done
exit "$status"
