#include "common/frames.h"

#include <algorithm>

#include "common/launch.h"

namespace stc {
namespace {

// The i-th dimension of `dims`, from the innermost on.
int64_t from_innermost(int64_t i, int64_t dims, MemoryFormat memory_format) {
  constexpr int kChannelsLast[4] = {1, 3, 2, 0};
  return memory_format == MemoryFormat::ChannelsLast ? kChannelsLast[i] : dims - 1 - i;
}

bool is_dense(const Tensor& t, MemoryFormat memory_format) {
  const int64_t dims = t.dim();
  int64_t expected = 1;
  for (int64_t i = 0; i < dims; ++i) {
    const int64_t dim = from_innermost(i, dims, memory_format);
    if (t.size(dim) != 1 && t.stride(dim) != expected) return false;
    expected *= t.size(dim);
  }
  return true;
}

const Tensor& checked_frames(const char* operator_name, const char* argument,
                             const Tensor& frames) {
  STD_TORCH_CHECK(frames.dim() == 4, operator_name, ": ", argument,
                  " must have 4 dimensions (N*T, C, H, W), got ", frames.dim());
  STD_TORCH_CHECK(is_on_device(frames), operator_name, ": ", argument,
                  " is not on the device of the other tensors");
  return frames;
}

}  // namespace

Tensor dense(const Tensor& tensor, MemoryFormat memory_format) {
  return is_dense(tensor, memory_format) ? tensor
                                         : torch::stable::contiguous(tensor, memory_format);
}

// As for a single channel or a single pixel: the fake kernels do the same.
MemoryFormat memory_format_of(const Tensor& frames) {
  const bool channels_last = frames.numel() > 0 && !is_dense(frames, MemoryFormat::Contiguous) &&
                             is_dense(frames, MemoryFormat::ChannelsLast);
  return channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

Frames::Frames(const char* operator_name, const char* argument, const Tensor& frames)
    : Frames(operator_name, argument, frames,
             memory_format_of(checked_frames(operator_name, argument, frames))) {}

Frames::Frames(const char* operator_name, const char* argument, const Tensor& frames,
               MemoryFormat memory_format)
    : tensor_(dense(checked_frames(operator_name, argument, frames), memory_format)),
      memory_format_(memory_format) {}

View Frames::spatial_view() const {
  if (is_channels_last()) return {count(), pixels(), channels()};
  return {count() * channels(), pixels(), 1};
}

View Frames::temporal_view(int64_t num_segments) const {
  return {count() / num_segments, num_segments, channels() * pixels()};
}

FrameShape Frames::shape(int64_t num_segments) const {
  return {count() / num_segments, num_segments,    channels(),
          tensor_.size(2),        tensor_.size(3), is_channels_last()};
}

Tensor empty(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef sizes,
             std::optional<ScalarType> dtype, MemoryFormat memory_format) {
  constexpr int64_t kMostDims = 4;
  const auto dims = static_cast<int64_t>(sizes.size());
  STD_TORCH_CHECK(dims <= kMostDims, "at most 4 dimensions, got ", dims);
  int64_t strides[kMostDims], stride = 1;
  for (int64_t i = 0; i < dims; ++i) {
    const int64_t dim = from_innermost(i, dims, memory_format);
    strides[dim] = stride;
    const int64_t size = sizes[static_cast<size_t>(dim)];
    // Of tensors without elements too as PyTorch has them.
    stride *= memory_format == MemoryFormat::ChannelsLast ? size : std::max<int64_t>(size, 1);
  }
  int32_t device_type = 0, device_index = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  const auto of_dtype = torch::stable::detail::from(dtype ? *dtype : like.scalar_type());
  AtenTensorHandle created = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      dims, sizes.data(), strides, torch::stable::detail::to<int32_t>(of_dtype), device_type,
      device_index, &created));
  return Tensor(created);
}

Tensor empty_frames(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef sizes,
                    ScalarType dtype, MemoryFormat memory_format) {
  const Tensor frames = empty(like, sizes, dtype, memory_format);
  prepare_output(frames);
  return frames;
}

ScalarType accumulate_dtype(ScalarType dtype) {
  return dtype == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

void check_segments(const char* operator_name, const Tensor& frames, int64_t num_segments) {
  STD_TORCH_CHECK(num_segments >= 1 && frames.size(0) % num_segments == 0, operator_name,
                  ": expected a multiple of num_segments=", num_segments, " frames, got ",
                  frames.size(0));
}

void check_like(const char* operator_name, const char* argument, const Tensor& tensor,
                torch::headeronly::IntHeaderOnlyArrayRef sizes, ScalarType dtype) {
  bool same = tensor.dim() == static_cast<int64_t>(sizes.size()) && is_on_device(tensor) &&
              tensor.scalar_type() == dtype;
  for (size_t dim = 0; same && dim < sizes.size(); ++dim)
    same = tensor.size(static_cast<int64_t>(dim)) == sizes[dim];
  STD_TORCH_CHECK(same, operator_name, ": ", argument,
                  " does not have the shape, dtype and device that the frames ask for");
}

}  // namespace stc
