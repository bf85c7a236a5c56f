# SPDX-License-Identifier: MIT
#
# cmake -D compiler=<c++> -D include_dirs=<list> [-D headers=<headers.hpp>] -D file=<file.cpp> -P check.cmake
#
# Compiles the file, behind headers that may be given, and succeeds when that fails with every sentence that
# the file expects, each near the head of what the compiler says. With an empty <file>: compiles the headers,
# once for all files.
cmake_minimum_required(VERSION 3.25)

set(ENV{LC_ALL} C)
set(compile "${compiler}" -std=c++20)
# As in a user's build: the headers of other libraries are not warned about.
list(REMOVE_ITEM include_dirs "" /usr/include)
foreach(folder IN LISTS include_dirs)
  if(EXISTS "${folder}/posenc")
    list(APPEND compile "-I${folder}")
  else()
    list(APPEND compile -isystem "${folder}")
  endif()
endforeach()
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
string(REGEX MATCHALL "// expect( within [0-9]+ lines)?: [^\n]+" expectations "${source}")
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

# Compilers show source lines too, which hold our sentences without being their messages.
plain("${output}" searched)
string(REPLACE "\n" ";" lines "${searched}")
foreach(expectation IN LISTS expectations)
  string(REGEX MATCH "^// expect( within ([0-9]+) lines)?: (.*)$" matched "${expectation}")
  set(most "${CMAKE_MATCH_2}")
  string(STRIP "${CMAKE_MATCH_3}" sentence)
  if(NOT most)
    set(most 10)
  endif()
  set(place 0)
  set(number 0)
  foreach(line IN LISTS lines)
    math(EXPR number "${number} + 1")
    string(FIND "${line}" "${sentence}" found)
    if(NOT found EQUAL -1 AND line MATCHES "(error|note): ")
      set(place ${number})
      break()
    endif()
  endforeach()
  if(place EQUAL 0)
    message(FATAL_ERROR "${name} fails to compile, but without the sentence\n  ${sentence}\n"
      "The compiler says:\n${output}")
  endif()
  if(place GREATER most)
    message(FATAL_ERROR "${name}: the sentence\n  ${sentence}\nstands in line ${place} of what the "
      "compiler says, which is beyond ${most}:\n${output}")
  endif()
  message(STATUS "line ${place}: ${sentence}")
endforeach()
message(STATUS "${name} fails to compile, as expected.")
