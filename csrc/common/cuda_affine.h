// What jobs over frames share: values per channel, and ReLU forward and backward.
#pragma once

#include "common/cuda_plan.h"
#include "common/work.h"

namespace stc::cuda {

// Rows of all channels, or planes of one.
inline View channel_view(const FrameShape& shape) {
  if (shape.channels_last) return {1, shape.frames() * shape.pixels(), shape.channels};
  return {shape.frames() * shape.channels, shape.pixels(), 1};
}

// The channel of a plane, or the first one of a vector of columns.
template <typename Group>
STC_DEVICE auto channel_of(const Group& group, int64_t channels) {
  if constexpr (Group::kIsColumn) return group.column;
  return group.at % static_cast<decltype(group.at)>(channels);
}

// Elements of what store_channel_sums writes to.
inline int64_t channel_sums_size(const FrameShape& shape, int64_t kinds) {
  return (shape.channels_last ? 1 : shape.frames()) * kinds * shape.channels;
}

// (kinds, C), or for planes (frames, kinds, C).
template <int N, typename Group, typename E, int K>
STC_DEVICE void store_channel_sums(E* sums, int64_t all_channels, const Group& group,
                                   const Values<E, N, K>& values) {
  const auto channels = static_cast<decltype(group.at)>(all_channels);
  const auto frame = Group::kIsColumn ? 0 : group.at / channels;
  const auto at = frame * K * channels + channel_of(group, all_channels);
#pragma unroll
  for (int k = 0; k < K; ++k) store(sums + (at + k * channels), values[k]);
}

// Where another tensor has the rows of a group: at base + row * pitch.
template <typename I, bool kOfColumn>
struct RowPlace {
  I base;
  I pitch;
  bool keeps_vectors;  // those of a plane; those of columns always stay vectors

  STC_DEVICE I offset(I row) const { return base + row * pitch; }
  template <int N, typename T>
  STC_DEVICE Vec<T, N> load(const T* from) const {
    return load_if<N>(kOfColumn || keeps_vectors, from);
  }
  template <typename T, int N>
  STC_DEVICE void store(T* to, const Vec<T, N>& elements) const {
    store_if(kOfColumn || keeps_vectors, to, elements);
  }
};

// NaN stays NaN, as in PyTorch.
template <typename E, int N>
STC_DEVICE Vec<E, N> relu(Vec<E, N> values) {
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = values[i] < 0 ? 0 : values[i];
  return values;
}

template <typename E, int N>
STC_DEVICE Vec<E, N> where_relu_passes(const Vec<E, N>& values, Vec<E, N> grad) {
#pragma unroll
  for (int i = 0; i < N; ++i) grad[i] = values[i] <= 0 ? 0 : grad[i];
  return grad;
}

// slope * y + offset. Constant statistics have no slope: there infinite elements make no NaN.
template <typename E, int N>
STC_DEVICE Vec<E, N> through_statistics(const Vec<E, N>& slope, const Vec<E, N>& y,
                                        Vec<E, N> offset) {
#pragma unroll
  for (int i = 0; i < N; ++i) offset[i] = slope[i] == 0 ? offset[i] : slope[i] * y[i] + offset[i];
  return offset;
}

template <typename E, int N>
STC_DEVICE Vec<E, N> finite_or_zero(Vec<E, N> values) {
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = values[i] - values[i] == 0 ? values[i] : 0;
  return values;
}

}  // namespace stc::cuda
