"""Table II: settings of alpha and r, and what STC was made from."""

from __future__ import annotations

from fractions import Fraction

from .rows import AblationRow, BuiltNetwork


def _stc(alpha: Fraction) -> BuiltNetwork:
    return BuiltNetwork("stc", {"alpha": alpha})


def _stc_light(reduction: int) -> BuiltNetwork:
    return BuiltNetwork("stc-light", {"reduction": reduction})


_STC_EQUAL = BuiltNetwork("stc", {"equal_split": True})

TABLE_II = (
    AblationRow("TSN", None, "23.9M", "32.9G", "17.7", "46.6", BuiltNetwork("tsn"), ("tsn-top-1",)),
    AblationRow("C3D", None, "42.5M", "62.5G", "46.2", "75.6", BuiltNetwork("c3d"), ("c3d",)),
    AblationRow("P3D", None, "29.4M", "37.8G", "45.7", "75.0", BuiltNetwork("p3d"), ("p3d",)),
    AblationRow("TSM", None, "23.9M", "32.9G", "45.6", "74.2", BuiltNetwork("tsm")),
    AblationRow("GST", "3/4", "21.0M", "29.5G", "47.0", "76.1", BuiltNetwork("gst"), ("gst",)),
    AblationRow(
        "GST-Large",
        "3/4",
        "29.6M",
        "40.4G",
        "47.7",
        "76.4",
        BuiltNetwork("gst-large"),
        ("gst-large",),
    ),
    AblationRow(
        "STC (only T_S)", "0", "27.6M", "32.9G", "24.9", "50.8", _stc(Fraction(0)), ("alpha-0",)
    ),
    AblationRow("STC", "1/4", "22.0M", "22.8G", "41.9", "71.3", _stc(Fraction(1, 4))),
    AblationRow("STC", "2/4", "20.1M", "23.5G", "46.4", "75.7", _stc(Fraction(2, 4))),
    AblationRow("STC", "3/4", "22.0M", "26.9G", "48.3", "77.4", _stc(Fraction(3, 4))),
    AblationRow("STC (only S_T)", "1", "27.6M", "32.9G", "47.3", "76.0", _stc(Fraction(1))),
    AblationRow("STC-Equal", "3/4", "20.1M", "24.6G", "47.0", "76.3", _STC_EQUAL, ("stc-equal",)),
    AblationRow("STC-Light", "r = 2", "21.0M", "26.80G", "48.2", "77.3", _stc_light(2)),
    AblationRow("STC-Light", "r = 4", "20.1M", "26.76G", "48.2", "77.4", _stc_light(4)),
    AblationRow("STC-Light", "r = 8", "19.6M", "26.75G", "47.8", "77.2", _stc_light(8)),
    AblationRow("STC-Light", "r = 16", "19.4M", "26.75G", "47.7", "77.1", _stc_light(16)),
)
