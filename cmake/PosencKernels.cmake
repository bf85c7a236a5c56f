# SPDX-License-Identifier: MIT
#
# posenc::kernels: what does not depend on an encoding, compiled once for a program of many files. A
# static library of the project that uses it, compiled with that project's flags; what links it need not
# be changed. Files of another baseline (-m flags), executor or set of levels remain header-only.

# posenc_add_kernels(<folder of the sources>): defines posenc::kernels, built only where it is linked.
function(posenc_add_kernels folder)
  if(TARGET posenc::kernels)
    return()
  endif()
  add_library(posenc_kernels STATIC EXCLUDE_FROM_ALL
    "${folder}/float.cpp" "${folder}/double.cpp" "${folder}/bfloat16.cpp" "${folder}/float16.cpp"
    "${folder}/components.cpp" "${folder}/definitions.cpp" "${folder}/mixers.cpp"
    "${folder}/convolution.cpp")
  add_library(posenc::kernels ALIAS posenc_kernels)
  target_link_libraries(posenc_kernels PUBLIC posenc::posenc)
  # The sources define different macros before they include the same headers, so they cannot be joined.
  set_target_properties(posenc_kernels PROPERTIES UNITY_BUILD OFF)

  # Which baseline the flags of this project make, as include/posenc/core/abi.hpp names it.
  get_target_property(includes posenc::posenc INTERFACE_INCLUDE_DIRECTORIES)
  string(REGEX REPLACE "\\$<BUILD_INTERFACE:([^>]*)>" "\\1" includes "${includes}")
  string(REGEX REPLACE "\\$<INSTALL_INTERFACE:[^>]*>" "" includes "${includes}")
  list(FILTER includes EXCLUDE REGEX "^$")
  list(TRANSFORM includes PREPEND "-I")
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${type}}")
  get_directory_property(options COMPILE_OPTIONS)
  list(APPEND flags ${options})
  if(CMAKE_CXX_COMPILER_TARGET)
    list(APPEND flags "--target=${CMAKE_CXX_COMPILER_TARGET}")
  endif()
  set(probe "${CMAKE_CURRENT_BINARY_DIR}/posenc_baseline.cpp")
  file(WRITE "${probe}" "#include <posenc/core/abi.hpp>\nbaseline POSENC_DETAIL_ISA\n")
  execute_process(
    COMMAND "${CMAKE_CXX_COMPILER}" ${flags} -std=c++20 ${includes} -E -P "${probe}"
    OUTPUT_VARIABLE answer RESULT_VARIABLE status ERROR_VARIABLE error)
  if(NOT status EQUAL 0 OR NOT answer MATCHES "baseline ([a-z0-9_]+)")
    message(FATAL_ERROR "posenc::kernels: cannot tell the baseline of this compiler: ${error}")
  endif()
  target_compile_definitions(posenc_kernels PUBLIC "POSENC_KERNELS=${CMAKE_MATCH_1}")
  if(DEFINED POSENC_LEVELS)
    set(levels)
    foreach(level IN ITEMS avx2 avx512 neon)
      if(level IN_LIST POSENC_LEVELS)
        string(APPEND levels 1)
      else()
        string(APPEND levels 0)
      endif()
    endforeach()
    string(REGEX REPLACE "^0+(.)" "\\1" levels "${levels}")
    target_compile_definitions(posenc_kernels PUBLIC "POSENC_KERNELS_LEVELS=${levels}")
  endif()
endfunction()
