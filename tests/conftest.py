import zlib

import pytest
import torch
from asked_backends import AskedBackends
from backend_cases import BACKENDS, EVERY_BACKEND, running_on


def pytest_addoption(parser):
    parser.addoption(
        "--one-in",
        type=int,
        default=1,
        metavar="N",
        help="run about one in N of the tests, always the same ones",
    )

    parser.addoption(
        "--backend",
        choices=BACKENDS,
        help="run only the tests of this backend, and fail where it cannot run",
    )


def pytest_configure(config):
    config.pluginmanager.register(AskedBackends(config))


def pytest_collection_modifyitems(config, items):
    if (share := config.getoption("--one-in")) > 1:
        chosen = [zlib.crc32(item.nodeid.encode()) % share == 0 for item in items]
        left_out = [item for item, taken in zip(items, chosen, strict=True) if not taken]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item, taken in zip(items, chosen, strict=True) if taken]


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
