# SPDX-License-Identifier: MIT
#
# Where dependencies come from: find_package first; when that fails and POSENC_FETCH_DEPENDENCIES is
# ON, the release named here is downloaded with FetchContent. FETCHCONTENT_SOURCE_DIR_<NAME> points
# it to a local copy instead, as always.
include(FetchContent)

set(POSENC_EIGEN_SOURCE GIT_REPOSITORY https://gitlab.com/libeigen/eigen.git GIT_TAG 3.4.0)
set(POSENC_nlohmann_json_SOURCE GIT_REPOSITORY https://github.com/nlohmann/json.git GIT_TAG v3.11.3)
set(POSENC_Catch2_SOURCE GIT_REPOSITORY https://github.com/catchorg/Catch2.git GIT_TAG v3.7.1)
set(POSENC_CLI11_SOURCE GIT_REPOSITORY https://github.com/CLIUtils/CLI11.git GIT_TAG v2.4.2)
set(POSENC_benchmark_SOURCE GIT_REPOSITORY https://github.com/google/benchmark.git GIT_TAG v1.9.1)

# posenc_want(<package>): defines the package's targets if it can; the caller looks whether they exist.
macro(posenc_want package)
  find_package(${package} QUIET)
  if(NOT ${package}_FOUND AND POSENC_FETCH_DEPENDENCIES)
    # Only the library itself is wanted, not its tests.
    set(BENCHMARK_ENABLE_TESTING OFF)
    set(BENCHMARK_ENABLE_INSTALL OFF)
    set(CLI11_BUILD_TESTS OFF)
    set(CLI11_BUILD_EXAMPLES OFF)
    set(JSON_BuildTests OFF)
    set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)
    FetchContent_Declare(${package} ${POSENC_${package}_SOURCE} GIT_SHALLOW ON SYSTEM)
    FetchContent_MakeAvailable(${package})
  endif()
endmacro()

# posenc_need_eigen(): Eigen3::Eigen, or a sentence that says how to get it. A fetched Eigen is used
# as the headers it is (SOURCE_SUBDIR names a folder without a project), because its own build
# configures thousands of tests.
macro(posenc_need_eigen)
  find_package(Eigen3 QUIET NO_MODULE)
  if(Eigen3_FOUND AND Eigen3_VERSION VERSION_LESS 3.4)
    message(FATAL_ERROR "posenc needs Eigen 3.4 or later, found ${Eigen3_VERSION} in ${Eigen3_DIR}.")
  endif()
  if(NOT TARGET Eigen3::Eigen AND POSENC_FETCH_DEPENDENCIES)
    FetchContent_Declare(eigen ${POSENC_EIGEN_SOURCE} GIT_SHALLOW ON SOURCE_SUBDIR headers-only)
    FetchContent_MakeAvailable(eigen)
    add_library(Eigen3::Eigen INTERFACE IMPORTED GLOBAL)
    target_include_directories(Eigen3::Eigen SYSTEM INTERFACE "${eigen_SOURCE_DIR}")
  endif()
  if(NOT TARGET Eigen3::Eigen)
    message(FATAL_ERROR
      "posenc needs Eigen 3.4 or later, and it was not found. Install it (Debian: libeigen3-dev), "
      "say where it is (-D Eigen3_DIR=...), or allow the download (-D POSENC_FETCH_DEPENDENCIES=ON).")
  endif()
endmacro()
