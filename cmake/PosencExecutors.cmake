# SPDX-License-Identifier: MIT
#
# posenc::openmp and posenc::tbb: posenc::posenc with threads. What links one of them has that
# executor as its default (include/posenc/executor/any_executor.hpp), and the dependency that it
# needs; posenc::posenc needs neither. Each exists where its dependency is found; nothing is
# downloaded for it.
#
# POSENC_EXECUTOR is the default executor of posenc::posenc itself, in this build only: of posenc's
# own tests, examples and benchmarks, or of a whole project that adds posenc as a subdirectory. The
# installed posenc::posenc is serial whatever it says.
set(POSENC_EXECUTOR serial CACHE STRING
  "Default executor of posenc::posenc in this build: serial, openmp or tbb")
set_property(CACHE POSENC_EXECUTOR PROPERTY STRINGS serial openmp tbb)
if(NOT POSENC_EXECUTOR MATCHES "^(serial|openmp|tbb)$")
  message(FATAL_ERROR "POSENC_EXECUTOR must be serial, openmp or tbb, got \"${POSENC_EXECUTOR}\".")
endif()

if(NOT TARGET OpenMP::OpenMP_CXX)
  find_package(OpenMP QUIET COMPONENTS CXX)
endif()
if(NOT TARGET TBB::tbb)
  find_package(TBB QUIET)
endif()

# posenc_executor(<name> <target that it needs> <where to get it>)
function(posenc_executor name needed source)
  string(TOUPPER "POSENC_EXECUTOR_${name}" macro)
  if(TARGET ${needed})
    add_library(posenc_${name} INTERFACE)
    add_library(posenc::${name} ALIAS posenc_${name})
    target_link_libraries(posenc_${name} INTERFACE posenc::posenc ${needed})
    target_compile_definitions(posenc_${name} INTERFACE ${macro})
  endif()
  if(POSENC_EXECUTOR STREQUAL name)
    if(NOT TARGET ${needed})
      message(FATAL_ERROR "POSENC_EXECUTOR is ${name}, but ${needed} was not found (${source}).")
    endif()
    target_link_libraries(posenc INTERFACE "$<BUILD_INTERFACE:${needed}>")
    target_compile_definitions(posenc INTERFACE "$<BUILD_INTERFACE:${macro}>")
  endif()
endfunction()

posenc_executor(openmp OpenMP::OpenMP_CXX "it comes with GCC; Debian's Clang needs libomp-dev")
posenc_executor(tbb TBB::tbb "Debian: libtbb-dev")
