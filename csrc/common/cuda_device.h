// Torch boundary: the current CUDA device and its stream.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/device.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/shim_utils.h>

// torch's shim.h declares it only where CUDA's headers are at hand.
extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index,
                                                             void** ret_stream);

namespace stc {

// Makes the device of a tensor the current one.
class CurrentDevice {
 public:
  explicit CurrentDevice(const torch::stable::Tensor& tensor) : guard_(tensor.get_device_index()) {}

 private:
  torch::stable::accelerator::DeviceGuard guard_;
};

inline torch::stable::Device current_device() {
  return {torch::headeronly::DeviceType::CUDA, torch::stable::accelerator::getCurrentDeviceIndex()};
}

inline void* current_stream() {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(
      torch::stable::accelerator::getCurrentDeviceIndex(), &stream));
  return stream;
}

inline bool is_on_device(const torch::stable::Tensor& tensor) {
  return tensor.is_cuda() &&
         tensor.get_device_index() == torch::stable::accelerator::getCurrentDeviceIndex();
}

}  // namespace stc
