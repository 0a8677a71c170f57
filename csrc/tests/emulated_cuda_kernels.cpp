// The CUDA kernels, compiled by the host's compiler for the emulator.
#include "common/cuda_kernels.cu"
