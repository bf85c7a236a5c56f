# SPDX-License-Identifier: MIT
#
# Compiles ${file} to ${assembly} and looks at the loops that apply a function to scores; see
# CMakeLists.txt.
cmake_minimum_required(VERSION 3.25)

list(FILTER include_dirs EXCLUDE REGEX "^$")
list(TRANSFORM include_dirs PREPEND "-isystem" OUTPUT_VARIABLE includes)
list(TRANSFORM definitions PREPEND "-D")
execute_process(
  # With compiled kernels the loops of the user's component are all that there are.
  COMMAND "${compiler}" -std=c++20 -O2 ${definitions} -S ${includes} "${file}" -o "${assembly}"
  RESULT_VARIABLE failed ERROR_VARIABLE errors)
if(failed)
  message(FATAL_ERROR "${file} does not compile:\n${errors}")
endif()

file(STRINGS "${file}" expectations REGEX "^// expect: ")
if(NOT expectations)
  message(FATAL_ERROR "${file} has no line \"// expect: <level> <registers>\".")
endif()

# The text between a label and the end of the function that it names, for each function.
file(READ "${assembly}" text)
string(REPLACE ";" "," text "${text}")
string(REPLACE "[" "(" text "${text}")
string(REPLACE "]" ")" text "${text}")
string(REPLACE ".cfi_endproc" ";" functions "${text}")

foreach(expectation IN LISTS expectations)
  string(REGEX REPLACE "^// expect: ([a-z0-9_]+) ([a-z]+)$" "\\1;\\2" words "${expectation}")
  list(GET words 0 level)
  list(GET words 1 registers)
  string(LENGTH "${level}" length)
  set(found 0)
  foreach(function IN LISTS functions)
    if(NOT function MATCHES "\n_Z[A-Za-z0-9_]*${length}${level}[0-9]+AttentionLeaves3mapIf[^\n]*:")
      continue()
    endif()
    string(REGEX REPLACE "^.*\n_Z[^\n]*:" "" body "${function}")
    math(EXPR found "${found} + 1")
    if(NOT body MATCHES "%${registers}")
      message(FATAL_ERROR "${file}: a loop of level ${level} has no ${registers} register.")
    endif()
    if(body MATCHES "\n[ \t]+callq?[ \t]+([^\n]*)")
      message(FATAL_ERROR "${file}: a loop of level ${level} calls ${CMAKE_MATCH_1}.")
    endif()
  endforeach()
  if(found EQUAL 0)
    message(FATAL_ERROR "${file}: there is no loop of level ${level} in ${assembly}.")
  endif()
  message(STATUS "${file}: ${found} loops of level ${level} use ${registers} registers")
endforeach()
