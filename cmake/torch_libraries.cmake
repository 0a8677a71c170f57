# What Python loads: operators and their kernels, in LibTorch's stable ABI, so that one build serves
# every torch >= 2.10.
set(STC_TORCH_ABI_TARGET 2.10)
set(STC_TORCH_TARGET_VERSION 0x020a000000000000)
set(STC_TORCH_DIR "" CACHE PATH "Directory of the installed torch package")
stc_hide_prefix(${STC_TORCH_DIR}/include)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 CONFIG REQUIRED)
include(cmake/kernel_tables.cmake)
include(cmake/cuda_language.cmake)

# The torch boundary, registered as the kernels of a dispatch key.
function(stc_add_boundary target namespace dispatch_key)
  target_sources(${target} PRIVATE
    csrc/common/frames.cpp
    csrc/shift/shift_boundary.cpp
    csrc/moments/moments_boundary.cpp
    csrc/gate/gate_boundary.cpp
    csrc/batch_norm/batch_norm_boundary.cpp
    csrc/batch_norm/normalization.cpp
    csrc/shift/shift_split_boundary.cpp
    csrc/refine/gate_network.cpp
    csrc/refine/refine_boundary.cpp
    csrc/refine/refine_bn_relu_boundary.cpp
    csrc/residual/residual_boundary.cpp)
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_include_directories(${target} PRIVATE csrc)
  target_include_directories(${target} SYSTEM PRIVATE ${STC_TORCH_DIR}/include)
  target_compile_definitions(${target} PRIVATE
    TORCH_TARGET_VERSION=${STC_TORCH_TARGET_VERSION}
    STC_NAMESPACE=${namespace}
    STC_DISPATCH_KEY=${dispatch_key}
    STC_CUDA_ARCHITECTURES="${STC_CUDA_ARCHITECTURES}")
  target_link_directories(${target} PRIVATE ${STC_TORCH_DIR}/lib)
  target_link_libraries(${target} PRIVATE torch_cpu c10)
  # torch is imported first and has its libraries loaded: no path of the build machine is needed.
  set_target_properties(${target} PROPERTIES SKIP_BUILD_RPATH ON)
endfunction()

pybind11_add_module(_C
  csrc/bindings.cpp
  csrc/schemas.cpp
  csrc/refine/gate_network_operators.cpp
  csrc/common/huge_pages.cpp)
stc_add_boundary(_C stc_ops CPU)
target_link_libraries(_C PRIVATE stc_kernels)
target_compile_definitions(_C PRIVATE
  STC_VERSION="${PROJECT_VERSION}"
  STC_COMPILER="${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
  STC_TORCH_ABI_TARGET="${STC_TORCH_ABI_TARGET}"
  STC_NVCC_VERSION="${STC_NVCC_VERSION}"
  STC_WHY_NO_CUDA="${STC_WHY_NO_CUDA}")
install(TARGETS _C LIBRARY DESTINATION .)

if(CMAKE_CUDA_COMPILER)
  include(cmake/cuda_library.cmake)
endif()
if(STC_EMULATED_BOUNDARY)
  include(cmake/emulated_library.cmake)
endif()
