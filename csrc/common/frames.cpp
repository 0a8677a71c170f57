#include "common/frames.h"

#include "common/launch.h"

namespace stc {
namespace {

bool is_dense(const Tensor& t, MemoryFormat memory_format) {
  constexpr int kInnermostFirst[2][4] = {{3, 2, 1, 0}, {1, 3, 2, 0}};
  int64_t expected = 1;
  for (const int dim : kInnermostFirst[memory_format == MemoryFormat::ChannelsLast]) {
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

// A call through the dispatcher costs a microsecond, more than looking at the strides.
Tensor dense(const Tensor& frames, MemoryFormat memory_format) {
  return is_dense(frames, memory_format) ? frames
                                         : torch::stable::contiguous(frames, memory_format);
}

}  // namespace

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

Tensor empty_frames(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef sizes,
                    ScalarType dtype, MemoryFormat memory_format) {
  const Tensor empty =
      torch::stable::empty(sizes, dtype, std::nullopt, like.device(), std::nullopt, memory_format);
  prepare_output(empty);
  return empty;
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
