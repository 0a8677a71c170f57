// Torch boundary: pools and moments of frames, as the fused operators use them too.
#pragma once

#include <tuple>

#include "common/frames.h"

namespace stc {

// (N*T, C), over the pixels of a frame.
Tensor spatial_pool(const Tensor& y);
std::tuple<Tensor, Tensor> spatial_moments(const Tensor& y);

// (N, C, H, W), over the frames of a clip.
Tensor temporal_pool(const Tensor& y, int64_t num_segments);
std::tuple<Tensor, Tensor> temporal_moments(const Tensor& y, int64_t num_segments);

}  // namespace stc
