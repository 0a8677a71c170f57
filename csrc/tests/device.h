// What a test program tests: a Device with kernels<T>(), each a function of its arguments and of
// the units [begin, end), kMostElements and views() that its kernels are tested on, takes(elements)
// for cases of long lists, rows_of_sums(shape) that its kernels leave, run_kernel(kernel,
// arguments, units), and check_repeatable(name, kernel, units, arguments_for, outputs...), which
// runs a kernel in other ways to the same outputs.
#pragma once

#if defined(STC_EMULATED_CUDA)
#include "tests/emulated_cuda.h"
#else
#include "tests/splits.h"
#endif
