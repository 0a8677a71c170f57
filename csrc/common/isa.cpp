#include "common/isa.h"

#include <cstdlib>
#include <stdexcept>

namespace stc {
namespace {

constexpr const char* kEnvironmentVariable = "STC_OPS_CPU_ISA";

std::string names_of(const std::vector<Isa>& isas) {
  std::string names;
  for (const Isa isa : isas) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  return names;
}

Isa requested_isa(const std::string& name) {
  for (const Isa isa : compiled_isas()) {
    if (name != isa_name(isa)) continue;
    if (cpu_supports(isa)) return isa;
    throw std::runtime_error(std::string(kEnvironmentVariable) + "=" + name +
                             ": this processor does not have it");
  }
  throw std::runtime_error(std::string(kEnvironmentVariable) + " must be one of " +
                           names_of(compiled_isas()) + ", got " + name);
}

Isa best_isa() {
  Isa best = Isa::baseline;
  for (const Isa isa : compiled_isas())
    if (cpu_supports(isa)) best = isa;
  return best;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

const std::vector<Isa>& compiled_isas() {
#if defined(__x86_64__)
  static const std::vector<Isa> isas = {Isa::baseline, Isa::avx2, Isa::avx512};
#else
  static const std::vector<Isa> isas = {Isa::baseline};
#endif
  return isas;
}

bool cpu_supports(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
  if (isa == Isa::avx512)
    return cpu_supports(Isa::avx2) && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
#endif
  return isa == Isa::baseline;
}

Isa selected_isa() {
  static const Isa selected = [] {
    const char* name = std::getenv(kEnvironmentVariable);
    return name != nullptr && *name != '\0' ? requested_isa(name) : best_isa();
  }();
  return selected;
}

}  // namespace stc
