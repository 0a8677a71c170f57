"""Batch normalization as an argument of the fused operators: parameters, statistics, semantics."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F

from .checks import accumulation_dtype, check_parameter
from .registration import compiled, shape_function

_Tensor = torch.Tensor
_Optional = torch.Tensor | None


class BatchNorm(NamedTuple):
    """What a batch normalization of C channels needs, as ``torch.nn.functional.batch_norm`` has it.

    Attributes:
        weight: gamma, ``(C,)``, or None for ones.
        bias: beta, ``(C,)``, or None for zeros.
        running_mean: ``(C,)`` or None; updated in place where `training`.
        running_var: ``(C,)`` or None; updated in place, by the unbiased variance, where `training`.
        training: whether to normalize by the statistics of the batch instead of the running ones.
        momentum: the weight of the batch in the update of the running statistics.
        eps: added to the variance.
        process_group: where given, statistics are those of the batches of all its processes.
        num_batches_tracked: an integer tensor ``()`` or None; counted up where `training`.
    """

    weight: torch.Tensor | None
    bias: torch.Tensor | None
    running_mean: torch.Tensor | None
    running_var: torch.Tensor | None
    training: bool
    momentum: float = 0.1
    eps: float = 1e-5
    process_group: dist.ProcessGroup | None = None
    num_batches_tracked: torch.Tensor | None = None

    @property
    def arguments_of_training(self) -> tuple[Any, ...]:
        """Return what it updates, and how, as registered operators take it."""
        running = (self.running_mean, self.running_var, self.num_batches_tracked)
        return *running, float(self.momentum), self.eps

    @property
    def arguments_of_evaluation(self) -> tuple[Any, ...]:
        """Return what it normalizes by, as registered operators take it."""
        return self.running_mean, self.running_var, self.eps


# In the place of one that is not there.
NO_BATCH_NORM = BatchNorm(None, None, None, None, training=False)


def tensors_of(bn: BatchNorm | None) -> tuple[torch.Tensor | None, ...]:
    """Return all tensors that a normalization reads."""
    return () if bn is None else bn[:4]


def parameters_of(bn: BatchNorm, dtype: torch.dtype) -> tuple[_Optional, _Optional]:
    """Return gamma and beta in `dtype`, that of the statistics, as the graph has them."""
    weight, bias = bn.weight, bn.bias
    return (
        weight if weight is None or weight.dtype == dtype else weight.to(dtype),
        bias if bias is None or bias.dtype == dtype else bias.to(dtype),
    )


def check_batch_norm(
    operator: str, argument: str, bn: BatchNorm, channels: int, frames: torch.Tensor
) -> None:
    """Raise unless `bn` normalizes `channels` channels of what `frames` has the size of."""
    if not isinstance(bn, BatchNorm):
        raise TypeError(
            f"{operator}: {argument} must be a stc_ops.BatchNorm, got {type(bn).__name__}"
        )
    for name, tensor in zip(BatchNorm._fields, tensors_of(bn), strict=False):
        if tensor is not None:
            check_parameter(operator, f"{argument}.{name}", tensor, (channels,), frames)
    if (counter := bn.num_batches_tracked) is not None and (
        counter.dtype != torch.long or counter.ndim > 0 or counter.device != frames.device
    ):
        raise TypeError(
            f"{operator}: {argument}.num_batches_tracked must be int64 of shape () on "
            f"{frames.device}, got {counter.dtype} of shape {tuple(counter.shape)} on "
            f"{counter.device}"
        )
    if (bn.running_mean is None) != (bn.running_var is None):
        raise ValueError(
            f"{operator}: {argument} must have running_mean and running_var, or neither"
        )
    if not isinstance(bn.momentum, Real):
        raise TypeError(
            f"{operator}: {argument}.momentum must be a float, got {type(bn.momentum).__name__}"
        )
    if not bn.eps > 0:
        raise ValueError(f"{operator}: {argument}.eps must be positive, got {bn.eps}")
    if not bn.training and bn.running_mean is None:
        raise ValueError(
            f"{operator}: {argument} must have running statistics unless it is training"
        )
    values_per_channel = frames.shape[0] * frames.shape[2] * frames.shape[3]
    if bn.training and bn.process_group is None and values_per_channel == 1:
        raise ValueError(
            f"{operator}: expected more than 1 value per channel when training, "
            f"got input size {tuple(frames.shape)}"
        )


def batch_norm_reference(x: torch.Tensor, bn: BatchNorm) -> torch.Tensor:
    """Normalize frames ``x`` in plain PyTorch."""
    _count_batch(bn)
    if bn.training and bn.process_group is not None:
        return _synchronized_reference(x, bn)
    return F.batch_norm(
        x,
        bn.running_mean,
        bn.running_var,
        bn.weight,
        bn.bias,
        bn.training,
        bn.momentum,
        bn.eps,
    )


def _synchronized_reference(x: torch.Tensor, bn: BatchNorm) -> torch.Tensor:
    # A torch that was built without collectives has no such module.
    from torch.distributed.nn.functional import all_reduce

    values = x.to(accumulation_dtype(x.dtype))
    mine = x.shape[0] * x.shape[2] * x.shape[3]
    count = values.new_tensor(float(mine))
    dist.all_reduce(count, group=bn.process_group)
    _check_count_of_processes(mine, count)

    def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
        return all_reduce(values.sum((0, 2, 3)), group=bn.process_group) / count.clamp(min=1)

    mean = mean_over_processes(values)
    centred = values - mean[:, None, None]
    var = mean_over_processes(centred.square())
    update_running_statistics(bn, mean.detach(), var.detach(), count)
    out = centred * torch.rsqrt(var + bn.eps)[:, None, None]
    if bn.weight is not None:
        out = out * bn.weight[:, None, None]
    if bn.bias is not None:
        out = out + bn.bias[:, None, None]
    return out.to(x.dtype)


def _count_batch(bn: BatchNorm) -> None:
    if bn.training and bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)


def note_updates(*norms: BatchNorm | None) -> None:
    """Tell autograd that a registered operator has updated what normalizations track.

    Compilers know it from the schema.
    """
    if torch.compiler.is_compiling():
        return
    updated = [
        tensor
        for bn in norms
        if bn is not None and bn.training
        for tensor in bn.arguments_of_training[:3]
        if tensor is not None and not tensor.is_inference()
    ]
    torch.autograd.graph.increment_version(updated)


def update_running_statistics(
    bn: BatchNorm, mean: torch.Tensor, var: torch.Tensor, count: int | torch.Tensor
) -> None:
    """Move the running statistics towards a batch of `count` values and of biased variance.

    Where `count` is a tensor it may be 0: then no process has a frame, and they stay.
    """
    if bn.running_mean is None or bn.running_var is None:
        return
    if isinstance(count, torch.Tensor):
        is_empty, unbiased = count == 0, var * (count / (count - 1).clamp(min=1))
    else:
        is_empty, unbiased = None, var * (count / (count - 1))
    for running, batch in ((bn.running_mean, mean), (bn.running_var, unbiased)):
        updated = running.lerp(batch.to(running.dtype), float(bn.momentum))
        running.copy_(updated if is_empty is None else torch.where(is_empty, running, updated))


def _check_count_of_processes(mine: int, total: torch.Tensor) -> None:
    """Raise where all processes together have one value per channel, as one process would.

    One that has more itself need not read `total`, for which a device would have to be waited for.
    """
    if mine <= 1 and total.item() == 1:
        raise ValueError(
            "SyncBatchNorm: expected more than 1 value per channel when training, "
            "got 1 over all processes"
        )


class Statistics(NamedTuple):
    """What statistics are of.

    Attributes:
        count: values per channel; 0 where the statistics are constants.
        process_group: the processes whose values they are, or None for this one alone.
    """

    count: int | torch.Tensor
    process_group: dist.ProcessGroup | None


class Normalization(NamedTuple):
    """A batch normalization with its statistics known: what the fused passes read.

    Attributes:
        coefficients: ``(4, C)``, rows of scale, shift, mean and 1 / standard deviation.
        statistics: what mean and standard deviation are of.
    """

    coefficients: torch.Tensor
    statistics: Statistics


def normalization(
    bn: BatchNorm, moments: torch.Tensor | None, count: int, dtype: torch.dtype
) -> Normalization:
    """Return what `bn` does to a batch; running statistics are updated where it is training.

    Args:
        bn: the batch normalization.
        moments: ``(2, C)``, mean and biased variance of this process's batch; None, and not read,
            where `bn` is not training.
        count: values per channel of this process's batch.
        dtype: of the statistics.
    """
    total: int | torch.Tensor = 0
    with torch.no_grad():
        if bn.training:
            _count_batch(bn)
            moments, total = _over_processes(moments, count, bn.process_group)
            update_running_statistics(bn, moments[0], moments[1], total)
        else:
            moments = torch.stack((bn.running_mean, bn.running_var)).to(dtype)
        coefficients = compiled.batch_norm_coefficients.default(
            moments, *parameters_of(bn, dtype), bn.eps
        )
    return Normalization(coefficients, Statistics(total, bn.process_group))


def frames_normalization(bn: BatchNorm, frames: torch.Tensor) -> Normalization:
    """Return what `bn` does to `frames`, reading them once for their moments where it is training.

    See :func:`normalization`.
    """
    pixels = frames.shape[2] * frames.shape[3]
    moments = None
    if bn.training:
        # The frames of a process may be none where others have some.
        with torch.no_grad():
            mean, m2 = compiled.spatial_moments.default(frames)
            _, moments = compiled.gated_channel_moments.default(mean, m2, None, pixels)
    return normalization(bn, moments, frames.shape[0] * pixels, accumulation_dtype(frames.dtype))


def _over_processes(
    moments: torch.Tensor, count: int, group: dist.ProcessGroup | None
) -> tuple[torch.Tensor, int | torch.Tensor]:
    if group is None:
        return moments, count
    mine = torch.cat((moments.new_full((1,), float(count)), moments.flatten()))
    of_processes = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(of_processes, mine, group=group)
    gathered = torch.stack(of_processes).double()
    counts, means, variances = gathered[:, :1], *gathered[:, 1:].chunk(2, dim=1)
    total = counts.sum()
    _check_count_of_processes(count, total)
    # Where a process has no values its moments are no numbers.
    means, variances = (torch.where(counts > 0, each, 0) for each in (means, variances))
    mean = (counts * means).sum(0) / total.clamp(min=1)
    var = (counts * (variances + (means - mean).square())).sum(0) / total.clamp(min=1)
    return torch.stack((mean, var)).to(moments.dtype), total.to(moments.dtype)


class NormalizationGradient(NamedTuple):
    """Gradients of the parameters, and how that of the normalized frames reaches their input.

    Attributes:
        weight: of gamma.
        bias: of beta.
        coefficients: ``(2, C)``, rows of slope and offset.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    coefficients: torch.Tensor

    def of_parameters(self, needed: Sequence[bool]) -> tuple[torch.Tensor | None, ...]:
        """Return those of gamma and beta that are needed."""
        return self.weight if needed[0] else None, self.bias if needed[1] else None


def normalization_gradient(
    statistics: Statistics, coefficients: torch.Tensor, sums: torch.Tensor
) -> NormalizationGradient:
    """Return the gradients that follow from ``(2, C)`` `sums` of this process's batch.

    They are the sums of ``d`` and of ``d * (z - mean)``, for the gradient ``d`` of the normalized
    ``z``.
    """
    if isinstance(statistics.count, int) and statistics.count == 0:
        means = torch.zeros_like(sums)
    elif statistics.process_group is None:
        means = sums / statistics.count
    else:
        means = sums.clone()
        dist.all_reduce(means, group=statistics.process_group)
        means /= statistics.count.clamp(min=1)
    grad_coefficients = compiled.batch_norm_grad_coefficients.default(means, coefficients)
    # A gradient that is a view would share its memory with those of other parameters.
    return NormalizationGradient(sums[1] * coefficients[3], sums[0].clone(), grad_coefficients)


@shape_function
def _batch_norm_coefficients(
    moments: _Tensor, weight: _Optional, bias: _Optional, eps: float
) -> _Tensor:
    return moments.new_empty((4, moments.shape[1]))


@shape_function
def _batch_norm_grad_coefficients(mean_sums: _Tensor, coefficients: _Tensor) -> _Tensor:
    return coefficients.new_empty((2, coefficients.shape[1]))


def coefficients_shape(frames: _Tensor) -> _Tensor:
    """Return coefficients of the channels of `frames`, for shape functions."""
    dtype = accumulation_dtype(frames.dtype)
    return frames.new_empty((4, frames.shape[1]), dtype=dtype)
