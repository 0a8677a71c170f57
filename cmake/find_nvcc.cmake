# STC_NVCC: the path of nvcc.
find_program(STC_NVCC nvcc HINTS ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
