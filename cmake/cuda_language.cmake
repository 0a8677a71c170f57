# Enables CUDA where STC_BUILD_CUDA asks for it and it is found. Sets either
# STC_CUDA_ARCHITECTURES, as text, and STC_NVCC_VERSION, or STC_WHY_NO_CUDA.

if(NOT DEFINED CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  include(cmake/find_nvcc.cmake)
  if(STC_NVCC)
    set(ENV{CUDACXX} ${STC_NVCC})
  endif()
endif()

if(STC_BUILD_CUDA STREQUAL "AUTO" OR STC_BUILD_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER AND NOT STC_BUILD_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "CUDA kernels were asked for (STC_OPS_BUILD_CUDA=1 or -DSTC_BUILD_CUDA=ON), "
      "but no nvcc was found that compiles: put it on PATH or name it with CUDACXX")
  endif()
  set(STC_WHY_NO_CUDA "nvcc was not found when this was built")
else()
  set(STC_WHY_NO_CUDA "skipped by STC_OPS_BUILD_CUDA=0")
endif()

if(CMAKE_CUDA_COMPILER)
  set(STC_WHY_NO_CUDA "")
  # First: CMake keeps a default of its own where there is no choice yet.
  include(cmake/cuda_architectures.cmake)
  stc_choose_cuda_architectures("${CMAKE_CUDA_ARCHITECTURES}")
  enable_language(CUDA)
  set(STC_NVCC_VERSION ${CMAKE_CUDA_COMPILER_VERSION})
endif()
message(STATUS "CUDA kernels: ${STC_CUDA_ARCHITECTURES}${STC_WHY_NO_CUDA}")
