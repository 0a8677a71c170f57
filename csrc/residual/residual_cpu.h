#pragma once

#include "common/affine_lines.h"
#include "residual/residual.h"

namespace stc {
namespace {

// work(channels along?, count, offset, pitch, size, channel) for the lines of a unit.
template <typename Work>
inline void for_each_line(const FrameShape& shape, int64_t index, const Work& work) {
  const Unit unit = unit_of(shape, index);
  for (int64_t time = 0; time < shape.num_segments; ++time) {
    const int64_t frame = unit.clip * shape.num_segments + time;
    if (!shape.channels_last) {
      const int64_t plane = frame * shape.channels + unit.index_in_clip;
      work(Along<false>{}, LineCount<1>{}, plane * shape.pixels(), shape.pixels(), shape.pixels(),
           unit.index_in_clip);
      continue;
    }
    const int64_t first = frame * shape.pixels() + unit.first_pixel;
    for_each_lines(unit.pixels, [&](auto count, int64_t line) {
      work(Along<true>{}, count, (first + line) * shape.channels, shape.channels, shape.channels,
           int64_t{0});
    });
  }
}

template <int Count, bool kChannels, bool kNormalized, typename T>
inline void add_relu_lines(ResidualArguments<T> a, int64_t offset, int64_t pitch, int64_t size,
                           int64_t channel) {
  for_each_vector<kLanes<T>>(size, [=](auto lanes, int64_t i) STC_INLINE {
    constexpr int kCount = lanes();
    const auto scale = value<kChannels, kCount>(a.scale + channel, i);
    auto shift = value<kChannels, kCount>(a.shift + channel, i);
    auto identity_scale = broadcast<kCount>(Accumulate<T>{1});
    if constexpr (kNormalized) {
      identity_scale = value<kChannels, kCount>(a.identity_scale + channel, i);
      shift += value<kChannels, kCount>(a.identity_shift + channel, i);
    }
    for (int line = 0; line < Count; ++line) {
      const int64_t at = offset + line * pitch + i;
      const auto sum = scale * load_frames<kCount>(a.w + at) + shift;
      store<kCount>(a.out + at, relu(identity_scale * load_frames<kCount>(a.identity + at) + sum));
    }
  });
}

template <typename T>
void residual_forward(const ResidualArguments<T>& a, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit)
    for_each_line(a.shape, unit,
                  [&](auto channels, auto count, int64_t offset, int64_t pitch, int64_t size,
                      int64_t channel) {
                    if (a.identity_scale != nullptr) {
                      add_relu_lines<count(), channels(), true>(a, offset, pitch, size, channel);
                    } else {
                      add_relu_lines<count(), channels(), false>(a, offset, pitch, size, channel);
                    }
                  });
}

template <int Count, bool kChannels, bool kNormalized, typename T>
inline void add_residual_sums(ResidualBackwardArguments<T> b, int64_t offset, int64_t pitch,
                              int64_t size, int64_t channel, Accumulate<T>* sums) {
  using E = Accumulate<T>;
  const ResidualArguments<T> a = b.forward;
  LineSum<kChannels, T> sum(sums + channel);
  LineSum<kChannels, T> product(sums + a.shape.channels + channel);
  LineSum<kChannels, T> identity_product(sums + (kNormalized ? 2 : 0) * a.shape.channels + channel);
  for_each_vector<kLanes<T>>(
      size, [=, &sum, &product, &identity_product](auto lanes, int64_t i) STC_INLINE {
        constexpr int kCount = lanes();
        const auto mean = value<kChannels, kCount>(b.mean + channel, i);
        Vector<E, kCount> d_sum{}, d_product{}, d_identity_product{};
        for (int line = 0; line < Count; ++line) {
          const int64_t at = offset + line * pitch + i;
          const auto d = where_relu_passes(load_frames<kCount>(a.out + at),
                                           load_frames<kCount>(b.grad_out + at));
          d_sum += d;
          d_product += d * (load_frames<kCount>(a.w + at) - mean);
          if constexpr (kNormalized)
            d_identity_product += d * (load_frames<kCount>(a.identity + at) -
                                       value<kChannels, kCount>(b.identity_mean + channel, i));
        }
        sum.template add<kCount>(i, d_sum);
        product.template add<kCount>(i, d_product);
        if constexpr (kNormalized) identity_product.template add<kCount>(i, d_identity_product);
      });
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
    for_each_line(
        shape, index,
        [&](auto channels, auto count, int64_t offset, int64_t pitch, int64_t size,
            int64_t channel) {
          if (normalized) {
            add_residual_sums<count(), channels(), true>(b, offset, pitch, size, channel, sums);
          } else {
            add_residual_sums<count(), channels(), false>(b, offset, pitch, size, channel, sums);
          }
        });
  }
}

template <int Count, bool kChannels, bool kNormalized, typename T>
inline void write_residual_gradients(ResidualBackwardArguments<T> b, int64_t offset, int64_t pitch,
                                     int64_t size, int64_t channel) {
  const ResidualArguments<T> a = b.forward;
  for_each_vector<kLanes<T>>(size, [=](auto lanes, int64_t i) STC_INLINE {
    constexpr int kCount = lanes();
    const auto of_channel = [=](const Accumulate<T>* values) STC_INLINE {
      return value<kChannels, kCount>(values + channel, i);
    };
    const auto scale = of_channel(a.scale), slope = of_channel(b.slope), add = of_channel(b.offset);
    for (int line = 0; line < Count; ++line) {
      const int64_t at = offset + line * pitch + i;
      const auto d =
          where_relu_passes(load_frames<kCount>(a.out + at), load_frames<kCount>(b.grad_out + at));
      store<kCount>(b.grad_w + at, scale * d + (slope * load_frames<kCount>(a.w + at) + add));
      if constexpr (kNormalized) {
        store<kCount>(b.grad_identity + at,
                      of_channel(a.identity_scale) * d +
                          (of_channel(b.identity_slope) * load_frames<kCount>(a.identity + at) +
                           of_channel(b.identity_offset)));
      } else {
        store<kCount>(b.grad_identity + at, d);
      }
    }
  });
}

template <typename T>
void residual_backward(const ResidualBackwardArguments<T>& b, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit)
    for_each_line(
        b.forward.shape, unit,
        [&](auto channels, auto count, int64_t offset, int64_t pitch, int64_t size,
            int64_t channel) {
          if (b.forward.identity_scale != nullptr) {
            write_residual_gradients<count(), channels(), true>(b, offset, pitch, size, channel);
          } else {
            write_residual_gradients<count(), channels(), false>(b, offset, pitch, size, channel);
          }
        });
}

}  // namespace
}  // namespace stc
