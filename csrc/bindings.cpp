// The Python module stc_ops._C: loading it registers the operators; build_info() says how it was
// built.
#include <pybind11/pybind11.h>

#include <string>

#include "common/isa.h"

namespace {

namespace py = pybind11;

py::dict build_info() {
  py::list compiled;
  for (const stc::Isa isa : stc::compiled_isas()) compiled.append(stc::isa_name(isa));
  py::dict info;
  info["version"] = STC_VERSION;
  info["compiler"] = STC_COMPILER;
  info["torch_abi_target"] = STC_TORCH_ABI_TARGET;
  info["cpu_isas"] = py::tuple(compiled);
  info["cpu_isa_in_use"] = stc::isa_name(stc::selected_isa());
  info["cuda_architectures"] = py::tuple(py::str(STC_CUDA_ARCHITECTURES).attr("split")());
  info["nvcc"] = STC_NVCC_VERSION;
  info["why_no_cuda"] = STC_WHY_NO_CUDA;
  return info;
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  stc::selected_isa();  // an impossible choice must fail here, not in the middle of an operator
  m.def("build_info", &build_info, "How this extension was built and what it uses here.");
}
