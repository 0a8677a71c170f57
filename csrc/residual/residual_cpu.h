#pragma once

#include "common/affine_lines.h"
#include "residual/residual.h"

namespace stc {
namespace {

// work(channels along?, offset, size, channel) for the lines of a unit, whose frames are clips of
// their own.
template <typename Work>
inline void for_each_line(const FrameShape& shape, int64_t index, const Work& work) {
  const Unit unit = unit_of(shape, index);
  if (!shape.channels_last) {
    const int64_t plane = unit.clip * shape.channels + unit.index_in_clip;
    return work(Along<false>{}, plane * shape.pixels(), shape.pixels(), unit.index_in_clip);
  }
  const int64_t first = unit.clip * shape.pixels() + unit.first_pixel;
  for (int64_t pixel = first; pixel < first + unit.pixels; ++pixel)
    work(Along<true>{}, pixel * shape.channels, shape.channels, int64_t{0});
}

template <int Lanes, typename T>
STC_INLINE inline Vector<Accumulate<T>, Lanes> load_at(const T* frames, int64_t at) {
  return Line<T>{frames}.template load<Lanes>(at);
}

template <bool kChannels, bool kNormalized, typename T>
inline void add_relu_line(ResidualArguments<T> a, int64_t offset, int64_t size, int64_t channel) {
  for_each_vector<kLanes<T>>(size, [=](auto lanes, int64_t i) STC_INLINE {
    constexpr int kCount = lanes();
    const auto scale = value<kChannels, kCount>(a.scale + channel, i);
    auto shift = value<kChannels, kCount>(a.shift + channel, i);
    auto identity_scale = broadcast<kCount>(Accumulate<T>{1});
    if constexpr (kNormalized) {
      identity_scale = value<kChannels, kCount>(a.identity_scale + channel, i);
      shift += value<kChannels, kCount>(a.identity_shift + channel, i);
    }
    const auto sum = scale * load_at<kCount>(a.w, offset + i) + shift;
    const auto identity = load_at<kCount>(a.identity, offset + i);
    store<kCount>(a.out + offset + i, relu(identity_scale * identity + sum));
  });
}

template <typename T>
void residual_forward(const ResidualArguments<T>& a, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit)
    for_each_line(a.shape, unit, [&](auto channels, int64_t offset, int64_t size, int64_t channel) {
      if (a.identity_scale != nullptr) {
        add_relu_line<channels(), true>(a, offset, size, channel);
      } else {
        add_relu_line<channels(), false>(a, offset, size, channel);
      }
    });
}

template <bool kChannels, bool kNormalized, typename T>
inline void add_residual_sums(ResidualBackwardArguments<T> b, int64_t offset, int64_t size,
                              int64_t channel, Accumulate<T>* sums) {
  const ResidualArguments<T> a = b.forward;
  LineSum<kChannels, T> sum(sums + channel);
  LineSum<kChannels, T> product(sums + a.shape.channels + channel);
  LineSum<kChannels, T> identity_product(sums + (kNormalized ? 2 : 0) * a.shape.channels + channel);
  const auto add_terms = [=, &sum, &product, &identity_product](auto lanes, int64_t i) STC_INLINE {
    constexpr int kCount = lanes();
    const auto mean = value<kChannels, kCount>(b.mean + channel, i);
    const auto d = where_relu_passes(load_at<kCount>(a.out, offset + i),
                                     load_at<kCount>(b.grad_out, offset + i));
    sum.template add<kCount>(i, d);
    product.template add<kCount>(i, d * (load_at<kCount>(a.w, offset + i) - mean));
    if constexpr (kNormalized) {
      identity_product.template add<kCount>(
          i, d * (load_at<kCount>(a.identity, offset + i) -
                  value<kChannels, kCount>(b.identity_mean + channel, i)));
    } else {
      store<kCount>(b.grad_identity + offset + i, d);
    }
  };
  if constexpr (kNormalized) {
    sum_line<kChannels, T>(size, add_terms, sum, product, identity_product);
  } else {
    sum_line<kChannels, T>(size, add_terms, sum, product);
  }
}

// A unit's sums are rows of their own (NHWC), or its channel's in the rows of its clip (NCHW).
template <typename T>
void residual_backward_sums(const ResidualBackwardArguments<T>& b, int64_t begin, int64_t end) {
  const FrameShape& shape = b.forward.shape;
  const bool normalized = b.forward.identity_scale != nullptr;
  const int64_t rows = normalized ? 3 : 2;
  for (int64_t index = begin; index < end; ++index) {
    const Unit unit = unit_of(shape, index);
    Accumulate<T>* sums =
        b.sums + (shape.channels_last ? index : unit.clip) * rows * shape.channels;
    for (int64_t row = 0; row < rows; ++row)
      zero_elements(sums + row * shape.channels + (shape.channels_last ? 0 : unit.index_in_clip),
                    shape.channels_last ? shape.channels : 1);
    for_each_line(shape, index, [&](auto channels, int64_t offset, int64_t size, int64_t channel) {
      if (normalized) {
        add_residual_sums<channels(), true>(b, offset, size, channel, sums);
      } else {
        add_residual_sums<channels(), false>(b, offset, size, channel, sums);
      }
    });
  }
}

template <bool kChannels, bool kNormalized, typename T>
inline void write_residual_gradients(ResidualBackwardArguments<T> b, int64_t offset, int64_t size,
                                     int64_t channel) {
  const ResidualArguments<T> a = b.forward;
  for_each_vector<kLanes<T>>(size, [=](auto lanes, int64_t i) STC_INLINE {
    constexpr int kCount = lanes();
    const auto of_channel = [=](const Accumulate<T>* values) STC_INLINE {
      return value<kChannels, kCount>(values + channel, i);
    };
    const auto scale = of_channel(a.scale), slope = of_channel(b.slope), add = of_channel(b.offset);
    const int64_t at = offset + i;
    const auto of_w = through_statistics(slope, load_at<kCount>(a.w, at), add);
    if constexpr (kNormalized) {
      const auto d = where_relu_passes(load_at<kCount>(a.out, at), load_at<kCount>(b.grad_out, at));
      store<kCount>(b.grad_w + at, scale * d + of_w);
      const auto of_identity =
          through_statistics(of_channel(b.identity_slope), load_at<kCount>(a.identity, at),
                             of_channel(b.identity_offset));
      store<kCount>(b.grad_identity + at, of_channel(a.identity_scale) * d + of_identity);
    } else {
      store<kCount>(b.grad_w + at, scale * load_at<kCount>(b.grad_identity, at) + of_w);
    }
  });
}

template <typename T>
void residual_backward(const ResidualBackwardArguments<T>& b, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit)
    for_each_line(b.forward.shape, unit,
                  [&](auto channels, int64_t offset, int64_t size, int64_t channel) {
                    if (b.forward.identity_scale != nullptr) {
                      write_residual_gradients<channels(), true>(b, offset, size, channel);
                    } else {
                      write_residual_gradients<channels(), false>(b, offset, size, channel);
                    }
                  });
}

}  // namespace
}  // namespace stc
