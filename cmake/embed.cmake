# Writes the bytes of OBJECT as the C array NAME to HEADER.
file(READ ${OBJECT} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
file(WRITE ${HEADER} "#pragma once\n\nalignas(8) inline constexpr unsigned char ${NAME}[] = {${bytes}};\n")
