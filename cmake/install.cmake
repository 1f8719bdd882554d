# `make install`: the program, the preload library where the program looks for it
# (base/preload_library.cc), examples and documentation.
include(GNUInstallDirs)
install(TARGETS weir RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS weir-preload LIBRARY DESTINATION lib/weir)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/weir/examples)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/weir FILES_MATCHING PATTERN "*.md")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/weir)
if(EXISTS ${CMAKE_SOURCE_DIR}/README.md)
  install(FILES README.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/weir)
endif()
