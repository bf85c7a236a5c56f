# SPDX-License-Identifier: MIT
#
# Settings for building the tests, examples and benchmarks of posenc itself. Users of the library
# never see them.
if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_CXX_EXTENSIONS OFF)

  get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT CMAKE_BUILD_TYPE AND NOT multi_config)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Type of build" FORCE)
  endif()

  find_program(POSENC_CCACHE ccache)
  if(POSENC_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    # The second word lets it serve files that use a precompiled header.
    set(CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros;${POSENC_CCACHE}")
  endif()
endif()

# The kernels, which do the work of a test, are built with the flags of users; checking what they did
# compiles much faster without optimisation.
set(POSENC_TEST_FLAGS "" CACHE STRING
  "Compiler options of the tests and examples, but not of the kernels that they use, such as -O0")

# Where benchmarks are only built, and not run, they need no optimisation either.
set(POSENC_BENCH_FLAGS "" CACHE STRING
  "Compiler options of the benchmarks, but not of the kernels that they use, such as -O0")

# posenc_quick_gcc(<target>): GCC gathers its own garbage so often that this takes a sixth of the time; here
# only beyond half a gigabyte.
function(posenc_quick_gcc target)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE --param=ggc-min-heapsize=524288)
  endif()
endfunction()
posenc_quick_gcc(posenc_kernels)

# posenc_strict(<target>): every warning of ours is an error. Dependencies are imported targets, so
# their headers count as system headers. `cmake --compile-no-warning-as-error` turns the errors back
# into warnings, for compilers that are newer than this list.
function(posenc_strict target)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow -Wpedantic)
    if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PRIVATE -Wno-psabi)  # a note on an ABI change of GCC 10
    endif()
    posenc_quick_gcc(${target})
    set_target_properties(${target} PROPERTIES COMPILE_WARNING_AS_ERROR ON)
  endif()
endfunction()

# posenc_own_rules(): adds the folders of the current one that have a CMakeLists.txt.
function(posenc_own_rules)
  file(GLOB rules RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" CONFIGURE_DEPENDS */CMakeLists.txt)
  foreach(rule IN LISTS rules)
    cmake_path(GET rule PARENT_PATH folder)
    add_subdirectory(${folder})
  endforeach()
endfunction()
