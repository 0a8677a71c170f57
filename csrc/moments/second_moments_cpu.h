// Mean and centred second moment in one read. A few rows in registers give exact moments of their
// own; these are gathered around the first of them, and from time to time merged into totals, so
// that neither a large mean nor a long axis costs digits.
#pragma once

#include "moments/moments_cpu.h"

namespace stc {
namespace {

template <int Lanes, typename E>
struct MomentsOf {
  Vector<E, Lanes> mean;
  Vector<E, Lanes> m2;
};

template <int Rows, int Lanes, typename T>
inline MomentsOf<Lanes, Accumulate<T>> moments_of_rows(const T* rows, int64_t pitch) {
  using E = Accumulate<T>;
  Vector<E, Lanes> values[Rows];
  for (int row = 0; row < Rows; ++row) values[row] = load<Lanes>(rows + row * pitch);
  Vector<E, Lanes> sum = values[0], m2{};
  for (int row = 1; row < Rows; ++row) sum += values[row];
  const Vector<E, Lanes> mean = sum * (E{1} / Rows);
  if constexpr (Rows > 1)
    for (const auto& value : values) m2 += (value - mean) * (value - mean);
  return {mean, m2};
}

// Where a mean lies that moves by a step towards another one. Means of infinities are infinite, as
// sums are, or NaN.
template <typename V>
inline V moved(V from, V towards, V step) {
  return step - step == 0 ? from + step : from + towards;
}

// Sums around a pivot, which is finite: of deviations from it, and of their squares.
template <int Lanes, typename E>
struct PivotSums {
  Vector<E, Lanes> pivot;
  Vector<E, Lanes> sum{};
  Vector<E, Lanes> squares{};

  void add(const MomentsOf<Lanes, E>& moments, E rows) {
    const auto deviation = moments.mean - pivot;
    sum += rows * deviation;
    squares += moments.m2 + rows * deviation * deviation;
  }

  MomentsOf<Lanes, E> moments(E rows) const {
    const auto offset = sum / rows;
    const auto m2 = squares - sum * offset;
    return {pivot + offset, m2 < 0 ? Vector<E, Lanes>{} : m2};
  }
};

// Moments of the union of two sets of rows.
template <int Lanes, typename E>
inline MomentsOf<Lanes, E> merged(const MomentsOf<Lanes, E>& a, E rows_of_a,
                                  const MomentsOf<Lanes, E>& b, E rows_of_b) {
  const E share = rows_of_b / (rows_of_a + rows_of_b);
  const auto distance = b.mean - a.mean;
  return {moved(a.mean, b.mean, distance * share),
          a.m2 + b.m2 + distance * distance * (rows_of_a * share)};
}

// The sums of all columns of a tile, in memory.
template <typename T>
class TileMoments {
  using E = Accumulate<T>;

 public:
  // Adds `Rows` rows, of which only the first one may be shorter than the tile's.
  template <int Rows>
  void add(const T* rows, int64_t pitch, int64_t width) {
    const bool first = pending_ == 0;
    for_each_vector<kLanes<T>>(width, [&](auto lanes, int64_t i) {
      constexpr int kCount = lanes();
      const auto moments = moments_of_rows<Rows, kCount>(rows + i, pitch);
      PivotSums<kCount, E> sums{first ? finite_or_zero(moments.mean) : load<kCount>(pivot_ + i)};
      if (!first) {
        sums.sum = load<kCount>(sum_ + i);
        sums.squares = load<kCount>(squares_ + i);
      }
      sums.add(moments, E{Rows});
      if (first) store<kCount>(pivot_ + i, sums.pivot);
      store<kCount>(sum_ + i, sums.sum);
      store<kCount>(squares_ + i, sums.squares);
    });
    pending_ += Rows;
  }

  // Takes the sums up into the totals.
  void flush(int64_t width) {
    if (pending_ == 0) return;
    for_each_vector<kLanes<T>>(width, [&](auto lanes, int64_t i) {
      constexpr int kCount = lanes();
      const PivotSums<kCount, E> sums{load<kCount>(pivot_ + i), load<kCount>(sum_ + i),
                                      load<kCount>(squares_ + i)};
      auto moments = sums.moments(static_cast<E>(pending_));
      if (rows_ > 0)
        moments = merged<kCount, E>({load<kCount>(mean_ + i), load<kCount>(m2_ + i)},
                                    static_cast<E>(rows_), moments, static_cast<E>(pending_));
      store<kCount>(mean_ + i, moments.mean);
      store<kCount>(m2_ + i, moments.m2);
    });
    rows_ += pending_;
    pending_ = 0;
  }

  // Adds one more row, which covers the first `size` columns only.
  void add_tail(const T* row, int64_t size) {
    const E rows = static_cast<E>(rows_);
    for (int64_t i = 0; i < size; ++i) {
      const MomentsOf<1, E> single{load<1>(row + i), {}};
      const auto moments =
          rows_ == 0 ? single
                     : merged<1, E>({load<1>(mean_ + i), load<1>(m2_ + i)}, rows, single, 1);
      store<1>(mean_ + i, moments.mean);
      store<1>(m2_ + i, moments.m2);
    }
  }

  // Merges columns i, i + columns, i + 2 * columns, ... below width; those below `tail` hold a row
  // more.
  void fold(int64_t columns, int64_t width, int64_t tail) {
    for (int64_t i = 0; i < columns; ++i) {
      MomentsOf<1, E> moments{load<1>(mean_ + i), load<1>(m2_ + i)};
      int64_t rows = rows_ + (i < tail);
      for (int64_t j = i + columns; j < width; j += columns) {
        const int64_t more = rows_ + (j < tail);
        if (more == 0) break;
        moments = merged<1, E>(moments, static_cast<E>(rows),
                               {load<1>(mean_ + j), load<1>(m2_ + j)}, static_cast<E>(more));
        rows += more;
      }
      store<1>(mean_ + i, moments.mean);
      store<1>(m2_ + i, moments.m2);
    }
  }

  const E* mean() const { return mean_; }
  const E* m2() const { return m2_; }

 private:
  int64_t pending_ = 0, rows_ = 0;
  E pivot_[kMaxTileWidth], sum_[kMaxTileWidth], squares_[kMaxTileWidth];
  E mean_[kMaxTileWidth], m2_[kMaxTileWidth];
};

template <typename T>
inline void moments_of_adjacent_rows(const MomentsArguments<T>& a, const Tile& tile) {
  constexpr int64_t kBlock = kRowsTogether * kTermsPerBlock;
  TileMoments<T> moments;
  const T* row = a.frames + tile.offset;
  int64_t r = 0;
  for (; r + kRowsTogether <= tile.rows; r += kRowsTogether, row += kRowsTogether * tile.pitch) {
    if (r > 0 && r % kBlock == 0) moments.flush(tile.width);
    moments.template add<kRowsTogether>(row, tile.pitch, tile.width);
  }
  for (; r < tile.rows; ++r, row += tile.pitch)
    moments.template add<1>(row, tile.pitch, tile.width);
  moments.flush(tile.width);
  moments.add_tail(row, tile.tail);
  moments.fold(tile.columns, tile.width, tile.tail);
  copy_elements(a.mean + tile.small_offset, moments.mean(), tile.columns);
  copy_elements(a.m2 + tile.small_offset, moments.m2(), tile.columns);
}

template <typename T>
inline void moments_of_distant_rows(const MomentsArguments<T>& a, const Tile& tile) {
  using E = Accumulate<T>;
  for_each_vector<kLanes<T>>(tile.columns, [&](auto lanes, int64_t i) {
    constexpr int kCount = lanes();
    const T* row = a.frames + tile.offset + i;
    PivotSums<kCount, E> sums{finite_or_zero(load<kCount>(row))};
    int64_t r = 0;
    for (; r + kRowsTogether <= tile.rows; r += kRowsTogether, row += kRowsTogether * tile.pitch) {
      const auto moments = moments_of_rows<kRowsTogether, kCount>(row, tile.pitch);
      if (r == 0) sums.pivot = finite_or_zero(moments.mean);
      sums.add(moments, E{kRowsTogether});
    }
    for (; r < tile.rows; ++r, row += tile.pitch)
      sums.add(moments_of_rows<1, kCount>(row, tile.pitch), E{1});
    const auto moments = sums.moments(static_cast<E>(tile.rows));
    store<kCount>(a.mean + tile.small_offset + i, moments.mean);
    store<kCount>(a.m2 + tile.small_offset + i, moments.m2);
  });
}

template <typename T>
inline Accumulate<T> squares_around(const T* run, int64_t size, Accumulate<T> mean) {
  using E = Accumulate<T>;
  constexpr int kCount = kLanes<T>;
  return sum_of_blocks<T>(size, [&](int64_t first, int64_t count) {
    Vector<E, kCount> squares{};
    E rest = 0;
    for_each_vector<kCount>(count, [&](auto lanes, int64_t i) {
      const auto deviation = load<lanes()>(run + first + i) - mean;
      if constexpr (lanes() == kCount) {
        squares += deviation * deviation;
      } else {
        rest += sum_of_lanes<lanes(), E>(deviation * deviation);
      }
    });
    return sum_of_lanes<kCount, E>(squares) + rest;
  });
}

// A plane is read in pieces that stay in the first-level cache: once for the mean, once around it.
template <typename T>
inline void moments_of_plane(const MomentsArguments<T>& a, int64_t plane) {
  using E = Accumulate<T>;
  constexpr int64_t kPiece = 4096;
  const T* run = a.frames + plane * a.view.reduced;
  MomentsOf<1, E> moments{};
  for (int64_t done = 0; done < a.view.reduced;) {
    const int64_t size = a.view.reduced - done < kPiece ? a.view.reduced - done : kPiece;
    const E mean = sum_of_run(run + done, size) / static_cast<E>(size);
    const MomentsOf<1, E> piece{broadcast<1>(mean),
                                broadcast<1>(squares_around(run + done, size, mean))};
    moments = done == 0 ? piece
                        : merged<1, E>(moments, static_cast<E>(done), piece, static_cast<E>(size));
    done += size;
  }
  a.mean[plane] = moments.mean[0];
  a.m2[plane] = moments.m2[0];
}

// Empty views (reduced == 0) leave undefined moments: the boundary fills them.
template <typename T>
void moments_forward(const MomentsArguments<T>& a, int64_t begin, int64_t end) {
  if (a.view.inner == 1) {
    for (int64_t plane = begin; plane < end; ++plane) moments_of_plane(a, plane);
    return;
  }
  const Tiling tiling(a.view);
  for (int64_t unit = begin; unit < end; ++unit) {
    const Tile tile(a.view, tiling, unit);
    if (tile.rows_are_adjacent()) {
      moments_of_adjacent_rows(a, tile);
    } else {
      moments_of_distant_rows(a, tile);
    }
  }
}

}  // namespace
}  // namespace stc
