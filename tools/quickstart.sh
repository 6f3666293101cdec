#!/usr/bin/env bash
# From a clone to a trained network: install, build, train AlexNet's shape on Fashion-MNIST, evaluate,
# predict, draw. About three minutes on two cores after the installation.
#
#   tools/quickstart.sh [RUN_FOLDER]      default: runs/quickstart, or the next free number
set -euo pipefail
cd "$(dirname "$0")/.."

tools/packages.sh dataset-fashion-mnist graphviz

bold='' plain=''
[[ ! -t 1 || -n ${NO_COLOR:-} ]] || { bold=$'\033[1m' plain=$'\033[0m'; }
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

say "Building"
cmake --preset release -DGR_TESTS=OFF >/dev/null
cmake --build build

run=${1:-runs/quickstart}
if [[ $# = 0 ]]; then
    for ((n = 2; ; n++)); do
        [[ -e $run ]] || break
        run=runs/quickstart-$n
    done
fi
runner=build/graph-runner model=models/alexnet-fashion.yaml

say "Training $model on Fashion-MNIST: 60,000 images of ten kinds of clothes"
"$runner" train "$model" --out "$run"

say "Evaluating on the 10,000 test images"
"$runner" eval "$model" --weights "$run/best.safetensors" --csv "$run/test.csv"

say "Predicting the first of them"
"$runner" predict "$model" --weights "$run/best.safetensors" --part test --count 6 --top 3

say "Drawing the training graph"
"$runner" dot "$model" --mode train -o "$run/graph.svg"
echo "The picture is $run/graph.svg; curves, filters and all figures of the run: $run/report.html."
