import zlib

import pytest
import torch
from backend_cases import EVERY_BACKEND, running_on


def pytest_addoption(parser):
    parser.addoption(
        "--one-in",
        type=int,
        default=1,
        metavar="N",
        help="run about one in N of the tests, always the same ones",
    )


def pytest_collection_modifyitems(config, items):
    if (share := config.getoption("--one-in")) > 1:
        left_out = [item for item in items if zlib.crc32(item.nodeid.encode()) % share]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(params=EVERY_BACKEND)
def backend(request):
    """Run the test on every backend; one that cannot run here is a counted skip that says why."""
    with running_on(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def uninitialised_memory_is_nan():
    """Fill what torch.empty returns with NaN, so that an element no kernel wrote shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)
