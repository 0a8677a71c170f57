// The views that take every path of the kernels that walk over views.
#pragma once

#include <algorithm>
#include <ostream>
#include <vector>

#include "common/view.h"

namespace stc {

inline std::ostream& operator<<(std::ostream& out, const View& view) {
  return out << "(outer " << view.outer << ", reduced " << view.reduced << ", inner " << view.inner
             << ')';
}

}  // namespace stc

namespace stc::test {

// Rows that are taken one at a time. Each is one vector of as many lanes, as far as the instruction
// set has vectors so wide.
constexpr int64_t kLongestRow = 16;
constexpr int64_t kRowLengths[] = {1, 2, 4, 8, kLongestRow};

// `size` must be a multiple of kLongestRow.
inline View rows_of(int64_t length, int64_t size) { return {size / length, 1, length}; }

// Those of no more than `most_elements`.
inline std::vector<View> views(int64_t most_elements) {
  std::vector<View> views;
  // Planes: every remainder of vectors and of chains of vectors.
  for (int64_t reduced = 1; reduced <= 36; ++reduced) views.push_back({3, reduced, 1});
  for (const int64_t reduced : {63, 64, 65, 100, 127, 129, 196, 1023})
    views.push_back({5, reduced, 1});
  // Planes: around the number of gates that are computed together.
  for (const int64_t outer : {1, 63, 64, 65, 150}) views.push_back({outer, 9, 1});
  // Merged rows: none full, full ones below, at and above the number read together, and a tail.
  for (const int64_t inner : {2, 3, 7, 17, 64, 85, 127, 128}) {
    const int64_t merged = kMinTileWidth / inner;
    for (const int64_t full_rows : {0, 1, 3, 4, 8, 13}) {
      views.push_back({3, full_rows * merged + 1, inner});
      if (full_rows > 0) views.push_back({2, full_rows * merged, inner});
      if (merged > 2) views.push_back({2, full_rows * merged + merged - 1, inner});
    }
  }
  // One row each, in one tile or in several, the last of them narrower.
  for (const int64_t inner : {129, 200, 255, 256, 257, 300, 511, 513, 1000})
    for (const int64_t reduced : {1, 2, 4, 7, 8, 9, 17}) views.push_back({2, reduced, inner});
  // CUDA: planes of a quarter of a warp, a warp or a block each, several blocks of them.
  for (const int64_t reduced : {49, 64, 196, 784, 1100}) views.push_back({20, reduced, 1});
  views.push_back({2, 3136, 1});
  // CUDA: columns of several warps and blocks, rows of one block or split over several.
  for (const View& view : {View{8, 49, 64}, View{2, 784, 16}, View{1, 1500, 8}, View{2, 196, 40},
                           View{1, 300, 7}, View{2, 8, 1568}, View{1, 16, 784}, View{3, 2, 520}})
    views.push_back(view);
  // Tiles of the largest width, because there are many outer indices or the row is very wide.
  views.push_back({64, 1, kMaxTileWidth - 1});
  views.push_back({64, 2, kMaxTileWidth});
  views.push_back({64, 1, kMaxTileWidth + 1});
  views.push_back({64, 1, 2 * kMaxTileWidth + 37});
  views.push_back({1, 1, 64 * kMaxTileWidth + 37});
  // Nothing to read, or nothing to write.
  for (const View& empty :
       {View{0, 3, 5}, View{2, 3, 0}, View{0, 3, 1}, View{2, 0, 5}, View{2, 0, 1}, View{2, 0, 300}})
    views.push_back(empty);
  const auto is_too_large = [&](const View& view) { return view.size() > most_elements; };
  views.erase(std::remove_if(views.begin(), views.end(), is_too_large), views.end());
  return views;
}

// One for each way that CUDA kernels divide their work: planes with edges, several to a warp, a
// warp each or a block each; columns in part of a tile, in several tiles, in rows of one block or
// split over several.
inline std::vector<View> few_cuda_views() {
  return {{20, 49, 1}, {6, 131, 1}, {3, 1101, 1}, {1, 300, 7}, {2, 1100, 16}, {3, 9, 24}};
}

}  // namespace stc::test
