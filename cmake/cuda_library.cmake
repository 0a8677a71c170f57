# _cuda.so: the CUDA kernels and their torch boundary. It can be built with a torch without CUDA.
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)

add_library(stc_cuda_kernels INTERFACE)
target_include_directories(stc_cuda_kernels INTERFACE csrc)
# 128 is about loops that an instance of a template leaves out.
target_compile_options(stc_cuda_kernels INTERFACE -O3 -Xcompiler=-Wall,-Wextra -diag-suppress=128
  -Xfatbin=-compress-all $<$<BOOL:${STC_WERROR}>:-Werror=all-warnings>)
stc_add_kernel_tables(stc_cuda_kernels csrc/common/cuda_kernels.cu)

# Names torch's library, where it has one or not: the loader takes the one that torch has loaded.
file(WRITE ${PROJECT_BINARY_DIR}/torch_cuda.cpp
  "extern \"C\" int aoti_torch_get_current_cuda_stream() { return 1; }\n")
add_library(stc_torch_cuda SHARED ${PROJECT_BINARY_DIR}/torch_cuda.cpp)
set_target_properties(stc_torch_cuda PROPERTIES
  OUTPUT_NAME torch_cuda
  CXX_VISIBILITY_PRESET default
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/stubs)

add_library(_cuda MODULE ${stc_cuda_kernels_objects})
stc_add_boundary(_cuda stc_ops CUDA)
target_compile_definitions(_cuda PRIVATE STC_CUDA)
target_link_libraries(_cuda PRIVATE stc_torch_cuda)
# torch has a CUDA runtime of its own, of maybe another version, and neither may take the other's.
target_link_options(_cuda PRIVATE -Wl,--exclude-libs,ALL)
set_target_properties(_cuda PROPERTIES PREFIX "" SUFFIX .so)
install(TARGETS _cuda LIBRARY DESTINATION .)
