# SPDX-License-Identifier: MIT
#
# Install rules: headers, the CMake package `posenc`, and posenc.pc. The library has no binaries, so
# all of it goes where files that suit every architecture go.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/posenc")
set(pkgconfig_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/posenc"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.inl")
install(TARGETS posenc EXPORT posencTargets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT posencTargets NAMESPACE posenc:: DESTINATION "${package_dir}")

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/posencConfig.cmake.in" "${PROJECT_BINARY_DIR}/posencConfig.cmake"
  INSTALL_DESTINATION "${package_dir}"
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/posencConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
# posenc::kernels is compiled in the project that asks for it.
install(DIRECTORY "${PROJECT_SOURCE_DIR}/cmake/kernels" DESTINATION "${package_dir}"
  FILES_MATCHING PATTERN "*.cpp")
install(FILES "${CMAKE_CURRENT_LIST_DIR}/PosencKernels.cmake" DESTINATION "${package_dir}")
install(FILES "${PROJECT_BINARY_DIR}/posencConfig.cmake" "${PROJECT_BINARY_DIR}/posencConfigVersion.cmake"
  DESTINATION "${package_dir}")

# Paths in the .pc file are relative to it, so an installed tree may be moved.
file(RELATIVE_PATH includedir_from_pc
  "${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig" "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/posenc.pc.in" "${PROJECT_BINARY_DIR}/posenc.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/posenc.pc" DESTINATION "${pkgconfig_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
