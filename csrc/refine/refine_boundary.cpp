#include "refine/refine_boundary.h"

#include "common/groups.h"
#include "common/launch.h"
#include "common/registration.h"

namespace stc {
namespace {

// The branches of STC that there are, in one memory format: spatial_y, gated per frame, and
// temporal_y, gated per pixel.
class Branches {
 public:
  Branches(const char* name, const OptionalTensor& spatial_y, const OptionalTensor& temporal_y,
           const OptionalTensor& frame_gate, const OptionalTensor& pixel_gate,
           const Tensor& coefficients, int64_t num_segments)
      : name_(name), coefficients_(coefficients), num_segments_(num_segments) {
    STD_TORCH_CHECK(spatial_y || temporal_y, name, ": a branch must be given");
    const OptionalTensor* given[2] = {&spatial_y, &temporal_y};
    for (const OptionalTensor* y : given)
      if (*y && (**y).dim() == 4 && memory_format_of(**y) == MemoryFormat::ChannelsLast)
        memory_format_ = MemoryFormat::ChannelsLast;
    for (int branch = 0; branch < 2; ++branch)
      if (*given[branch]) frames_[branch].emplace(name, "y", **given[branch], memory_format_);
    if (spatial_y && temporal_y)
      check_like(name, "temporal_y", *temporal_y,
                 {spatial_y->size(0), temporal_y->size(1), spatial_y->size(2), spatial_y->size(3)},
                 spatial_y->scalar_type());
    stc::check_segments(name, like(), num_segments);
    gates_[0] = groups_of(0, "frame_gate", frame_gate);
    gates_[1] = groups_of(1, "pixel_gate", pixel_gate);
    check_channels(name, coefficients, 4, 0, channels());
    check_like(name, "coefficients", coefficients, {4, channels()}, group_dtype());
  }

  const Tensor& like() const { return (frames_[0] ? frames_[0] : frames_[1])->tensor(); }
  MemoryFormat memory_format() const { return memory_format_; }
  ScalarType group_dtype() const { return accumulate_dtype(like().scalar_type()); }
  int64_t channels_of(int branch) const {
    return frames_[branch] ? frames_[branch]->channels() : 0;
  }
  int64_t channels() const { return channels_of(0) + channels_of(1); }
  bool gated(int branch) const { return gates_[branch].has_value(); }
  bool gated_per_pixel(int branch) const { return branch == 1 && gated(branch); }

  // (N*T, C), or (N, C, H, W) where gates are per pixel; `sets` of them in the first dimension.
  Tensor empty_groups(int branch, int64_t sets) const {
    const Tensor& frames = like();
    if (!frames_[branch]) return empty(coefficients_, {0});
    if (!gated_per_pixel(branch))
      return empty(coefficients_, {sets * frames.size(0), channels_of(branch)});
    return empty_frames(frames,
                        {sets * (frames.size(0) / num_segments_), channels_of(branch),
                         frames.size(2), frames.size(3)},
                        group_dtype(), memory_format_);
  }

  Tensor empty_frames_of(int64_t channels) const {
    const Tensor& frames = like();
    return empty_frames(frames, {frames.size(0), channels, frames.size(2), frames.size(3)},
                        frames.scalar_type(), memory_format_);
  }

  // What is kept per group of a branch, in the memory format of the frames.
  std::optional<Groups> groups_of(int branch, const char* argument,
                                  const OptionalTensor& values) const {
    if (!values) return std::nullopt;
    STD_TORCH_CHECK(frames_[branch].has_value(), name_, ": ", argument, " without its branch");
    const Tensor& frames = like();
    if (branch == 0) {
      check_like(name_, argument, *values, {frames.size(0), channels_of(branch)}, group_dtype());
      return Groups(*values, MemoryFormat::Contiguous);
    }
    check_like(
        name_, argument, *values,
        {frames.size(0) / num_segments_, channels_of(branch), frames.size(2), frames.size(3)},
        group_dtype());
    return Groups(*values, memory_format_);
  }

  FrameShape shape() const {
    const Tensor& frames = like();
    return {frames.size(0) / num_segments_,
            num_segments_,
            channels(),
            frames.size(2),
            frames.size(3),
            memory_format_ == MemoryFormat::ChannelsLast};
  }

  template <typename T>
  RefineArguments<T> arguments() const {
    using E = Accumulate<T>;
    RefineArguments<T> arguments{};
    arguments.shape = shape();
    arguments.scale = const_data_of<E>(coefficients_);
    arguments.shift = arguments.scale + channels();
    for (int branch = 0; branch < 2; ++branch) {
      RefineBranch<T>& of_branch = arguments.branches[branch];
      of_branch.first_channel = branch == 0 ? 0 : channels_of(0);
      of_branch.channels = channels_of(branch);
      of_branch.gated = gated(branch);
      of_branch.gated_per_pixel = gated_per_pixel(branch);
      if (frames_[branch]) of_branch.y = const_data_of<T>(frames_[branch]->tensor());
      if (gated(branch)) of_branch.gate = const_data_of<E>(gates_[branch]->tensor());
    }
    return arguments;
  }

 private:
  const char* name_;
  const Tensor& coefficients_;
  int64_t num_segments_;
  MemoryFormat memory_format_ = MemoryFormat::Contiguous;
  std::optional<Frames> frames_[2];
  std::optional<Groups> gates_[2];
};

Frames gradient_of(const char* name, const Branches& branches, const Tensor& grad) {
  const Tensor& like = branches.like();
  check_like(name, "grad", grad, {like.size(0), branches.channels(), like.size(2), like.size(3)},
             like.scalar_type());
  return Frames(name, "grad", grad, branches.memory_format());
}

}  // namespace

Tensor refine(const OptionalTensor& spatial_y, const OptionalTensor& temporal_y,
              const OptionalTensor& frame_gate, const OptionalTensor& pixel_gate,
              const Tensor& coefficients, int64_t num_segments) {
  constexpr const char* kName = "refine";
  const Branches branches(kName, spatial_y, temporal_y, frame_gate, pixel_gate, coefficients,
                          num_segments);
  const Tensor out = branches.empty_frames_of(branches.channels());
  dispatch_dtype(kName, out.scalar_type(), [&](auto element) {
    using T = decltype(element);
    auto arguments = branches.arguments<T>();
    arguments.out = data_of<T>(out);
    launch(kName, kernels<T>().refine_forward, arguments, units_of(arguments.shape),
           arguments.shape.elements());
  });
  return out;
}

std::tuple<Tensor, Tensor> refine_backward_sums(const Tensor& grad, const OptionalTensor& spatial_y,
                                                const OptionalTensor& temporal_y,
                                                const OptionalTensor& frame_gate,
                                                const OptionalTensor& pixel_gate,
                                                const OptionalTensor& frame_mean,
                                                const OptionalTensor& pixel_mean,
                                                const Tensor& coefficients, int64_t num_segments) {
  constexpr const char* kName = "refine_backward_sums";
  const Branches branches(kName, spatial_y, temporal_y, frame_gate, pixel_gate, coefficients,
                          num_segments);
  const Frames grad_out = gradient_of(kName, branches, grad);
  const std::optional<Groups> means[2] = {branches.groups_of(0, "frame_mean", frame_mean),
                                          branches.groups_of(1, "pixel_mean", pixel_mean)};
  const FrameShape shape = branches.shape();
  const int64_t partial_sets = sets_of_sums(shape);
  Tensor sums[2] = {branches.empty_groups(0, 2), branches.empty_groups(1, 2)};
  Tensor partial[2] = {sums[0], sums[1]};
  for (int branch = 0; branch < 2; ++branch) {
    STD_TORCH_CHECK(means[branch].has_value() == branches.gated(branch), kName,
                    ": gate and mean come together");
    if (!branches.gated_per_pixel(branch) && partial_sets > 1)
      partial[branch] = branches.empty_groups(branch, 2 * partial_sets);
  }
  dispatch_dtype(kName, grad.scalar_type(), [&](auto element) {
    using T = decltype(element);
    using E = Accumulate<T>;
    RefineBackwardArguments<T> arguments{};
    arguments.forward = branches.arguments<T>();
    arguments.grad_out = const_data_of<T>(grad_out.tensor());
    for (int branch = 0; branch < 2; ++branch) {
      arguments.branches[branch].mean = means[branch]
                                            ? const_data_of<E>(means[branch]->tensor())
                                            : arguments.forward.scale + 2 * branches.channels();
      arguments.branches[branch].sums = data_of<E>(partial[branch]);
    }
    launch(kName, kernels<T>().refine_backward_sums, arguments, units_of(shape), shape.elements());
    for (int branch = 0; branch < 2; ++branch)
      if (partial[branch].numel() > sums[branch].numel())
        sum_rows<E>(kName, partial_sets, partial[branch], sums[branch]);
  });
  return {sums[0], sums[1]};
}

std::tuple<Tensor, Tensor> refine_backward(
    const Tensor& grad, const OptionalTensor& spatial_y, const OptionalTensor& temporal_y,
    const OptionalTensor& frame_gate, const OptionalTensor& pixel_gate,
    const OptionalTensor& grad_frame_mean, const OptionalTensor& grad_pixel_mean,
    const Tensor& coefficients, const Tensor& grad_coefficients, int64_t num_segments) {
  constexpr const char* kName = "refine_backward";
  const Branches branches(kName, spatial_y, temporal_y, frame_gate, pixel_gate, coefficients,
                          num_segments);
  const Frames grad_out = gradient_of(kName, branches, grad);
  const std::optional<Groups> grad_means[2] = {
      branches.groups_of(0, "grad_frame_mean", grad_frame_mean),
      branches.groups_of(1, "grad_pixel_mean", grad_pixel_mean)};
  check_channels(kName, grad_coefficients, 2, 0, branches.channels());
  const FrameShape shape = branches.shape();
  const Tensor none = empty(coefficients, {0}, grad.scalar_type());
  Tensor grads[2] = {none, none};
  for (int branch = 0; branch < 2; ++branch) {
    STD_TORCH_CHECK(grad_means[branch].has_value() == branches.gated(branch), kName,
                    ": gate and grad_mean come together");
    if (branches.channels_of(branch) > 0)
      grads[branch] = branches.empty_frames_of(branches.channels_of(branch));
  }
  dispatch_dtype(kName, grad.scalar_type(), [&](auto element) {
    using T = decltype(element);
    using E = Accumulate<T>;
    RefineBackwardArguments<T> arguments{};
    arguments.forward = branches.arguments<T>();
    arguments.grad_out = const_data_of<T>(grad_out.tensor());
    arguments.slope = const_data_of<E>(grad_coefficients);
    arguments.offset = arguments.slope + branches.channels();
    for (int branch = 0; branch < 2; ++branch) {
      RefineBranchBackward<T>& of_branch = arguments.branches[branch];
      const int64_t group_size =
          branches.gated_per_pixel(branch) ? shape.num_segments : shape.pixels();
      if (grad_means[branch]) of_branch.grad_mean = const_data_of<E>(grad_means[branch]->tensor());
      of_branch.share = E{1} / static_cast<E>(group_size);
      of_branch.grad_y = data_of<T>(grads[branch]);
    }
    launch(kName, kernels<T>().refine_backward, arguments, units_of(shape), shape.elements());
  });
  return {grads[0], grads[1]};
}

}  // namespace stc

STC_KERNELS(m) {
  m.impl("refine", stc::kBoxed<stc::refine>);
  m.impl("refine_backward_sums", stc::kBoxed<stc::refine_backward_sums>);
  m.impl("refine_backward", stc::kBoxed<stc::refine_backward>);
}
