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

// Rows that follow each other are streamed, their gates kept beside.
template <typename T>
inline void gate_adjacent_rows(const GateArguments<T>& a, const Tile& tile) {
  Accumulate<T> gate[kMaxTileWidth];
  sigmoid_of(gate, a.logits + tile.small_offset, tile.columns);
  repeat_columns(gate, tile.columns, tile.width);
  const T* row = a.frames + tile.offset;
  T* out = a.out + tile.offset;
  for (int64_t r = 0; r < tile.rows; ++r, row += tile.pitch, out += tile.pitch)
    gate_row(out, row, gate, tile.width);
  gate_row(out, row, gate, tile.tail);
}

// body(row) for all rows, unrolled: a loop over so few would end in a wrong guess of the processor
// each time.
template <typename Body>
inline void for_each_row(int64_t rows, const Body& body) {
  constexpr int kUnrolled = 8;
  int64_t row = 0;
  for (; row + kUnrolled <= rows; row += kUnrolled)
    for (int next = 0; next < kUnrolled; ++next) body(row + next);
  for (; row < rows; ++row) body(row);
}

// Rows far apart are taken column by column, so that the sigmoid is computed while they load.
template <typename T>
inline void gate_distant_rows(const GateArguments<T>& a, const Tile& tile) {
  const Accumulate<T>* logits = a.logits + tile.small_offset;
  const T* frames = a.frames + tile.offset;
  T* out = a.out + tile.offset;
  for_each_vector<kLanes<T>>(tile.columns, [&](auto lanes, int64_t i) {
    const auto gate = sigmoid<lanes()>(load<lanes()>(logits + i));
    for_each_row(tile.rows, [&](int64_t row) {
      const int64_t offset = row * tile.pitch + i;
      store<lanes()>(out + offset, load<lanes()>(frames + offset) * gate);
    });
  });
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
  for (int64_t unit = begin; unit < end; ++unit) {
    const Tile tile(a.view, tiling, unit);
    if (tile.rows_are_adjacent()) {
      gate_adjacent_rows(a, tile);
    } else {
      gate_distant_rows(a, tile);
    }
  }
}

// Writes grad_frames for one row and adds its d * frames to sums. Reads come first, then writes out
// of the first-level cache: mixed, they keep each other waiting.
template <typename T>
inline void gate_backward_row(const GateBackwardArguments<T>& a, int64_t offset, int64_t width,
                              const Accumulate<T>* gate, Accumulate<T>* sums) {
  for_each_vector<kLanes<T>>(width, [&](auto lanes, int64_t i) {
    const auto product =
        load<lanes()>(a.grad_out + offset + i) * load<lanes()>(a.frames + offset + i);
    store<lanes()>(sums + i, load<lanes()>(sums + i) + product);
  });
  gate_row(a.grad_frames + offset, a.grad_out + offset, gate, width);
}

template <typename E>
inline void finish_grad_logits(E* grad_logits, const E* gate, const E* sums, int64_t size) {
  for (int64_t i = 0; i < size; ++i) grad_logits[i] = gate[i] * (1 - gate[i]) * sums[i];
}

template <typename T>
inline void gate_backward_adjacent_rows(const GateBackwardArguments<T>& a, const Tile& tile) {
  Accumulate<T> gate[kMaxTileWidth];
  Accumulate<T> sums[kMaxTileWidth];
  Accumulate<T> totals[kMaxTileWidth];
  sigmoid_of(gate, a.logits + tile.small_offset, tile.columns);
  repeat_columns(gate, tile.columns, tile.width);
  zero_elements(sums, tile.width);
  if (tile.rows > kTermsPerBlock) zero_elements(totals, tile.width);
  int64_t offset = tile.offset;
  for (int64_t r = 0; r < tile.rows; ++r, offset += tile.pitch) {
    if (r > 0 && r % kTermsPerBlock == 0) flush_sums(totals, sums, tile.width);
    gate_backward_row(a, offset, tile.width, gate, sums);
  }
  gate_backward_row(a, offset, tile.tail, gate, sums);
  if (tile.rows > kTermsPerBlock) flush_sums(sums, totals, tile.width);
  fold_columns(sums, tile.columns, tile.width);
  finish_grad_logits(a.grad_logits + tile.small_offset, gate, sums, tile.columns);
}

template <typename T>
inline void gate_backward_distant_rows(const GateBackwardArguments<T>& a, const Tile& tile) {
  const Accumulate<T>* logits = a.logits + tile.small_offset;
  Accumulate<T>* grad_logits = a.grad_logits + tile.small_offset;
  const T* grad_out = a.grad_out + tile.offset;
  const T* frames = a.frames + tile.offset;
  T* grad_frames = a.grad_frames + tile.offset;
  for_each_vector<kLanes<T>>(tile.columns, [&](auto lanes, int64_t i) {
    const auto gate = sigmoid<lanes()>(load<lanes()>(logits + i));
    Vector<Accumulate<T>, lanes()> sum{};
    for_each_row(tile.rows, [&](int64_t row) {
      const int64_t offset = row * tile.pitch + i;
      const auto d = load<lanes()>(grad_out + offset);
      sum += d * load<lanes()>(frames + offset);
      store<lanes()>(grad_frames + offset, d * gate);
    });
    store<lanes()>(grad_logits + i, gate * (1 - gate) * sum);
  });
}

// Writes grad_frames for a part of one plane and returns its sum of d * frames.
template <typename T>
inline Accumulate<T> gate_backward_run(const GateBackwardArguments<T>& a, int64_t offset,
                                       int64_t size, Accumulate<T> gate) {
  constexpr int kCount = kLanes<T>;
  Vector<Accumulate<T>, kCount> sums{};
  Accumulate<T> rest = 0;
  for_each_vector<kCount>(size, [&](auto lanes, int64_t i) {
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
inline Accumulate<T> gate_backward_plane(const GateBackwardArguments<T>& a, int64_t offset,
                                         Accumulate<T> gate) {
  return sum_of_blocks<T>(a.view.reduced, [&](int64_t first, int64_t count) {
    return gate_backward_run(a, offset + first, count, gate);
  });
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
  for (int64_t unit = begin; unit < end; ++unit) {
    const Tile tile(a.view, tiling, unit);
    if (tile.rows_are_adjacent()) {
      gate_backward_adjacent_rows(a, tile);
    } else {
      gate_backward_distant_rows(a, tile);
    }
  }
}

}  // namespace
}  // namespace stc
