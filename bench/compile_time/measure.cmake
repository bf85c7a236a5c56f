# SPDX-License-Identifier: MIT
#
# Compiles each of `sources` five times and prints the median processor time of each.
cmake_minimum_required(VERSION 3.25)

set(ENV{CCACHE_DISABLE} 1)  # the compiler may be one that is called through it

set(flags -std=c++20 -O2)
foreach(dir IN LISTS include_dirs)
  if(NOT dir MATCHES "^\\$<")
    list(APPEND flags -I "${dir}")
  endif()
endforeach()

# The time of the processor, not of the wall: the shell's `times` prints it for all it has run.
list(JOIN flags "' '" quoted)
foreach(source IN LISTS sources)
  set(times)
  foreach(turn RANGE 1 5)
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
  list(GET times 2 median)
  math(EXPR seconds "${median} / 100")
  math(EXPR rest "${median} % 100 + 100")
  string(SUBSTRING "${rest}" 1 2 rest)
  cmake_path(GET source STEM name)
  message(NOTICE "${name}: ${seconds}.${rest} s")
endforeach()
