#pragma once

#include "common/affine_lines.h"
#include "refine/refine.h"

namespace stc {
namespace {

// A line of one branch.
struct RefinePiece {
  int branch;
  int64_t size;
  int64_t channel;  // of the first element, in the concatenation
  int64_t y;        // offset in the branch
  int64_t out;      // offset in the concatenation
  int64_t group;    // offset in what is kept per group
};

// work(channels along?, groups along?, piece) for the branches of one pixel.
template <typename T, typename Work>
inline void for_each_branch(const RefineArguments<T>& a, int64_t frame, int64_t pixel,
                            const Work& work) {
  const int64_t row = frame * a.shape.pixels() + pixel;
  const int64_t row_of_clip = frame / a.shape.num_segments * a.shape.pixels() + pixel;
  for (int index = 0; index < 2; ++index) {
    const RefineBranch<T>& branch = a.branches[index];
    const RefinePiece piece{index,
                            branch.channels,
                            branch.first_channel,
                            row * branch.channels,
                            row * a.shape.channels + branch.first_channel,
                            (branch.gated_per_pixel ? row_of_clip : frame) * branch.channels};
    if (branch.gated) {
      work(Along<true>{}, Along<true>{}, piece);
    } else {
      work(Along<true>{}, Along<false>{}, piece);
    }
  }
}

template <typename T, typename Work>
inline void for_each_plane(const RefineArguments<T>& a, const Unit& unit, const Work& work) {
  const int64_t channel = unit.index_in_clip, pixels = a.shape.pixels();
  const int index = channel >= a.branches[1].first_channel;
  const RefineBranch<T>& branch = a.branches[index];
  const int64_t in_branch = channel - branch.first_channel;
  for (int64_t time = 0; time < a.shape.num_segments; ++time) {
    const int64_t frame = unit.clip * a.shape.num_segments + time;
    const int64_t plane = frame * branch.channels + in_branch;
    RefinePiece piece{
        index, pixels, channel, plane * pixels, (frame * a.shape.channels + channel) * pixels,
        plane};
    if (branch.gated_per_pixel) {
      piece.group = (unit.clip * branch.channels + in_branch) * pixels;
      work(Along<false>{}, Along<true>{}, piece);
    } else {
      work(Along<false>{}, Along<false>{}, piece);
    }
  }
}

// The branches are taken in turn, so that the concatenation is written and its gradient read in the
// order of memory.
template <typename T, typename Work>
inline void for_each_piece(const RefineArguments<T>& a, int64_t index, const Work& work) {
  const Unit unit = unit_of(a.shape, index);
  if (!a.shape.channels_last) return for_each_plane(a, unit, work);
  for (int64_t time = 0; time < a.shape.num_segments; ++time)
    for (int64_t pixel = unit.first_pixel; pixel < unit.first_pixel + unit.pixels; ++pixel)
      for_each_branch(a, unit.clip * a.shape.num_segments + time, pixel, work);
}

template <typename T>
inline AffineValues<Accumulate<T>> values_of(const RefineArguments<T>& a,
                                             const RefinePiece& piece) {
  const RefineBranch<T>& branch = a.branches[piece.branch];
  return {a.scale + piece.channel, a.shift + piece.channel,
          branch.gated ? branch.gate + piece.group : &kOne<Accumulate<T>>};
}

template <typename T>
inline Line<T> input_of(const RefineArguments<T>& a, const RefinePiece& piece) {
  return {a.branches[piece.branch].y + piece.y};
}

template <typename T>
void refine_forward(const RefineArguments<T>& a, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit)
    for_each_piece(a, unit, [&](auto channels, auto groups, const RefinePiece& piece) {
      affine_relu_line<channels(), groups()>(a.out + piece.out, input_of(a, piece), piece.size,
                                             values_of(a, piece));
    });
}

// The sums of d of a branch, and behind them those of its products with y.
template <typename E>
struct GroupSums {
  E* sums;
  E* products;
};

template <typename T>
inline GroupSums<Accumulate<T>> group_sums(const RefineBackwardArguments<T>& b, int branch,
                                           const Unit& unit) {
  const FrameShape& shape = b.forward.shape;
  const RefineBranch<T>& forward = b.forward.branches[branch];
  Accumulate<T>* sums = b.branches[branch].sums;
  if (forward.gated_per_pixel)
    return {sums, sums + shape.clips * shape.pixels() * forward.channels};
  const int64_t size = shape.frames() * forward.channels;
  if (shape.channels_last) sums += unit.index_in_clip * 2 * size;
  return {sums, sums + size};
}

template <typename T>
inline void clear_group_sums(const RefineBackwardArguments<T>& b, int branch, const Unit& unit) {
  const FrameShape& shape = b.forward.shape;
  const RefineBranch<T>& forward = b.forward.branches[branch];
  const int64_t in_branch = unit.index_in_clip - forward.first_channel;
  if (!shape.channels_last && (in_branch < 0 || in_branch >= forward.channels)) return;
  const GroupSums<Accumulate<T>> groups = group_sums(b, branch, unit);
  const auto clear = [&](int64_t first, int64_t size) {
    zero_elements(groups.sums + first, size);
    zero_elements(groups.products + first, size);
  };
  const int64_t channels = forward.channels, pixels = shape.pixels();
  if (forward.gated_per_pixel && shape.channels_last)
    return clear((unit.clip * pixels + unit.first_pixel) * channels, unit.pixels * channels);
  if (forward.gated_per_pixel) return clear((unit.clip * channels + in_branch) * pixels, pixels);
  const int64_t frame = unit.clip * shape.num_segments;
  if (shape.channels_last) return clear(frame * channels, shape.num_segments * channels);
  for (int64_t time = 0; time < shape.num_segments; ++time)
    clear((frame + time) * channels + in_branch, 1);
}

template <typename T>
void refine_backward_sums(const RefineBackwardArguments<T>& b, int64_t begin, int64_t end) {
  const RefineArguments<T>& a = b.forward;
  for (int64_t index = begin; index < end; ++index) {
    const Unit unit = unit_of(a.shape, index);
    for (int branch = 0; branch < 2; ++branch) clear_group_sums(b, branch, unit);
    const GroupSums<Accumulate<T>> sums[2] = {group_sums(b, 0, unit), group_sums(b, 1, unit)};
    for_each_piece(a, index, [&](auto channels, auto groups, const RefinePiece& piece) {
      const bool gated = a.branches[piece.branch].gated;
      const Accumulate<T>* centre =
          b.branches[piece.branch].mean + (gated ? piece.group : piece.channel);
      const bool is_of_plane = gated && !channels() && !groups();
      const Accumulate<T> of_plane = is_of_plane ? finite_or_zero(*centre) : 0;
      if (is_of_plane) centre = &of_plane;
      add_gradient_sums<channels(), groups()>(
          Line<T>{b.grad_out + piece.out}, input_of(a, piece), piece.size, values_of(a, piece),
          centre, sums[piece.branch].sums + piece.group, sums[piece.branch].products + piece.group);
    });
  }
}

template <typename T>
void refine_backward(const RefineBackwardArguments<T>& b, int64_t begin, int64_t end) {
  const RefineArguments<T>& a = b.forward;
  for (int64_t unit = begin; unit < end; ++unit)
    for_each_piece(a, unit, [&](auto channels, auto groups, const RefinePiece& piece) {
      const RefineBranchBackward<T>& branch = b.branches[piece.branch];
      const bool gated = a.branches[piece.branch].gated;
      const GradientValues<Accumulate<T>> gradient{
          b.slope + piece.channel, b.offset + piece.channel,
          gated ? branch.grad_mean + piece.group : &kZero<Accumulate<T>>, branch.share};
      write_gradient_line<channels(), groups()>(branch.grad_y + piece.y,
                                                Line<T>{b.grad_out + piece.out}, input_of(a, piece),
                                                piece.size, values_of(a, piece), gradient);
    });
}

}  // namespace
}  // namespace stc
