import pytest
import torch

from stc_ops.cli.network import build_network


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Return the path of a video of 12 frames."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    pixels = torch.randint(0, 256, (48, 64, 3), generator=torch.Generator().manual_seed(0))
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            rolled = pixels.roll(number, 1).to(torch.uint8).numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rolled, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def truncated_clip(clip, tmp_path):
    path = tmp_path / "truncated.mp4"
    content = clip.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return the path of the weights of a network of 2 segments and 7 classes."""
    path = tmp_path_factory.mktemp("weights") / "seven.pt"
    torch.save(build_network(7, 2, light=False).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def one_thread():
    """Small networks are not worth dividing, least of all beside other work on the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
