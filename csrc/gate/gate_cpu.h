#pragma once

#include "common/rows.h"
#include "common/sigmoid.h"
#include "gate/gate.h"

namespace stc {
namespace {

// Planes (views with inner == 1) whose gates are computed together.
constexpr int64_t kPlanesTogether = 64;

template <typename E>
inline void sigmoid_of(E* gate, const E* logits, int64_t size) {
  for_each_vector<kLanes<E>>(size, [&](auto lanes, int64_t i) {
    store<lanes()>(gate + i, sigmoid<lanes()>(load<lanes()>(logits + i)));
  });
}

template <typename T>
inline void gate_row(T* out, const T* row, const Accumulate<T>* gate, int64_t width) {
  for_each_vector<kLanes<T>>(width, [&](auto lanes, int64_t i) {
    store<lanes()>(out + i, load<lanes()>(row + i) * load<lanes()>(gate + i));
  });
}

template <typename T>
inline void gate_tile(const GateArguments<T>& a, const Tile& tile) {
  Accumulate<T> gate[kMaxTileWidth];
  sigmoid_of(gate, a.logits + tile.small_offset, tile.columns);
  repeat_columns(gate, tile.columns, tile.width);
  const T* row = a.frames + tile.offset;
  T* out = a.out + tile.offset;
  for (int64_t r = 0; r < tile.rows; ++r, row += tile.pitch, out += tile.pitch)
    gate_row(out, row, gate, tile.width);
  gate_row(out, row, gate, tile.tail);
}

template <typename T>
inline void gate_planes(const GateArguments<T>& a, int64_t first, int64_t count) {
  Accumulate<T> gate[kPlanesTogether];
  sigmoid_of(gate, a.logits + first, count);
  for (int64_t plane = 0; plane < count; ++plane) {
    const int64_t offset = (first + plane) * a.view.reduced;
    for_each_vector<kLanes<T>>(a.view.reduced, [&](auto lanes, int64_t i) {
      store<lanes()>(a.out + offset + i, load<lanes()>(a.frames + offset + i) * gate[plane]);
    });
  }
}

template <typename T>
void gate_forward(const GateArguments<T>& a, int64_t begin, int64_t end) {
  if (a.view.inner == 1) {
    for (int64_t first = begin; first < end; first += kPlanesTogether)
      gate_planes(a, first, end - first < kPlanesTogether ? end - first : kPlanesTogether);
    return;
  }
  const Tiling tiling(a.view);
  for (int64_t unit = begin; unit < end; ++unit) gate_tile(a, Tile(a.view, tiling, unit));
}

// Writes grad_frames for Rows rows and adds their d * frames to sums.
template <int Rows, typename T>
inline void gate_backward_rows(const GateBackwardArguments<T>& a, int64_t offset, int64_t pitch,
                               int64_t width, const Accumulate<T>* gate, Accumulate<T>* sums) {
  const T* grad_out = a.grad_out + offset;
  const T* frames = a.frames + offset;
  T* grad_frames = a.grad_frames + offset;
  for_each_vector<kLanes<T>>(width, [&](auto lanes, int64_t i) {
    constexpr int kCount = lanes();
    const auto e = load<kCount>(gate + i);
    Vector<Accumulate<T>, kCount> sum{};
    for (int row = 0; row < Rows; ++row) {
      const auto d = load<kCount>(grad_out + row * pitch + i);
      store<kCount>(grad_frames + row * pitch + i, d * e);
      sum += d * load<kCount>(frames + row * pitch + i);
    }
    store<kCount>(sums + i, load<kCount>(sums + i) + sum);
  });
}

template <typename E>
inline void finish_grad_logits(E* grad_logits, const E* gate, const E* sums, int64_t size) {
  for (int64_t i = 0; i < size; ++i) grad_logits[i] = gate[i] * (1 - gate[i]) * sums[i];
}

template <typename T>
inline void gate_backward_tile(const GateBackwardArguments<T>& a, const Tile& tile) {
  Accumulate<T> gate[kMaxTileWidth];
  Accumulate<T> sums[kMaxTileWidth];
  sigmoid_of(gate, a.logits + tile.small_offset, tile.columns);
  repeat_columns(gate, tile.columns, tile.width);
  zero_elements(sums, tile.width);
  int64_t offset = tile.offset;
  int64_t r = 0;
  for (; r + kRowsTogether <= tile.rows; r += kRowsTogether, offset += kRowsTogether * tile.pitch)
    gate_backward_rows<kRowsTogether>(a, offset, tile.pitch, tile.width, gate, sums);
  for (; r < tile.rows; ++r, offset += tile.pitch)
    gate_backward_rows<1>(a, offset, tile.pitch, tile.width, gate, sums);
  gate_backward_rows<1>(a, offset, tile.pitch, tile.tail, gate, sums);
  fold_columns(sums, tile.columns, tile.width);
  finish_grad_logits(a.grad_logits + tile.small_offset, gate, sums, tile.columns);
}

// Writes grad_frames for one plane and returns its sum of d * frames.
template <typename T>
inline Accumulate<T> gate_backward_plane(const GateBackwardArguments<T>& a, int64_t offset,
                                         Accumulate<T> gate) {
  constexpr int kCount = kLanes<T>;
  Vector<Accumulate<T>, kCount> sums{};
  Accumulate<T> rest = 0;
  for_each_vector<kCount>(a.view.reduced, [&](auto lanes, int64_t i) {
    const auto d = load<lanes()>(a.grad_out + offset + i);
    const auto product = d * load<lanes()>(a.frames + offset + i);
    store<lanes()>(a.grad_frames + offset + i, d * gate);
    if constexpr (lanes() == kCount) {
      sums += product;
    } else {
      rest += sum_of_lanes<lanes(), Accumulate<T>>(product);
    }
  });
  return sum_of_lanes<kCount, Accumulate<T>>(sums) + rest;
}

template <typename T>
inline void gate_backward_planes(const GateBackwardArguments<T>& a, int64_t first, int64_t count) {
  Accumulate<T> gate[kPlanesTogether];
  Accumulate<T> sums[kPlanesTogether];
  sigmoid_of(gate, a.logits + first, count);
  for (int64_t plane = 0; plane < count; ++plane)
    sums[plane] = gate_backward_plane(a, (first + plane) * a.view.reduced, gate[plane]);
  finish_grad_logits(a.grad_logits + first, gate, sums, count);
}

template <typename T>
void gate_backward(const GateBackwardArguments<T>& a, int64_t begin, int64_t end) {
  if (a.view.inner == 1) {
    for (int64_t first = begin; first < end; first += kPlanesTogether)
      gate_backward_planes(a, first, end - first < kPlanesTogether ? end - first : kPlanesTogether);
    return;
  }
  const Tiling tiling(a.view);
  for (int64_t unit = begin; unit < end; ++unit) gate_backward_tile(a, Tile(a.view, tiling, unit));
}

}  // namespace
}  // namespace stc
