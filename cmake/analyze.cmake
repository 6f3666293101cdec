# gcc's analyzer over everything (GR_ANALYZE), with what version 12 is wrong about.
target_compile_options(gr_options INTERFACE -fanalyzer
  # It does not know that gr_fail returns false, so that what follows never sees the NULL.
  -Wno-analyzer-null-argument -Wno-analyzer-null-dereference
  -Wno-analyzer-possible-null-dereference
  # Vectors are ints to it, and arrays that a loop fills stay empty.
  -Wno-analyzer-shift-count-overflow -Wno-analyzer-use-of-uninitialized-value)

# Straight loops over vectors, without heap or files: nothing to find, and eight minutes.
file(GLOB VECTOR_SOURCES ops/*_avx*.c)
set_source_files_properties(${VECTOR_SOURCES} PROPERTIES COMPILE_OPTIONS -fno-analyzer)

# Memory that is handed over through pointers to pointers, and a stream that may be stdin.
set_source_files_properties(
  ops/conv_update.c ops/lrn_pool.c ops/onednn_memories.c
  runtime/data/loader.c runtime/data/loader_rows.c runtime/data/pack.c
  PROPERTIES COMPILE_OPTIONS -Wno-analyzer-malloc-leak)
set_source_files_properties(
  runtime/model/model_file.c
  PROPERTIES COMPILE_OPTIONS "-Wno-analyzer-malloc-leak;-Wno-analyzer-file-leak")
