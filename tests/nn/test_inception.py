"""Inception against golden values of its peers, the resize against plain loops, and refusals."""

import pytest
import torch
from safetensors.torch import save_file

from likewise.core.errors import StoreError, UsageError
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Continuous
from likewise.nn.inception import Inception, Network, load_inception, reads, resize

GREY = Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=2 / 16)
COLOUR = Continuous(shape=(3, 32, 40), low=0.0, high=1.0)

# Made by `python -m benchmarks.inception_peer` with pytorch-fid 0.3.0 (the network) and
# torch-fidelity 0.4.0 (the resize), on the weights of `seeded` and the picture of `picture`.
GOLDEN = (
    0.00773,
    1.73816,
    8.0815,
    22.51531,
    0.74336,
    0.01504,
    0.29876,
    4.76552,
    1.03877,
    0.45843,
    3.00824,
)


def seeded():
    """The state of a Network whose weights are waves: equal on any machine to float32 rounding."""
    state = {}
    for number, (name, tensor) in enumerate(sorted(Network().state_dict().items())):
        wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * 12.9898 + number)
        u = (wave * 43758.5453).remainder(1.0).view(tensor.shape)
        if tensor.ndim > 1:
            value = (u - 0.5) * (24 / tensor[0].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            value = 0.5 + u
        else:
            value = 0.2 * (u - 0.5)
        state[name] = value.to(tensor.dtype)
    return state


def picture():
    """(1, 3, 32, 40) whole levels 0..255."""
    place = torch.arange(3 * 32 * 40, dtype=torch.float64)
    return ((torch.sin(place * 12.9898) * 43758.5453).remainder(1.0) * 256).floor().view(
        1, 3, 32, 40
    ).float()  # fmt: skip


@pytest.fixture(scope="module")
def state():
    return seeded()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    save_file({k: v.contiguous() for k, v in state.items() if "batches_tracked" not in k}, path)
    return path


def test_features_are_those_of_the_peers(file):
    net = load_inception(file, COLOUR)
    features = net.features(picture() / 255)
    assert features.shape == (1, 2048)
    assert features[0, 50::190].tolist() == pytest.approx(GOLDEN, rel=1e-3, abs=1e-4)
    net.calibrate(None, rng=Draws(0))
    assert not net.shift.any()
    assert net.scale == 1.0


def test_the_network_has_the_size_that_is_published():
    network = Network()
    assert sum(p.numel() for p in network.parameters()) == 23_850_960
    names = network.state_dict()
    assert tuple(names["Mixed_6e.branch7x7dbl_4.conv.weight"].shape) == (192, 192, 7, 1)
    assert tuple(names["Mixed_7c.branch3x3_2a.conv.weight"].shape) == (384, 384, 1, 3)
    assert tuple(names["fc.weight"].shape) == (1008, 2048)


@pytest.mark.parametrize("shape", [(5, 4), (9, 7), (12, 30)], ids=str)
def test_resize_is_tensorflows_by_plain_loops(shape):
    x = 255 * Draws(0).uniform(1, 2, *shape)
    ours = resize(x, 9)
    for row in range(9):
        for column in range(9):
            top, left = row * shape[0] / 9, column * shape[1] / 9
            y, z = int(top), int(left)
            below, right = min(y + 1, shape[0] - 1), min(z + 1, shape[1] - 1)
            dy, dz = top - y, left - z
            upper = x[0, :, y, z] * (1 - dz) + x[0, :, y, right] * dz
            lower = x[0, :, below, z] * (1 - dz) + x[0, :, below, right] * dz
            wanted = upper * (1 - dy) + lower * dy
            assert torch.allclose(ours[0, :, row, column], wanted, atol=1e-3)


def test_pictures_are_read_as_8_bit_levels_in_three_channels():
    net = Inception(GREY)
    x = torch.tensor([-1.0, 0.0, 1.0, 0.125]).view(1, 1, 1, 4).expand(1, 1, 8, 4)
    levels = net._levels(x)
    assert levels.shape == (1, 3, 8, 4)
    assert levels[0, 2, 0].tolist() == [0.0, 128.0, 255.0, 143.0]


def test_only_pictures_with_a_range_are_read():
    assert reads(GREY)
    assert not reads(Continuous(shape=(1, 8, 8)))
    assert not reads(Continuous(shape=(4, 8, 8), low=0.0, high=1.0))
    assert not reads(Categorical(shape=(1, 8, 8), categories=4))
    with pytest.raises(UsageError, match="for pictures with 1 or 3 channels"):
        Inception(Continuous(shape=(6,)))


def test_wrong_files_are_refused_with_the_way_to_a_right_one(state, tmp_path):
    with pytest.raises(StoreError, match=r"could not be read .*convert it once with: python -c"):
        load_inception(tmp_path / "none.safetensors", GREY)
    path = tmp_path / "weights.pth"
    path.write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(StoreError, match=r"could not be read .*pt_inception-2015-12-05"):
        load_inception(path, GREY)
    save_file({"fc.weight": torch.zeros(1000, 2048)}, path)
    with pytest.raises(StoreError, match=r"has no 'Conv2d_1a_3x3\.conv\.weight'\. The weights"):
        load_inception(path, GREY)
    save_file({**state, "fc.weight": torch.zeros(1000, 2048)}, path)
    wrong = r"fc\.weight .* must be of shape \(1008, 2048\); got \(1000, 2048\)"
    with pytest.raises(StoreError, match=wrong):
        load_inception(path, GREY)
