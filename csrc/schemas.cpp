// The operators as PyTorch sees them, whatever the device.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(stc_ops, m) {
  m.def("temporal_shift(Tensor x, SymInt num_segments, SymInt shift_div) -> Tensor");
  m.def("temporal_shift_backward(Tensor grad, SymInt num_segments, SymInt shift_div) -> Tensor");

  m.def("spatial_pool(Tensor y) -> Tensor");
  m.def(
      "spatial_pool_backward(Tensor grad, SymInt height, SymInt width, ScalarType dtype, "
      "MemoryFormat memory_format) -> Tensor");
  m.def("temporal_pool(Tensor y, SymInt num_segments) -> Tensor");
  m.def(
      "temporal_pool_backward(Tensor grad, SymInt num_segments, ScalarType dtype, "
      "MemoryFormat memory_format) -> Tensor");

  m.def("temporal_gate(Tensor y, Tensor logits) -> Tensor");
  m.def("temporal_gate_backward(Tensor grad, Tensor y, Tensor logits) -> (Tensor, Tensor)");
  m.def("spatial_gate(Tensor y, Tensor logits, SymInt num_segments) -> Tensor");
  m.def(
      "spatial_gate_backward(Tensor grad, Tensor y, Tensor logits, SymInt num_segments) -> "
      "(Tensor, Tensor)");
}
