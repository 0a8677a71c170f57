// Torch boundary: (N*T, C, H, W) frames of a tensor, their memory format and their views.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>

#include "common/view.h"
#include "common/work.h"

namespace stc {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

// Frames in a dense memory format: their own if it is one of the two, else a contiguous copy.
class Frames {
 public:
  Frames(const char* operator_name, const char* argument, const Tensor& frames);
  Frames(const char* operator_name, const char* argument, const Tensor& frames,
         MemoryFormat memory_format);

  const Tensor& tensor() const { return tensor_; }
  MemoryFormat memory_format() const { return memory_format_; }
  bool is_channels_last() const { return memory_format_ == MemoryFormat::ChannelsLast; }
  int64_t count() const { return tensor_.size(0); }
  int64_t channels() const { return tensor_.size(1); }
  int64_t pixels() const { return tensor_.size(2) * tensor_.size(3); }

  View spatial_view() const;
  View temporal_view(int64_t num_segments) const;
  FrameShape shape(int64_t num_segments) const;

 private:
  Tensor tensor_;
  MemoryFormat memory_format_;
};

// Contiguous wins where both formats fit.
MemoryFormat memory_format_of(const Tensor& frames);

// Itself if it is in a dense format already. A call through the dispatcher costs a microsecond,
// more than looking at the strides.
Tensor dense(const Tensor& tensor, MemoryFormat memory_format = MemoryFormat::Contiguous);

// Dense, on the device of `like` and in its dtype unless told otherwise. torch::stable::new_empty
// goes through the dispatcher, which costs more than many a kernel on small tensors.
Tensor empty(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef sizes,
             std::optional<ScalarType> dtype = std::nullopt,
             MemoryFormat memory_format = MemoryFormat::Contiguous);

// Empty too, for results as large as frames.
Tensor empty_frames(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef sizes,
                    ScalarType dtype, MemoryFormat memory_format);

// The dtype of sums over elements of `dtype`: double for double, else float.
ScalarType accumulate_dtype(ScalarType dtype);

void check_segments(const char* operator_name, const Tensor& frames, int64_t num_segments);

void check_like(const char* operator_name, const char* argument, const Tensor& tensor,
                torch::headeronly::IntHeaderOnlyArrayRef sizes, ScalarType dtype);

}  // namespace stc
