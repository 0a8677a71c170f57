// Torch boundary: what is kept per group of elements, (N*T, C) per frame or (N, C, H, W) per pixel
// of a clip.
#pragma once

#include "batch_norm/batch_norm.h"
#include "common/frames.h"
#include "common/launch.h"

namespace stc {

class Groups {
 public:
  // Of any dense memory format.
  Groups(const char* operator_name, const Tensor& values)
      : Groups(values, values.dim() == 4 ? memory_format_of(values) : MemoryFormat::Contiguous) {
    STD_TORCH_CHECK(values.dim() == 2 || values.dim() == 4, operator_name,
                    ": what is kept per group must be (N*T, C) or (N, C, H, W)");
  }

  // Of the memory format and shape of others.
  Groups(const char* operator_name, const char* argument, const Tensor& values, const Groups& like)
      : Groups(values, like.memory_format_) {
    check_like(operator_name, argument, values, like.tensor_.sizes(), like.tensor_.scalar_type());
  }

  Groups(const Tensor& values, MemoryFormat memory_format)
      : tensor_(dense(values, memory_format)), memory_format_(memory_format) {
    const bool innermost = memory_format == MemoryFormat::ChannelsLast;
    const int64_t pixels = values.dim() == 4 ? values.size(2) * values.size(3) : 1;
    shape_ = {values.size(0) * (innermost ? pixels : 1), values.size(1), innermost ? 1 : pixels};
  }

  const Tensor& tensor() const { return tensor_; }
  const GroupShape& shape() const { return shape_; }

  Tensor empty_like() const {
    return empty_frames(tensor_, tensor_.sizes(), tensor_.scalar_type(), memory_format_);
  }

 private:
  Tensor tensor_;
  MemoryFormat memory_format_;
  GroupShape shape_;
};

// Two sums per group, one set behind the other in the first dimension.
class GroupSumsOf {
 public:
  GroupSumsOf(const char* operator_name, const Tensor& sums)
      : both_(operator_name, sums), one_(operator_name, first_half(both_.tensor())) {}

  const Groups& one() const { return one_; }
  const GroupShape& shape() const { return one_.shape(); }

  template <typename E>
  const E* sums() const {
    return const_data_of<E>(both_.tensor());
  }
  template <typename E>
  const E* products() const {
    return sums<E>() + shape().size();
  }

 private:
  static Tensor first_half(Tensor sums) {
    return torch::stable::narrow(sums, 0, 0, sums.size(0) / 2);
  }

  Groups both_;
  Groups one_;
};

inline void check_channels(const char* operator_name, const Tensor& rows, int64_t count,
                           int64_t first_channel, int64_t channels) {
  STD_TORCH_CHECK(rows.dim() == 2 && rows.size(0) == count && rows.stride(1) == 1 &&
                      rows.stride(0) == rows.size(1) && first_channel >= 0 &&
                      first_channel + channels <= rows.size(1) && is_on_device(rows),
                  operator_name, ": expected ", count, " dense rows of at least ",
                  first_channel + channels, " channels on the device of the other tensors");
}

// body(E), for what is kept in float or double.
template <typename Body>
void dispatch_sums_dtype(const char* operator_name, ScalarType dtype, const Body& body) {
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double, operator_name,
                  ": expected float32 or float64");
  dispatch_dtype(operator_name, dtype,
                 [&](auto element) { body(Accumulate<decltype(element)>{}); });
}

// out = sum over the first dimension of terms, `rows` long.
template <typename E>
void sum_rows(const char* operator_name, int64_t rows, const Tensor& terms, const Tensor& out) {
  const SumRowsArguments<E> arguments{rows, out.numel(), const_data_of<E>(terms), data_of<E>(out)};
  launch(operator_name, group_kernels<E>().sum_rows, arguments, column_units(out.numel()),
         terms.numel() + out.numel());
}

// `sets` sums per channel over all frames: rows of partial sums, for a kernel to write, and their
// total. One row is the total.
class SumsOverFrames {
 public:
  SumsOverFrames(const Tensor& like, const FrameShape& shape, int64_t sets)
      : rows_(shape.elements() == 0 ? 1 : rows_of_sums(shape)),
        total_(shape.elements() == 0 ? torch::stable::new_zeros(like, {sets, shape.channels})
                                     : empty(like, {sets, shape.channels})),
        partial_(rows_ == 1 ? total_ : empty(like, {rows_, sets, shape.channels})) {}

  const Tensor& total() const { return total_; }

  template <typename E>
  E* partial() const {
    return data_of<E>(partial_);
  }

  template <typename E>
  void add_up(const char* operator_name) const {
    if (rows_ > 1) sum_rows<E>(operator_name, rows_, partial_, total_);
  }

 private:
  int64_t rows_;
  Tensor total_;
  Tensor partial_;
};

}  // namespace stc
