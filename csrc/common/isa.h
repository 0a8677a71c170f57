// The instruction sets that the CPU kernels are compiled for, and the one in use.
#pragma once

#include <string>
#include <vector>

namespace stc {

enum class Isa { baseline, avx2, avx512 };

const char* isa_name(Isa isa);

// From the least to the most capable.
const std::vector<Isa>& compiled_isas();

bool cpu_supports(Isa isa);

// The most capable one that this processor has, or the one that the environment variable
// STC_OPS_CPU_ISA names. Throws std::runtime_error if that one is unknown or cannot run here.
Isa selected_isa();

}  // namespace stc
