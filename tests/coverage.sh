#!/usr/bin/env bash
# Print what share of the code's lines the tests run: tests/coverage.sh [BUILD]
#
# Builds the preset `coverage` and runs all tests; with BUILD, a folder built with GR_COVERAGE whose
# tests have run, only reports. Fails below 90 %.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
-h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0" && exit 0 ;;
-*) echo "tests/coverage.sh: unknown option $1 (see --help)" >&2 && exit 2 ;;
esac
build=${1:-build-coverage}
if ! command -v gcovr >/dev/null; then
    echo "coverage: not measured (needs gcovr)"
    exit 0
fi
if [[ -z ${1:-} ]]; then
    cmake --preset coverage >/dev/null
    cmake --build "$build"
    find "$build" -name '*.gcda' -delete
    OMP_WAIT_POLICY=passive ctest --test-dir "$build" --output-on-failure -j "$(nproc)"
fi

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
gcovr --root . --object-directory "$build" --filter 'runtime/' --filter 'ops/' --filter 'tools/' \
    -j "$(nproc)" --csv --output "$lines" "$build"
awk -F, '
    NR > 1 {
        folder = $1
        sub("/[^/]*$", "", folder)
        all[folder] += $2; run[folder] += $3
        total += $2; total_run += $3
        missed[$1] = $2 - $3; of[$1] = $2
    }
    END {
        printf "%-32s %7s %7s\n", "folder", "lines", "run"
        sort = "sort"
        for (f in all)
            printf "%-32s %7d %6.1f %%\n", f, all[f], 100 * run[f] / all[f] | sort
        close(sort)
        printf "%-32s %7d %6.1f %%\n\n", "all", total, 100 * total_run / total
        print "most lines that no test runs:"
        sort = "sort -k1,1nr | head -n 12"
        for (f in missed)
            printf "%5d of %4d  %s\n", missed[f], of[f], f | sort
        close(sort)
        exit total_run < 0.9 * total
    }' "$lines" || {
    echo "coverage: less than 90 % of the lines"
    exit 1
}
