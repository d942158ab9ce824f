# install, and a package that find_package(athanor) finds.
include(CMakePackageConfigHelpers)
install(TARGETS athanor EXPORT athanor-targets)
install(EXPORT athanor-targets NAMESPACE athanor:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/athanor)
foreach(folder ops jit cache tuner runtime)
  install(DIRECTORY ${folder}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/athanor/${folder} FILES_MATCHING PATTERN "*.h")
endforeach()
configure_package_config_file(cmake/athanor-config.cmake.in ${CMAKE_BINARY_DIR}/athanor-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/athanor)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/athanor-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/athanor-config.cmake ${CMAKE_BINARY_DIR}/athanor-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/athanor)
