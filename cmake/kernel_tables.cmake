# stc_add_kernel_tables(prefix source): an object library for each table of CUDA kernels, which are
# those of one of STC_ELEMENTS, or those of what is kept per group. `prefix` is a library with their
# options; its objects are in the list ${prefix}_objects.
function(stc_add_kernel_tables prefix source)
  list(TRANSFORM STC_ELEMENTS PREPEND ELEMENT= OUTPUT_VARIABLE tables)
  foreach(table IN LISTS tables ITEMS GROUPS)
    string(REGEX REPLACE "ELEMENT=" "" name ${table})
    add_library(${prefix}_${name} OBJECT ${source})
    target_link_libraries(${prefix}_${name} PRIVATE ${prefix})
    target_compile_definitions(${prefix}_${name} PRIVATE STC_${table})
    list(APPEND objects $<TARGET_OBJECTS:${prefix}_${name}>)
  endforeach()
  set(${prefix}_objects ${objects} PARENT_SCOPE)
endfunction()

# The same kernels, compiled for the CPU: ${stc_emulated_kernels_objects}.
macro(stc_add_emulated_kernel_tables)
  add_library(stc_emulated_kernels INTERFACE)
  target_link_libraries(stc_emulated_kernels INTERFACE stc_emulator)
  # GCC 12 warns of registers that are only read under the condition they were loaded under.
  target_compile_options(stc_emulated_kernels INTERFACE
    "$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized;-Wno-maybe-uninitialized>")
  stc_add_kernel_tables(stc_emulated_kernels csrc/tests/emulated_cuda_kernels.cpp)
endmacro()
