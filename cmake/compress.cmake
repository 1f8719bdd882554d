# Before the package is made: manual pages and changelog compressed, as Debian has them.
file(GLOB_RECURSE files "${CPACK_TEMPORARY_DIRECTORY}/usr/share/man/*"
     "${CPACK_TEMPORARY_DIRECTORY}/usr/share/doc/weir/changelog")
foreach(file IN LISTS files)
  execute_process(COMMAND gzip -9n "${file}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
