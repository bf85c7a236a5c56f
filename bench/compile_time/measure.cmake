# SPDX-License-Identifier: MIT
#
# Compiles each of `sources` three times in each of three ways and prints the median processor time: the
# headers alone, declared as posenc::kernels defines them (`linked`), and the latter behind a precompiled
# posenc.hpp.
cmake_minimum_required(VERSION 3.25)

set(ENV{CCACHE_DISABLE} 1)  # the compiler may be one that is called through it

set(header_only -std=c++20 -O2)
foreach(dir IN LISTS include_dirs)
  if(NOT dir MATCHES "^\\$<")
    list(APPEND header_only -isystem "${dir}")
  endif()
endforeach()
set(linked ${header_only})
foreach(definition IN LISTS kernels)
  list(APPEND linked "-D${definition}")
endforeach()
set(precompiled ${linked} -include "${object}.hpp")
file(WRITE "${object}.hpp" "#include <posenc/posenc.hpp>\n")
execute_process(
  COMMAND "${compiler}" ${linked} -x c++-header "${object}.hpp" -o "${object}.hpp.gch"
  COMMAND_ERROR_IS_FATAL ANY)

# The time of the processor, not of the wall: the shell's `times` prints it for all it has run.
function(measure way source)
  list(JOIN ${way} "' '" quoted)
  set(times)
  foreach(turn RANGE 1 3)
    execute_process(
      COMMAND sh -c "'${compiler}' '${quoted}' -c '${source}' -o '${object}' && times"
      OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "[0-9]+m[0-9]+[.,][0-9]+s" fields "${output}")
    list(GET fields 2 user)  # of the children
    string(REGEX MATCH "([0-9]+)m([0-9]+)[.,]([0-9][0-9])" _ "${user}")
    math(EXPR hundredths "(${CMAKE_MATCH_1} * 60 + ${CMAKE_MATCH_2}) * 100 + 1${CMAKE_MATCH_3} - 100")
    list(APPEND times ${hundredths})
  endforeach()
  list(SORT times COMPARE NATURAL)
  list(GET times 1 median)
  math(EXPR seconds "${median} / 100")
  math(EXPR rest "${median} % 100 + 100")
  string(SUBSTRING "${rest}" 1 2 rest)
  cmake_path(GET source STEM name)
  message(NOTICE "${name}, ${way}: ${seconds}.${rest} s")
endfunction()

foreach(source IN LISTS sources)
  measure(header_only "${source}")
  measure(linked "${source}")
  measure(precompiled "${source}")
endforeach()
