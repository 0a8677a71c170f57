#pragma once

#include "common/rows.h"
#include "moments/moments.h"

namespace stc {
namespace {

template <int Rows, int Lanes, typename T>
inline Vector<Accumulate<T>, Lanes> sum_rows(const T* rows, int64_t pitch) {
  if constexpr (Rows == 1) {
    return load<Lanes>(rows);
  } else {
    return sum_rows<Rows / 2, Lanes>(rows, pitch) +
           sum_rows<Rows / 2, Lanes>(rows + Rows / 2 * pitch, pitch);
  }
}

template <int Rows, typename T>
inline void add_rows(Accumulate<T>* sums, const T* rows, int64_t pitch, int64_t width) {
  for_each_vector<kLanes<T>>(width, [&](auto lanes, int64_t i) {
    constexpr int kCount = lanes();
    store<kCount>(sums + i, load<kCount>(sums + i) + sum_rows<Rows, kCount>(rows + i, pitch));
  });
}

// Rows that are read together, so that sums in memory are loaded and stored once for all of them.
constexpr int kRowsTogether = 8;

template <typename T>
inline void mean_of_tile(const MeanArguments<T>& a, const Tile& tile) {
  constexpr int64_t kBlock = kRowsTogether * kTermsPerBlock;
  Accumulate<T> sums[kMaxTileWidth];
  Accumulate<T> totals[kMaxTileWidth];
  zero_elements(sums, tile.width);
  if (tile.rows > kBlock) zero_elements(totals, tile.width);
  const T* row = a.frames + tile.offset;
  int64_t r = 0;
  for (; r + kRowsTogether <= tile.rows; r += kRowsTogether, row += kRowsTogether * tile.pitch) {
    if (r > 0 && r % kBlock == 0) flush_sums(totals, sums, tile.width);
    add_rows<kRowsTogether>(sums, row, tile.pitch, tile.width);
  }
  for (; r < tile.rows; ++r, row += tile.pitch) add_rows<1>(sums, row, tile.pitch, tile.width);
  add_rows<1>(sums, row, tile.pitch, tile.tail);
  if (tile.rows > kBlock) flush_sums(sums, totals, tile.width);
  fold_columns(sums, tile.columns, tile.width);
  Accumulate<T>* mean = a.mean + tile.small_offset;
  const auto scale = 1 / static_cast<Accumulate<T>>(a.view.reduced);
  for (int64_t i = 0; i < tile.columns; ++i) mean[i] = sums[i] * scale;
}

template <typename T>
inline Accumulate<T> sum_of_block(const T* run, int64_t size) {
  constexpr int kCount = kLanes<T>;
  constexpr int kChains = 4;
  Vector<Accumulate<T>, kCount> sums[kChains] = {};
  int64_t i = 0;
  for (; i + kChains * kCount <= size; i += kChains * kCount)
    for (int chain = 0; chain < kChains; ++chain)
      sums[chain] += load<kCount>(run + i + chain * kCount);
  for (; i + kCount <= size; i += kCount) sums[0] += load<kCount>(run + i);
  Accumulate<T> total =
      sum_of_lanes<kCount, Accumulate<T>>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < size; ++i) total += load<1>(run + i)[0];
  return total;
}

template <typename T>
inline Accumulate<T> sum_of_run(const T* run, int64_t size) {
  return sum_of_blocks<T>(
      size, [&](int64_t first, int64_t count) { return sum_of_block(run + first, count); });
}

template <typename T>
void mean_forward(const MeanArguments<T>& a, int64_t begin, int64_t end) {
  if (a.view.inner == 1) {
    const auto scale = 1 / static_cast<Accumulate<T>>(a.view.reduced);
    for (int64_t outer = begin; outer < end; ++outer)
      a.mean[outer] = sum_of_run(a.frames + outer * a.view.reduced, a.view.reduced) * scale;
    return;
  }
  const Tiling tiling(a.view);
  for (int64_t unit = begin; unit < end; ++unit) mean_of_tile(a, Tile(a.view, tiling, unit));
}

template <typename T>
inline void broadcast_tile(const MeanBackwardArguments<T>& a, const Tile& tile) {
  T row[kMaxTileWidth];
  const Accumulate<T>* grad = a.grad_mean + tile.small_offset;
  const auto scale = 1 / static_cast<Accumulate<T>>(a.view.reduced);
  for_each_vector<kLanes<T>>(tile.columns, [&](auto lanes, int64_t i) {
    store<lanes()>(row + i, load<lanes()>(grad + i) * scale);
  });
  repeat_columns(row, tile.columns, tile.width);
  T* to = a.grad_frames + tile.offset;
  for (int64_t r = 0; r < tile.rows; ++r, to += tile.pitch) copy_elements(to, row, tile.width);
  copy_elements(to, row, tile.tail);
}

template <typename T>
void mean_backward(const MeanBackwardArguments<T>& a, int64_t begin, int64_t end) {
  if (a.view.inner == 1) {
    const auto scale = 1 / static_cast<Accumulate<T>>(a.view.reduced);
    for (int64_t outer = begin; outer < end; ++outer) {
      const auto value = a.grad_mean[outer] * scale;
      T* to = a.grad_frames + outer * a.view.reduced;
      for_each_vector<kLanes<T>>(a.view.reduced, [&](auto lanes, int64_t i) {
        store<lanes()>(to + i, broadcast<lanes()>(value));
      });
    }
    return;
  }
  const Tiling tiling(a.view);
  for (int64_t unit = begin; unit < end; ++unit) broadcast_tile(a, Tile(a.view, tiling, unit));
}

}  // namespace
}  // namespace stc
