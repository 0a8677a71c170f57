// Torch boundary of CUDA kernels that the CPU runs: what common/cuda_device.h is for a device.
#pragma once

#include <torch/csrc/stable/device.h>
#include <torch/csrc/stable/tensor.h>

namespace stc {

struct CurrentDevice {
  explicit CurrentDevice(const torch::stable::Tensor&) {}
};

inline torch::stable::Device current_device() { return torch::headeronly::DeviceType::CPU; }

inline void* current_stream() { return nullptr; }

inline bool is_on_device(const torch::stable::Tensor& tensor) { return tensor.is_cpu(); }

}  // namespace stc
