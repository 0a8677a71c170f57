// Torch boundary: the passes of the refinement over frames, with everything per group and per
// channel known.
#pragma once

#include <tuple>

#include "common/frames.h"

namespace stc {

Tensor refine(const OptionalTensor& spatial_y, const OptionalTensor& temporal_y,
              const OptionalTensor& frame_gate, const OptionalTensor& pixel_gate,
              const Tensor& coefficients, int64_t num_segments);

// (2 * N*T, C) for frames, (2 * N, C, H, W) for pixels: sums of d, then of d * (y - mean).
std::tuple<Tensor, Tensor> refine_backward_sums(const Tensor& grad, const OptionalTensor& spatial_y,
                                                const OptionalTensor& temporal_y,
                                                const OptionalTensor& frame_gate,
                                                const OptionalTensor& pixel_gate,
                                                const OptionalTensor& frame_mean,
                                                const OptionalTensor& pixel_mean,
                                                const Tensor& coefficients, int64_t num_segments);

// The gradients of both branches.
std::tuple<Tensor, Tensor> refine_backward(
    const Tensor& grad, const OptionalTensor& spatial_y, const OptionalTensor& temporal_y,
    const OptionalTensor& frame_gate, const OptionalTensor& pixel_gate,
    const OptionalTensor& grad_frame_mean, const OptionalTensor& grad_pixel_mean,
    const Tensor& coefficients, const Tensor& grad_coefficients, int64_t num_segments);

}  // namespace stc
