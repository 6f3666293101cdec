#!/usr/bin/env bash
# Fuzz the parsers: tests/fuzz/run.sh [--seconds N] [--jobs N] [TARGET...]
#
#   --seconds N   for each target (default 10)
#   --jobs N      targets at a time (default: all cores)
#   TARGET        model, image, ...: fuzz_TARGET.c (default: all of them)
#
# Needs clang with libFuzzer. What is found on the way is kept in build-fuzz/found/TARGET and is where
# the next run goes on; an input that fails is written to build-fuzz/failed and ends in exit code 1.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=10 jobs=$(nproc) targets=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --seconds) seconds=$2 && shift ;;
    --jobs) jobs=$2 && shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) echo "tests/fuzz/run.sh: unknown option $1 (see --help)" >&2 && exit 2 ;;
    *) targets+=("$1") ;;
    esac
    shift
done
if [[ ${#targets[@]} -eq 0 ]]; then
    for file in tests/fuzz/fuzz_*.c; do
        file=${file##*/fuzz_} && targets+=("${file%.c}")
    done
fi

cmake --preset fuzz >/dev/null
cmake --build build-fuzz >/dev/null
bin=build-fuzz/tests/fuzz
mkdir -p build-fuzz/failed
$bin/fuzz_seeds $bin/corpus
$bin/fuzz_dictionary >$bin/model.dict

fuzz_one() {
    local target=$1 seconds=$2 bin=build-fuzz/tests/fuzz seeds=() options=() log
    log=$bin/$target.log
    mkdir -p "build-fuzz/found/$target"
    for folder in $bin/corpus/$target tests/fuzz/regressions/$target; do
        [[ -d $folder ]] && seeds+=("$folder")
    done
    case $target in
    model) seeds+=(models tests/bad_models) options=(-dict=$bin/model.dict -max_len=4096) ;;
    set) options=(-dict=$bin/model.dict -max_len=512) ;;
    image | imagenet | webdataset | cifar) options=(-max_len=8192) ;;
    report) options=(-dict=tests/fuzz/json.dict -max_len=8192) ;;
    *) options=(-dict=tests/fuzz/json.dict -max_len=2048) ;;
    esac
    if OMP_NUM_THREADS=1 nice $bin/fuzz_$target -max_total_time="$seconds" -timeout=20 \
        -rss_limit_mb=1024 -close_fd_mask=3 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/failed/$target-" "${options[@]}" \
        "build-fuzz/found/$target" "${seeds[@]}" >"$log" 2>&1; then
        echo "fuzz_$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions"
    else
        tail -n 40 "$log"
        echo "fuzz_$target: failed; the input is in build-fuzz/failed"
        return 1
    fi
}
export -f fuzz_one
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c "fuzz_one {} $seconds" ||
    { echo "fuzzing: failed" && exit 1; }
