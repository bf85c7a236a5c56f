# SPDX-License-Identifier: MIT
function(measure object bytes symbols)
  execute_process(COMMAND "${SIZE}" "${object}" OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "\n *([0-9]+)" ignored "${text}")
  set(${bytes} ${CMAKE_MATCH_1} PARENT_SCOPE)
  execute_process(COMMAND "${NM}" --defined-only "${object}" OUTPUT_VARIABLE text
    COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "\n" lines "${text}")
  list(LENGTH lines count)
  set(${symbols} ${count} PARENT_SCOPE)
endfunction()

measure("${ONE}" one_bytes one_symbols)
measure("${FIVE}" five_bytes five_symbols)
math(EXPR bytes "(${five_bytes} - ${one_bytes}) / 4")
math(EXPR symbols "(${five_symbols} - ${one_symbols}) / 4")
message("one encoding: ${one_bytes} bytes (at most ${MOST_FIRST_BYTES}), ${one_symbols} symbols; "
  "each further one: ${bytes} bytes "
  "(at most ${MOST_BYTES}), ${symbols} symbols (at most ${MOST_SYMBOLS})")
if(one_bytes GREATER MOST_FIRST_BYTES)
  message(FATAL_ERROR "A program of one encoding has more code than it may: see docs/simd.md.")
endif()
if(bytes GREATER MOST_BYTES OR symbols GREATER MOST_SYMBOLS)
  message(FATAL_ERROR "An encoding adds more to a program than it may: see docs/contributing.md.")
endif()
