"""What `stc-ops run` prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from stc_ops.cost import Cost
from stc_ops.video import Clip

from .comparison import ROUNDS, Comparison


@dataclass(frozen=True)
class Report:
    """One run of a network on a video; `str()` gives it as text."""

    video: Path
    clip: Clip
    network: str
    weights_are_random: bool
    labels: list[str]
    cost: Cost
    backend: str
    gpu: str | None
    comparison: Comparison
    figure: Path | None

    def __str__(self) -> str:
        """Return the report, a few aligned lines."""
        lines = {
            "video": self._video(),
            "frames": ", ".join(str(index) for index in self.clip.indices),
            "network": self.network,
            "parameters": f"{self.cost.parameters / 1e6:.3f} M",
            "MACs": f"{self.cost.macs / 1e9:.3f} G",
            **({"GPU": self.gpu} if self.gpu else {"threads": str(torch.get_num_threads())}),
            "operators": f"{_milliseconds(self.comparison.operator_seconds)}, "
            f"backend '{self.backend}' (median of {ROUNDS} alternated runs)",
            "reference": _milliseconds(self.comparison.reference_seconds),
            "difference": self._difference(),
            "top 5": self._top(5),
        }
        if self.figure is not None:
            lines["figure"] = str(self.figure)
        return "\n".join(f"{name:<12}{text}" for name, text in lines.items())

    def _video(self) -> str:
        height, width = self.clip.frames.shape[-2:]
        rate = self.clip.frame_rate
        at_rate = f" at {rate:.4g} frames/s" if rate else ""
        return f"{self.video} ({width}x{height}, {self.clip.frame_count} frames{at_rate})"

    def _difference(self) -> str:
        largest_logit = self.comparison.reference_logits.abs().max().item()
        return (
            f"{self.comparison.largest_difference:.2g} at most between the two outputs "
            f"(largest logit {largest_logit:.4g})"
        )

    def _top(self, count: int) -> str:
        logits = self.comparison.operator_logits[0].float()
        if not logits.isfinite().all():
            return "none: the network's output is not finite"
        probabilities, classes = logits.softmax(0).topk(min(count, len(logits)))
        lines = [
            f"{probability:6.1%}  {self.labels[number]}"
            for probability, number in zip(probabilities.tolist(), classes.tolist(), strict=True)
        ]
        if self.weights_are_random:
            lines.insert(0, "warning: random weights, so the classes mean nothing (see --weights)")
        return ("\n" + " " * 12).join(lines)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"
