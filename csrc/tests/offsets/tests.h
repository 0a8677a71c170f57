#pragma once

#include "common/cuda_kernel_tables.h"

namespace stc::test {

// Without memory: what each job says that its largest tensor is.
void test_sizes();
// Tensors beyond the narrow type beside others below it.
void test_launches();

}  // namespace stc::test
