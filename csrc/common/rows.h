// Sums over rows and runs of elements: fixed trees, the same whatever thread does them. Long sums
// are kept in levels, so that rounding errors grow with the length of one level only.
#pragma once

#include "common/vector.h"
#include "common/view.h"

namespace stc {
namespace {

// Terms that one level of a sum takes up before it is added to the next.
constexpr int64_t kTermsPerBlock = 64;

// The levels above the blocks of a long run: numbers or vectors of them.
template <typename V>
class SumOfBlocks {
 public:
  STC_INLINE void add(V block) {
    blocks_ += block;
    if (++pending_ < kTermsPerBlock) return;
    total_ += blocks_;
    blocks_ = V{};
    pending_ = 0;
  }
  STC_INLINE V total() const { return total_ + blocks_; }

 private:
  V blocks_{}, total_{};
  int64_t pending_ = 0;
};

// Sum of sum_of_block(first, count) over the blocks of `size` adjacent elements of T.
template <typename T, typename SumOfBlock>
inline Accumulate<T> sum_of_blocks(int64_t size, const SumOfBlock& sum_of_block) {
  constexpr int64_t kBlock = kTermsPerBlock * kLanes<T>;
  SumOfBlocks<Accumulate<T>> sum;
  for (int64_t i = 0; i < size; i += kBlock)
    sum.add(sum_of_block(i, size - i < kBlock ? size - i : kBlock));
  return sum.total();
}

// totals[i] += sums[i], and sums[i] = 0
template <typename E>
inline void flush_sums(E* totals, E* sums, int64_t size) {
  for_each_vector<kLanes<E>>(size, [&](auto lanes, int64_t i) {
    store<lanes()>(totals + i, load<lanes()>(totals + i) + load<lanes()>(sums + i));
    store<lanes()>(sums + i, Vector<E, lanes()>{});
  });
}

// to[i] = to[i % columns] for i in [columns, width)
template <typename E>
inline void repeat_columns(E* to, int64_t columns, int64_t width) {
  for (int64_t i = columns; i < width; ++i) to[i] = to[i - columns];
}

// to[i] = sum of to[i], to[i + columns], to[i + 2 * columns], ... below width
template <typename E>
inline void fold_columns(E* to, int64_t columns, int64_t width) {
  for (int64_t first = columns; first < width; first += columns)
    for (int64_t i = 0; i < columns; ++i) to[i] += to[first + i];
}

}  // namespace
}  // namespace stc
