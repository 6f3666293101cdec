# Writes text files as arrays of C:
#
#   cmake -DOUTPUT=FILE.c -DHEADER=FILE.h -DNAMES=gr_a,gr_b -DFILES=a.css,b.js -P embed.cmake
#
# gives `const char gr_a[]` and `const size_t gr_a_size` of a.css, and so on.
string(REPLACE "," ";" NAMES "${NAMES}")
string(REPLACE "," ";" FILES "${FILES}")
set(text "#include \"${HEADER}\"\n")
foreach(name file IN ZIP_LISTS NAMES FILES)
  file(READ "${file}" bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}") # 16 bytes a line
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(APPEND text "\nconst char ${name}[] = {\n${bytes}'\\0'};\nconst size_t ${name}_size = sizeof ${name} - 1;\n")
endforeach()
file(WRITE "${OUTPUT}" "${text}")
