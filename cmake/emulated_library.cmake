# stc_ops_emulated.so: the CUDA kernels and their torch boundary, run by the CPU on CPU tensors, as
# operators of a namespace of its own. Only for tests.
find_package(Threads REQUIRED)
add_subdirectory(csrc/tests/cuda_on_cpu EXCLUDE_FROM_ALL)
if(NOT TARGET stc_emulator)
  message(FATAL_ERROR "STC_EMULATED_BOUNDARY needs CUDA's headers")
endif()

stc_add_emulated_kernel_tables()
add_library(stc_ops_emulated MODULE
  csrc/schemas.cpp
  csrc/refine/gate_network_operators.cpp
  ${stc_emulated_kernels_objects})
stc_add_boundary(stc_ops_emulated stc_ops_emulated CPU)
target_compile_definitions(stc_ops_emulated PRIVATE STC_CUDA STC_EMULATED_CUDA)
target_link_libraries(stc_ops_emulated PRIVATE stc_emulator)
set_target_properties(stc_ops_emulated PROPERTIES
  PREFIX ""
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
