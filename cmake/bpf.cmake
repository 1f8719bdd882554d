# weir_bpf_object(NAME ARRAY): compiles src/io/bpf/NAME.bpf.c for the kernel's machine and leaves it as the
# byte array ARRAY of generated/io/bpf/NAME_bpf_object.h.
find_program(BPF_CLANG NAMES clang-19 clang REQUIRED)

function(weir_bpf_object name array)
  set(source ${CMAKE_SOURCE_DIR}/src/io/bpf/${name}.bpf.c)
  set(object ${CMAKE_BINARY_DIR}/generated/io/bpf/${name}.bpf.o)
  set(header ${CMAKE_BINARY_DIR}/generated/io/bpf/${name}_bpf_object.h)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated/io/bpf)
  add_custom_command(
    OUTPUT ${header}
    COMMAND ${BPF_CLANG} -O2 -g -target bpf -Wall -Werror -I/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -c ${source} -o ${object}
    COMMAND ${CMAKE_COMMAND} -DOBJECT=${object} -DHEADER=${header} -DNAME=${array}
            -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${source} ${CMAKE_SOURCE_DIR}/src/io/bpf/live_slot.h ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    VERBATIM)
  add_custom_target(bpf_${name} DEPENDS ${header})
endfunction()
