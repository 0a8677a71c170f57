"""Table I: parameters of the middle layer of a residual block, C = 64."""

from __future__ import annotations

from .rows import BuiltNetwork, LayerRow

TABLE_I = (
    LayerRow("C2D", "9 C^2", "36,864", "100.00%", BuiltNetwork("tsn")),
    LayerRow("C3D", "27 C^2", "110,592", "300.00%", BuiltNetwork("c3d")),
    LayerRow("P3D", "12 C^2", "49,152", "133.33%", BuiltNetwork("p3d")),
    LayerRow("GST", "9 (3/2 - alpha) C^2", "27,648", "75.00%", BuiltNetwork("gst")),
    LayerRow("STC", "12 [alpha^2 + (1 - alpha)^2] C^2", "30,720", "83.33%", BuiltNetwork("stc")),
    LayerRow(
        "STC-Light",
        "[(9 + 4/r) alpha^2 + (3 + 10/r) (1 - alpha)^2] C^2",
        "24,448",
        "66.32%",
        BuiltNetwork("stc-light"),
        ("floor-of-8",),
    ),
)
"""alpha = 3/4, r = 4."""
