#!/bin/sh
# SPDX-License-Identifier: MIT
#
#   sh bench/compare.sh [folder]
#
# Builds bench_attention, bench_policies and bench_backward, runs them and the scripts in bench/baselines, prints one
# table and draws one chart; everything is written to the folder (build/benchmarks). Some variables:
#
#   UP_TO=2048        leave out longer sequences (all of them take long)
#   PYTHON=...        the Python that has bench/baselines/requirements.txt; rows of packages that it
#                     has not are left out
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/benchmarks}
up_to=${UP_TO:-32768}
python=${PYTHON:-python3}

lengths=''
policies=8192
for tokens in 512 2048 8192 32768; do
  [ "$tokens" -gt "$up_to" ] || lengths=${lengths:+$lengths|}$tokens
done
if [ -z "$lengths" ]; then
  echo "bench/compare.sh: UP_TO must be at least 512, the shortest sequence, got $up_to." >&2
  exit 2
fi
[ "$policies" -le "$up_to" ] || policies=$up_to

sh cmake/packages.sh g++ cmake ninja-build libeigen3-dev libbenchmark-dev libopenblas-dev python3 gnuplot-nox
set -x
cmake -S . -B build/compare-benchmarks -G Ninja -D CMAKE_BUILD_TYPE=Release -D CMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" \
  -D POSENC_BUILD_TESTS=OFF -D POSENC_BUILD_EXAMPLES=OFF -D POSENC_BUILD_BENCHMARKS=ON
cmake --build build/compare-benchmarks --target bench_attention bench_policies bench_backward
mkdir -p "$out"
rm -f "$out"/*.json
build/compare-benchmarks/bench/bench_attention --benchmark_filter="/($lengths)/" \
  --benchmark_out="$out/attention.json" --benchmark_out_format=json
build/compare-benchmarks/bench/bench_policies --tokens="$policies" \
  --benchmark_out="$out/policies.json" --benchmark_out_format=json
build/compare-benchmarks/bench/bench_backward --benchmark_filter="/($lengths)/" \
  --benchmark_out="$out/backward.json" --benchmark_out_format=json
for script in pytorch pytorch_backward onnx_runtime; do
  # 3: the package is missing, which the script has said.
  "$python" "bench/baselines/$script.py" --up-to "$up_to" --out "$out/$script.json" || [ $? -eq 3 ]
done
python3 bench/report.py "$out"
