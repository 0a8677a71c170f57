import pytest
import torch

import stc_ops


@pytest.fixture(params=stc_ops.backends.BACKENDS)
def backend(request):
    """Run the test on every backend; one that cannot run here is a counted skip that says why."""
    device = torch.get_default_device()
    if (reason := stc_ops.backends.why_not(request.param, device)) is not None:
        pytest.skip(f"backend {request.param}: {reason}")
    with stc_ops.use_backend(request.param):
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
