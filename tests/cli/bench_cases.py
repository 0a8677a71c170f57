"""Small networks under the names of a catalog, for the tests of `stc-ops bench`."""

from functools import partial

import pytest
import small_networks

from stc_ops.cli import bench, bench_models, bench_networks
from stc_ops.models.catalog import Network

CATALOG = {
    name: Network(title, partial(small_networks.NETWORKS[name], **small_networks.SIZE), "")
    for name, title in (("tsn", "TSN"), ("stc", "STC"))
}
SETTING = bench_networks.Setting(num_segments=2, size=64)
SMALL = ["--num-segments", "2", "--size", "64", "--rounds", "2"]


def use_catalog(patch: pytest.MonkeyPatch, catalog):
    for module in (bench, bench_models, bench_networks):
        patch.setattr(module, "NETWORKS", catalog)
