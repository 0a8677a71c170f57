"""Batch norm modules as arguments of the fused operators."""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.distributed as dist
from torch import nn

from stc_ops.operators import BatchNorm

BatchNormModule: TypeAlias = nn.BatchNorm2d | nn.SyncBatchNorm


def batch_norm_of(module: BatchNormModule) -> BatchNorm:
    """Return what a forward of `module` would call ``torch.nn.functional.batch_norm`` with.

    The running statistics and ``num_batches_tracked`` are those of `module`, which the operator
    updates in place; but for a cumulative average, ``momentum=None``, the batch is counted here,
    which waits for a device: call this once for every forward, and hand the result to one operator.

    A ``nn.SyncBatchNorm`` that trains gives its process group, or the world's where it has none, if
    that has more than one process.

    Raises:
        TypeError: `module` is neither ``nn.BatchNorm2d`` nor ``nn.SyncBatchNorm``.
    """
    if not isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)):
        raise TypeError(
            "batch_norm_of: module must be nn.BatchNorm2d or nn.SyncBatchNorm, "
            f"got {type(module).__name__}"
        )
    # Statistics that are there but no longer tracked still normalize in evaluation.
    uses_running = not module.training or module.track_running_stats
    momentum, counter = _momentum_and_counter(module)
    return BatchNorm(
        weight=module.weight,
        bias=module.bias,
        running_mean=module.running_mean if uses_running else None,
        running_var=module.running_var if uses_running else None,
        training=module.training or (module.running_mean is None and module.running_var is None),
        momentum=momentum,
        eps=module.eps,
        process_group=_process_group(module),
        num_batches_tracked=counter,
    )


def _momentum_and_counter(module: BatchNormModule) -> tuple[float, torch.Tensor | None]:
    """Return the weight of the batch in the running statistics, and what is to count it."""
    counter = module.num_batches_tracked
    if not module.training or not module.track_running_stats or counter is None:
        return 0.0 if module.momentum is None else module.momentum, None
    if module.momentum is not None:
        return module.momentum, counter
    counter.add_(1)
    return 1.0 / float(counter), None


def _process_group(module: BatchNormModule) -> dist.ProcessGroup | None:
    synchronizes = isinstance(module, nn.SyncBatchNorm) and module.training
    if not synchronizes or not dist.is_available() or not dist.is_initialized():
        return None
    group = module.process_group or dist.group.WORLD
    return group if dist.get_world_size(group) > 1 else None
