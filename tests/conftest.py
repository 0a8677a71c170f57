import pytest
import torch
from backend_cases import EVERY_BACKEND, running_on


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
