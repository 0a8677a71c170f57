// One view for all: frames as (outer, reduced, inner), where pooling reduces the middle axis away
// and gating broadcasts over it. The small tensor (mean, gate) is (outer, inner).
//
//             spatial (reduced = H*W)          temporal (reduced = T)
//   NHWC      outer = N*T,   inner = C         outer = N, inner = H*W*C
//   NCHW      outer = N*T*C, inner = 1         outer = N, inner = C*H*W
#pragma once

#include <cstdint>

namespace stc {

struct View {
  int64_t outer;
  int64_t reduced;
  int64_t inner;

  [[gnu::always_inline]] int64_t size() const { return outer * reduced * inner; }
  // Elements of the small tensor.
  [[gnu::always_inline]] int64_t groups() const { return outer * inner; }
};

// Compiled for several instruction sets, of which none may leak into another: internal linkage.
namespace {

// Elements of the widest row that a kernel keeps sums or gates for on its stack.
constexpr int64_t kMaxTileWidth = 4096;
// Rows shorter than this are taken several at a time, so that inner loops stay long.
constexpr int64_t kMinTileWidth = 256;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Columns of the view are independent of each other: a unit of work is a tile of columns of one
// outer index, over the whole reduced axis. So results cannot depend on how units are spread over
// threads. Views with inner == 1 have one unit per outer index.
struct Tiling {
  int64_t width;
  int64_t per_outer;

  explicit Tiling(const View& view) {
    constexpr int64_t kUnitsWanted = 64;
    constexpr int64_t kCacheLine = 64;
    const int64_t tiles_wanted = view.outer > 0 ? ceil_div(kUnitsWanted, view.outer) : 1;
    const int64_t even = ceil_div(ceil_div(view.inner, tiles_wanted), kCacheLine) * kCacheLine;
    width = even < kMinTileWidth ? kMinTileWidth : even > kMaxTileWidth ? kMaxTileWidth : even;
    if (width > view.inner) width = view.inner;
    per_outer = view.inner > 0 ? ceil_div(view.inner, width) : 0;
  }

  int64_t units(const View& view) const { return view.outer * per_outer; }
};

// Units of the kernels that walk over a view.
inline int64_t view_units(const View& view) {
  return view.inner == 1 ? view.outer : Tiling(view).units(view);
}

// What one unit covers: `rows` rows of `width` elements, `pitch` apart, and `tail` further elements
// that begin one more row. Column i of a row belongs to column i % columns of the small tensor.
struct Tile {
  int64_t offset;
  int64_t small_offset;
  int64_t columns;
  int64_t width;
  int64_t pitch;
  int64_t rows;
  int64_t tail;

  Tile(const View& view, const Tiling& tiling, int64_t unit) {
    const int64_t outer = unit / tiling.per_outer;
    const int64_t first = (unit % tiling.per_outer) * tiling.width;
    const int64_t left = view.inner - first;
    columns = left < tiling.width ? left : tiling.width;
    offset = outer * view.reduced * view.inner + first;
    small_offset = outer * view.inner + first;
    const bool whole_rows = columns == view.inner;
    const int64_t merged = whole_rows && columns < kMinTileWidth ? kMinTileWidth / columns : 1;
    width = columns * merged;
    pitch = view.inner * merged;
    rows = view.reduced / merged;
    tail = view.reduced % merged * columns;
  }

  bool rows_are_adjacent() const { return pitch == width; }
};

}  // namespace
}  // namespace stc
