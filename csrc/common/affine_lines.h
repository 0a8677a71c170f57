// Lines of frames under z = relu(gate * scale * y + shift), and backwards. A line is a pixel of
// channels (NHWC) or a channel of pixels (NCHW), so what belongs to a channel lies along it or is
// fixed for it, and so does what belongs to a group of elements with one gate.
#pragma once

#include "common/rows.h"
#include "common/vector.h"

namespace stc {
namespace {

template <bool kAlong>
using Along = std::bool_constant<kAlong>;

// A line of frames. They stream through memory, several of them side by side: each load asks for
// what lies half a page behind it.
template <typename T>
struct Line {
  const T* first;

  template <int Lanes>
  STC_INLINE Vector<Accumulate<T>, Lanes> load(int64_t i) const {
    constexpr int64_t kBytesAhead = 2048;
    if constexpr (Lanes == kLanes<T>)
      __builtin_prefetch(reinterpret_cast<const char*>(first + i) + kBytesAhead);
    return stc::load<Lanes>(first + i);
  }

  // What becomes of a result where there is nothing to load.
  template <int Lanes, typename V>
  STC_INLINE V kept(V result, int64_t) const {
    return result;
  }
};

// No line: zeros.
template <typename T>
struct NoLine {
  template <int Lanes>
  STC_INLINE Vector<Accumulate<T>, Lanes> load(int64_t) const {
    return Vector<Accumulate<T>, Lanes>{};
  }
};

// Of the forward pass: scale and shift of the channels, gate of the groups.
template <typename E>
struct AffineValues {
  const E* scale;
  const E* shift;
  const E* gate;
};

// Of the gradient, grad_y = gate * scale * d + gate^2 * slope * y + gate * offset + share *
// grad_mean for d, the gradient of what the ReLU let pass.
template <typename E>
struct GradientValues {
  const E* slope;
  const E* offset;
  const E* grad_mean;
  E share;
};

template <bool kAlong, int Lanes, typename E>
inline Vector<E, Lanes> value(const E* from, int64_t i) {
  if constexpr (kAlong) {
    return load<Lanes>(from + i);
  } else {
    return broadcast<Lanes>(*from);
  }
}

// Of channels and groups that have no gate and no mean.
template <typename E>
constexpr E kOne = 1;
template <typename E>
constexpr E kZero = 0;

// NaN stays NaN, as in PyTorch.
template <typename V>
inline V relu(V v) {
  return v < 0 ? V{} : v;
}

template <typename V>
inline V where_relu_passes(V v, V grad) {
  return v <= 0 ? V{} : grad;
}

// slope * y + offset. Constant statistics have no slope: there infinite elements make no NaN.
template <typename V>
inline V through_statistics(V slope, V y, V offset) {
  return slope == 0 ? offset : slope * y + offset;
}

template <bool kChannels, bool kGroups, typename T, typename Source>
inline void affine_relu_line(T* out, Source y, int64_t size, AffineValues<Accumulate<T>> a) {
  for_each_vector<kLanes<T>>(size, [=](auto lanes, int64_t i) STC_INLINE {
    constexpr int kCount = lanes();
    const auto factor = value<kGroups, kCount>(a.gate, i) * value<kChannels, kCount>(a.scale, i);
    const auto shift = value<kChannels, kCount>(a.shift, i);
    const auto result = relu(factor * y.template load<kCount>(i) + shift);
    store<kCount>(out + i, y.template kept<kCount>(result, i));
  });
}

// One row of sums: per element along the line, or of the whole of it, in blocks.
template <bool kAlong, typename T>
class LineSum {
  using E = Accumulate<T>;

 public:
  explicit LineSum(E* to) : to_(to) {}
  ~LineSum() {
    if constexpr (!kAlong) *to_ += sum_of_lanes<kLanes<T>, E>(blocks_.total()) + rest_;
  }

  template <int Lanes>
  STC_INLINE void add(int64_t i, Vector<E, Lanes> terms) {
    if constexpr (kAlong) {
      store<Lanes>(to_ + i, load<Lanes>(to_ + i) + terms);
    } else if constexpr (Lanes == kLanes<T>) {
      full_ += terms;
    } else {
      rest_ += sum_of_lanes<Lanes, E>(terms);
    }
  }

  STC_INLINE void end_block() {
    blocks_.add(full_);
    full_ = Vector<E, kLanes<T>>{};
  }

 private:
  E* to_;
  Vector<E, kLanes<T>> full_{};
  SumOfBlocks<Vector<E, kLanes<T>>> blocks_;
  E rest_ = 0;
};

// add_terms(LaneCount, i) over [0, size) for sums of a line.
template <bool kAlong, typename T, typename AddTerms, typename... Sums>
STC_INLINE inline void sum_line(int64_t size, const AddTerms& add_terms, Sums&... sums) {
  if constexpr (kAlong) {
    for_each_vector<kLanes<T>>(size, add_terms);
  } else {
    constexpr int64_t kBlock = kTermsPerBlock * kLanes<T>;
    for (int64_t first = 0; first < size; first += kBlock) {
      const int64_t count = size - first < kBlock ? size - first : kBlock;
      for_each_vector<kLanes<T>>(
          count, [&](auto lanes, int64_t i) STC_INLINE { add_terms(lanes, first + i); });
      (sums.end_block(), ...);
    }
  }
}

// sums += d, products += d * (y - centre). The centre spares the digits that a large mean would
// cost; of groups along the line it is zero where it is not finite, and infinite sums stay so.
template <bool kChannels, bool kGroups, typename T, typename Source>
inline void add_gradient_sums(Source grad, Line<T> y, int64_t size, AffineValues<Accumulate<T>> a,
                              const Accumulate<T>* centre, Accumulate<T>* sums,
                              Accumulate<T>* products) {
  constexpr bool kAlong = kChannels || kGroups;
  LineSum<kAlong, T> line_sum(sums), line_product(products);
  const auto add_terms = [=, &line_sum, &line_product](auto lanes, int64_t i) STC_INLINE {
    constexpr int kCount = lanes();
    const auto factor = value<kGroups, kCount>(a.gate, i) * value<kChannels, kCount>(a.scale, i);
    const auto shift = value<kChannels, kCount>(a.shift, i);
    const auto of_group = value<kAlong, kCount>(centre, i);
    const auto middle = kGroups ? finite_or_zero(of_group) : of_group;
    const auto element = y.template load<kCount>(i);
    const auto d = where_relu_passes(factor * element + shift, grad.template load<kCount>(i));
    line_sum.template add<kCount>(i, d);
    line_product.template add<kCount>(i, d * (element - middle));
  };
  sum_line<kAlong, T>(size, add_terms, line_sum, line_product);
}

template <bool kChannels, bool kGroups, typename T, typename Source>
inline void write_gradient_line(T* grad_y, Source grad, Line<T> y, int64_t size,
                                AffineValues<Accumulate<T>> a, GradientValues<Accumulate<T>> g) {
  for_each_vector<kLanes<T>>(size, [=](auto lanes, int64_t i) STC_INLINE {
    constexpr int kCount = lanes();
    const auto gate = value<kGroups, kCount>(a.gate, i);
    const auto factor = gate * value<kChannels, kCount>(a.scale, i);
    const auto shift = value<kChannels, kCount>(a.shift, i);
    const auto slope = gate * gate * value<kChannels, kCount>(g.slope, i);
    const auto offset = gate * value<kChannels, kCount>(g.offset, i) +
                        g.share * value<kGroups, kCount>(g.grad_mean, i);
    const auto element = y.template load<kCount>(i);
    const auto d = where_relu_passes(factor * element + shift, grad.template load<kCount>(i));
    store<kCount>(grad_y + i, factor * d + through_statistics(slope, element, offset));
  });
}

}  // namespace
}  // namespace stc
