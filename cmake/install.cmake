# `make install` and the package share this: program, preload library where the program looks for it
# (base/preload_library.cc), manual pages, completion, units, examples and documentation. Only the
# package has what belongs to the host (component `host`): /etc, users, folders.
include(GNUInstallDirs)
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME program)
set(documents ${CMAKE_INSTALL_DATADIR}/doc/weir)

install(TARGETS weir RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS weir-preload LIBRARY DESTINATION lib/weir)

install(FILES src/netlink/event_filter.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weir)

install(DIRECTORY examples/ DESTINATION ${documents}/examples)
install(DIRECTORY docs/ DESTINATION ${documents} FILES_MATCHING PATTERN "*.md")
install(FILES README.md LICENSE packaging/dashboard.json packaging/alerts.yml DESTINATION ${documents})
install(DIRECTORY LICENSES DESTINATION ${documents})

install(FILES man/weir.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES man/weir.toml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES man/weir-run.8 man/weir-conntrack.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES packaging/weir.bash-completion RENAME weir
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

# The unit names the program, whose folder is known only when it is installed.
install(CODE "set(source \"${CMAKE_SOURCE_DIR}\")\nset(build \"${CMAKE_BINARY_DIR}\")" COMPONENT host)
install(CODE [[
  set(WEIR "${CMAKE_INSTALL_PREFIX}/bin/weir")
  configure_file("${source}/packaging/weir.service.in" "${build}/weir.service" @ONLY)
  file(INSTALL "${build}/weir.service" "${source}/packaging/weir.socket"
       DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/systemd/system")
]] COMPONENT host)
install(FILES packaging/weir.sysusers RENAME weir.conf DESTINATION lib/sysusers.d COMPONENT host)
install(FILES packaging/weir.tmpfiles RENAME weir.conf DESTINATION lib/tmpfiles.d COMPONENT host)
install(FILES packaging/weir.toml DESTINATION /etc/weir COMPONENT host)
install(FILES packaging/debian/copyright packaging/debian/changelog DESTINATION ${documents} COMPONENT host)
