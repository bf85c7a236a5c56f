# SPDX-License-Identifier: MIT
#
# cmake -D compiler=<c++> -D compiler_id=<GNU or Clang> -D include_dirs=<list> [-D headers=<headers.hpp>]
#       -D file=<file.cpp> -P check.cmake
#
# Compiles the file, behind headers that may be given, and succeeds when that fails with every sentence that
# the file expects. With an empty <file>: compiles the headers, once for all files.
cmake_minimum_required(VERSION 3.25)

list(REMOVE_ITEM include_dirs "")
list(TRANSFORM include_dirs PREPEND "-I")
set(ENV{LC_ALL} C)
# Source lines are not shown, so that only what the compiler says is searched.
if(compiler_id STREQUAL "GNU")
  set(compile "${compiler}" -std=c++20 -fno-diagnostics-show-caret ${include_dirs})
else()
  set(compile "${compiler}" -std=c++20 -fno-caret-diagnostics ${include_dirs})
endif()
if(file STREQUAL "")
  execute_process(COMMAND ${compile} -x c++-header "${headers}" -o "${headers}.gch"
    COMMAND_ERROR_IS_FATAL ANY)
  return()
endif()

# Brackets and semicolons mean something in CMake lists; sentences are compared without them.
function(plain text output)
  string(REGEX REPLACE "[][;\\]" "" text "${text}")
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

file(READ "${file}" source)
plain("${source}" source)
string(REGEX MATCHALL "// expect: [^\n]+" expectations "${source}")
cmake_path(GET file FILENAME name)
if(NOT expectations)
  message(FATAL_ERROR "${name} has no line `// expect: <part of the sentence>`.")
endif()

if(headers)
  list(APPEND compile -include "${headers}")
endif()
execute_process(
  COMMAND ${compile} -fsyntax-only "${file}"
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(status EQUAL 0)
  message(FATAL_ERROR "${name} compiles, but must not.")
endif()

plain("${output}" searched)
foreach(expectation IN LISTS expectations)
  string(REGEX REPLACE "^// expect: " "" sentence "${expectation}")
  string(STRIP "${sentence}" sentence)
  string(FIND "${searched}" "${sentence}" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "${name} fails to compile, but without the sentence\n  ${sentence}\n"
      "The compiler says:\n${output}")
  endif()
endforeach()
message(STATUS "${name} fails to compile, as expected.")
