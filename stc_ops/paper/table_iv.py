"""Table IV: other methods on Something-Something V1 and V2."""

from __future__ import annotations

from .rows import BuiltNetwork, ComparisonRow, Method

_TSN = Method("TSN", "ResNet-50", "ImageNet", BuiltNetwork("tsn"), ("tsn-top-1",))
_ECO = Method("ECO", "ResNet-18", "Kinetics")
_I3D = Method("I3D", "3DResNet-50", "ImageNet", notes=("i3d",))
_NL_I3D = Method("NLI3D", "3DResNet-50", "ImageNet")
_NL_I3D_GCN = Method("NLI3D+GCN", "3DResNet-50", "ImageNet")
_TSM_TPN = Method("TSM+TPN", "ResNet-50", "ImageNet")
_TIN = Method("TIN", "ResNet-50", "Kinetics", BuiltNetwork("tin"), ("tin",))
_TEINET = Method("TEINet", "ResNet-50", "ImageNet")
_RUBIKSNET = Method("RubiksNet", "ResNet-50", "ImageNet")
_TAM = Method("TAM", "ResNet-50", "ImageNet", BuiltNetwork("tam"), ("tam",))
_BLVNET = Method("bLVNet-TAM", "bLResNet-50", "ImageNet")
_GST = Method("GST", "ResNet-50", "ImageNet", BuiltNetwork("gst"), ("gst",))
_TSM = Method("TSM", "ResNet-50", "ImageNet", BuiltNetwork("tsm"))
_SMALLBIG = Method("SmallBig", "ResNet-50", "ImageNet")
_V4D = Method("V4D", "V4DResNet-50", "None")
_STM = Method("STM", "ResNet-50", "ImageNet", BuiltNetwork("stm"), ("stm",))
_TEA = Method("TEA", "ResNet-50", "ImageNet", BuiltNetwork("tea"), ("tea",))
_STC = Method("STC", "ResNet-50", "ImageNet", BuiltNetwork("stc"))
_LIGHT = Method("STC-Light", "ResNet-50", "ImageNet", BuiltNetwork("stc-light"))
_ENSEMBLE = Method(
    "STC ensemble", "ResNet-50", "ImageNet", BuiltNetwork("stc"), ("sum-of-rounded",)
)
_LIGHT_ENSEMBLE = Method("STC-Light ensemble", "ResNet-50", "ImageNet", BuiltNetwork("stc-light"))

TABLE_IV = (
    ComparisonRow(_TSN, (8,), 1, 1, "23.9M", "32.9G", "19.7", "46.6", "30", "60.5"),
    ComparisonRow(_ECO, (8,), 1, 1, "47.5M", "32G", "39.6", None, None, None),
    ComparisonRow(_ECO, (16,), 1, 1, "47.5M", "64G", "41.4", None, None, None),
    ComparisonRow(_I3D, (32,), 1, 2, "28.0M", "153.0G x 1 x 2", "41.6", "72.2", None, None),
    ComparisonRow(_NL_I3D, (32,), 1, 2, "35.3M", "168.0G x 1 x 2", "44.4", "76", None, None),
    ComparisonRow(_NL_I3D_GCN, (32,), 1, 2, "62.2M", "303.0G x 1 x 2", "46.1", "76.8", None, None),
    ComparisonRow(_TSM_TPN, (8,), 1, 1, "24.3M", "33.0G x 1 x 1", "49", None, "62", None),
    ComparisonRow(_TIN, (8,), 1, 1, "24.3M", "34.0G x 1 x 1", "45.8", "75.1", None, None),
    ComparisonRow(_TIN, (16,), 1, 1, "24.3M", "67.0G x 1 x 1", "47.0", "76.5", "60.1", "86.4"),
    ComparisonRow(_TEINET, (8,), 1, 1, "30.4M", "33.0G x 1 x 1", "47.4", None, "61.3", None),
    ComparisonRow(_TEINET, (16,), 1, 1, "30.4M", "66.0G x 1 x 1", "49.9", None, "62.1", None),
    ComparisonRow(_RUBIKSNET, (8,), 1, 2, None, None, "46.4", "74.5", "61.7", "87.3"),
    ComparisonRow(_TAM, (8,), 1, 1, "25.6M", "33.0G x 1 x 1", "46.5", "75.8", "60.5", "86.2"),
    ComparisonRow(_TAM, (16,), 1, 1, "25.6M", "66.0G x 1 x 1", "47.6", "77.7", "62.5", "87.6"),
    ComparisonRow(_BLVNET, (8,), 1, 2, "25.0M", "23.8G x 1 x 2", "46.4", "76.6", "59.1", "86.0"),
    ComparisonRow(_GST, (8,), 1, 1, "21.0M", "29.5G x 1 x 1", "47.0", "76.1", "61.6", "87.2"),
    ComparisonRow(_GST, (16,), 1, 1, "21.0M", "59.0G x 1 x 1", "48.6", "77.9", "62.6", "87.9"),
    ComparisonRow(_TSM, (8,), 1, 2, "23.9M", "32.9G x 1 x 2", "47.3", "76.2", "61.7", "87.4"),
    ComparisonRow(_TSM, (16,), 1, 2, "23.9M", "65.8G x 1 x 2", "48.4", "78.1", "63.1", "88.2"),
    ComparisonRow(_SMALLBIG, (8,), 3, 2, None, "57.0G x 3 x 2", "48.3", "78.1", "61.6", "87.7"),
    ComparisonRow(_SMALLBIG, (16,), 3, 2, None, "114.0G x 3 x 2", "50.0", "79.8", "63.8", "88.9"),
    ComparisonRow(_V4D, (8,), 10, 3, None, None, "50.4", None, None, None),
    ComparisonRow(_STM, (8,), 3, 10, "24.0M", "33.3G x 3 x 10", "49.2", "79.3", "62.3", "88.8"),
    ComparisonRow(_STM, (16,), 3, 10, "24.0M", "66.5G x 3 x 10", "50.7", "80.4", "64.2", "89.8"),
    ComparisonRow(_TEA, (8,), 1, 1, "24.5M", "35.0G x 1 x 1", "48.9", "78.1", None, None),
    ComparisonRow(_TEA, (8,), 3, 10, "24.5M", "35.0G x 3 x 10", "51.7", "80.5", None, None),
    ComparisonRow(_TEA, (16,), 3, 10, "24.5M", "70.0G x 3 x 10", "52.3", "81.9", None, None),
    ComparisonRow(_STC, (8,), 1, 1, "22.0M", "26.9G x 1 x 1", "48.3", "77.4", "61.2", "87.1"),
    ComparisonRow(_STC, (8,), 3, 2, "22.0M", "26.9G x 3 x 2", "50.1", "79.1", "63.3", "88.7"),
    ComparisonRow(_STC, (8,), 3, 10, "22.0M", "26.9G x 3 x 10", "51.1", "79.7", "63.4", "88.6"),
    ComparisonRow(_STC, (16,), 1, 1, "22.0M", "53.6G x 1 x 1", "50.5", "79.3", "63.7", "88.7"),
    ComparisonRow(_STC, (16,), 3, 2, "22.0M", "53.6G x 3 x 2", "51.7", "80.2", "65.1", "90.0"),
    ComparisonRow(_STC, (16,), 3, 10, "22.0M", "53.6G x 3 x 10", "52.2", "80.7", "65.3", "89.1"),
    ComparisonRow(_LIGHT, (8,), 1, 1, "20.1M", "26.8G x 1 x 1", "48.2", "77.4", "61.4", "87.2"),
    ComparisonRow(_LIGHT, (8,), 3, 2, "20.1M", "26.8G x 3 x 2", "49.8", "79.0", "63.5", "88.8"),
    ComparisonRow(_LIGHT, (8,), 3, 10, "20.1M", "26.8G x 3 x 10", "50.2", "79.1", "63.9", "88.9"),
    ComparisonRow(_LIGHT, (16,), 1, 1, "20.1M", "53.5G x 1 x 1", "50.4", "79.4", "63.6", "88.6"),
    ComparisonRow(_LIGHT, (16,), 3, 2, "20.1M", "53.5G x 3 x 2", "51.4", "80.3", "65.1", "89.8"),
    ComparisonRow(_LIGHT, (16,), 3, 10, "20.1M", "53.5G x 3 x 10", "51.9", "80.6", "65.1", "91.0"),
    ComparisonRow(_ENSEMBLE, (8, 16), 3, 2, None, "80.5G x 3 x 2", "53.3", "81.8", "66.4", "90.5"),
    ComparisonRow(
        _ENSEMBLE, (8, 16), 3, 10, None, "80.5G x 3 x 10", "53.7", "82.0", "66.9", "91.0"
    ),
    ComparisonRow(
        _LIGHT_ENSEMBLE, (8, 16), 3, 2, None, "80.3G x 3 x 2", "53.2", "81.8", "66.4", "90.4"
    ),
    ComparisonRow(
        _LIGHT_ENSEMBLE, (8, 16), 3, 10, None, "80.3G x 3 x 10", "53.4", "81.9", "66.8", "90.3"
    ),
)
