# weir_bpf_object(NAME ARRAY): compiles src/io/bpf/NAME.bpf.c for the kernel's machine and leaves it as the
# byte array ARRAY of generated/io/bpf/NAME_bpf_object.h. Another folder than io/bpf may be named.
find_program(BPF_CLANG NAMES clang-19 clang REQUIRED)

function(weir_bpf_object name array)
  set(source ${CMAKE_SOURCE_DIR}/src/io/bpf/${name}.bpf.c)
  set(folder ${CMAKE_BINARY_DIR}/generated/io/bpf)
  if(ARGC GREATER 2)
    set(source ${CMAKE_SOURCE_DIR}/${ARGV2}/${name}.bpf.c)
    set(folder ${CMAKE_BINARY_DIR}/generated/${ARGV2})
  endif()
  set(object ${folder}/${name}.bpf.o)
  set(header ${folder}/${name}_bpf_object.h)
  file(MAKE_DIRECTORY ${folder})
  get_filename_component(beside ${source} DIRECTORY)
  file(GLOB included CONFIGURE_DEPENDS ${beside}/*.h)
  add_custom_command(
    OUTPUT ${header}
    COMMAND ${BPF_CLANG} -O2 -g -target bpf -Wall -Werror -I/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -c ${source} -o ${object}
    COMMAND ${CMAKE_COMMAND} -DOBJECT=${object} -DHEADER=${header} -DNAME=${array}
            -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${source} ${included} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    VERBATIM)
  add_custom_target(bpf_${name} DEPENDS ${header})
endfunction()
