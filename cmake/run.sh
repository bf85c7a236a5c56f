#!/bin/sh
# SPDX-License-Identifier: MIT
#
#   sh cmake/run.sh test                  builds the library's tests and runs them
#   sh cmake/run.sh compare [options]     builds examples/compare and ranks schemes for a model
#   sh cmake/run.sh lab [options]         builds examples/lab and judges encodings by small models
#   sh cmake/run.sh evaluate [options]    builds examples/evaluate and reads a text with a language model
#
# For Debian and its relatives: packages that are missing are installed with apt-get (with sudo when
# not root). Elsewhere, install CMake 3.25, Ninja, a C++20 compiler, Eigen 3.4, nlohmann-json, CLI11
# and Catch2 yourself; the rest is the same. Every command is printed before it runs.
set -eu
cd "$(dirname "$0")/.."

# What `compare` shows when no options are given; its pictures and page are in build/report.
model=examples/models/llama-3.1-8b.json

tools="g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libcli11-dev"

# run_example <name> <arguments>...: builds it, and runs it.
run_example() {
  name=$1
  shift
  set -x
  cmake -S . -B build/compare -G Ninja -D CMAKE_BUILD_TYPE=Release \
    -D POSENC_BUILD_TESTS=OFF -D POSENC_BUILD_BENCHMARKS=OFF
  cmake --build build/compare --target "$name"
  "build/compare/examples/$name" "$@"
}

case "${1:-}" in
  test)
    # shellcheck disable=SC2086 # one word for each package
    sh cmake/packages.sh $tools catch2 libpcre2-dev libutf8proc-dev pkg-config python3
    set -x
    cmake --preset release -D POSENC_BUILD_BENCHMARKS=OFF -D POSENC_TEST_FLAGS=-O0
    cmake --build --preset release
    ctest --preset release
    ;;
  compare)
    shift
    case "$*" in  # a model with weights has a tokenizer and multiplies matrices
      *.gguf*) weights="libpcre2-dev pkg-config libopenblas-dev" ;;
      *) weights= ;;
    esac
    # shellcheck disable=SC2086
    sh cmake/packages.sh $tools gnuplot-nox $weights
    # Options alone (`--all`) are about that model too.
    case "${1-}" in
      '' | -*)
        named='' previous=''
        for argument; do
          case "$previous" in --out | --text) ;; *) [ ! -e "$argument" ] || named=yes ;; esac
          previous=$argument
        done
        case " $* " in *" --help "* | *" -h "*) named=yes ;; esac
        if [ -z "$named" ]; then
          case " $* " in *" --out"[\ =]*) ;; *) set -- --out build/report "$@" ;; esac
          set -- "$model" "$@"
        fi
        ;;
    esac
    run_example compare "$@"
    ;;
  lab)
    shift
    # shellcheck disable=SC2086
    sh cmake/packages.sh $tools gnuplot-nox python3 python3-pip
    # One rule for the text: Shakespeare, unless the command names another or asks for help. (Where that cannot be had,
    # the program says that it reads generated text; the preset smoke always does, if no text is named.)
    case " $* " in
      *" --text"[\ =]* | *" --preset"[\ =]"smoke "* | *" --help "* | *" -h "*) ;;
      *) sh cmake/text.sh build/texts && set -- "$@" --text build/texts/shakespeare.txt ;;
    esac
    run_example lab "$@"
    ;;
  evaluate)
    shift
    # shellcheck disable=SC2086
    sh cmake/packages.sh $tools libpcre2-dev libutf8proc-dev pkg-config libopenblas-dev gnuplot-nox python3 python3-pip unzip
    if [ $# -eq 0 ]; then
      sh cmake/model.sh build/model
      sh cmake/text.sh build/texts
      set -- --model build/model/SmolLM2-135M-Instruct.Q4_1.gguf --text build/texts/paradise_lost.txt
    fi
    run_example evaluate "$@"
    ;;
  *)
    sed -n '4,7s/^# *//p' "$0" >&2
    exit 2
    ;;
esac
