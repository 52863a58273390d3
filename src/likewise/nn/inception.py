"""The Inception network that the Fréchet Inception distance is defined in, from the user's file.

Inception v3 (Szegedy et al., 2016) as trained by Google in 2015 and ported out of TensorFlow: the
weights "pt_inception-2015-12-05" that pytorch-fid, torch-fidelity and clean-fid read. Its last
2048 features are those of Heusel et al., 2017 (FID) and of Binkowski et al., 2018 (KID).

It differs from the Inception v3 of the paper in three places, which the ported weights need:
average pooling leaves padding out of its mean, the last block pools by the largest, and there are
1008 classes. Nothing is ever downloaded; the file must be safetensors.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.contract import Source
from likewise.core.errors import StoreError, UsageError
from likewise.core.rng import Draws
from likewise.core.space import Continuous, Space
from likewise.nn.features import FeatureNet

SIZE = 299
WIDTH = 2048
CLASSES = 1008
NAME = "pt_inception-2015-12-05"
CONVERT = (
    'python -c "import torch; from safetensors.torch import save_file; save_file({k: '
    "v.contiguous() for k, v in torch.load('WEIGHTS.pth', weights_only=True).items()}, "
    "'inception.safetensors')\""
)


class Inception(FeatureNet):
    """2048 features of pictures, as the reference computes them: neither shifted nor scaled.

    Args:
        space: pictures with a range, (1, h, w) or (3, h, w); grey ones become three equal
            channels.

    Raises:
        UsageError: the Space holds no such pictures.
    """

    def __init__(self, space: Space) -> None:
        if not reads(space):
            raise UsageError("inception features are for pictures with 1 or 3 channels.")
        super().__init__(space, WIDTH)
        self.net = Network()

    def raw(self, x: Tensor) -> Tensor:
        """(n, 2048)."""
        return torch.cat([self.net(part) for part in self._levels(x).split(16)])

    def features(self, x: Tensor) -> Tensor:
        """(n, 2048) float32 features, on the CPU wherever the net is."""
        return super().features(x).cpu()

    def calibrate(self, source: Source, *, rng: Draws) -> None:
        """Nothing: other units would no longer be those of published numbers."""

    def _levels(self, x: Tensor) -> Tensor:
        """Pictures as (n, 3, h, w) 8-bit levels 0..255, which is what a picture file holds."""
        assert isinstance(self.space, Continuous)
        low, high = self.space.low or 0.0, self.space.high or 1.0
        levels = ((x - low) * (255.0 / (high - low))).round().clamp(0, 255)
        return levels.expand(-1, 3, -1, -1)


def reads(space: Space) -> bool:
    """Whether a Space holds pictures that Inception can read."""
    return (
        isinstance(space, Continuous)
        and len(space.shape) == 3
        and space.shape[0] in (1, 3)
        and space.low is not None
        and space.high is not None
    )


def load_inception(path: Path, space: Space) -> Inception:
    """Inception with the weights of a safetensors file.

    Args:
        path: the file, converted from the published .pth.
        space: of the pictures.

    Raises:
        UsageError: the Space holds no pictures.
        StoreError: the file is missing, damaged or holds other weights; how to make a right one.
    """
    net = Inception(space)
    net.net.load_state_dict(_checked(path, net.net.state_dict()))
    return net.eval().requires_grad_(False)


def _checked(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, with the names and shapes of the network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(_how_to(f"{path} could not be read as safetensors ({error})")) from error
    found = {name: value.to(wanted[name].dtype) for name, value in found.items() if name in wanted}
    counters = {name: value for name, value in wanted.items() if name.endswith("batches_tracked")}
    found = {**counters, **found}  # which old files leave out
    for name, value in wanted.items():
        if name not in found:
            raise StoreError(_how_to(f"{path} has no {name!r}"))
        if found[name].shape != value.shape:
            shape, wrong = tuple(value.shape), tuple(found[name].shape)
            raise StoreError(_how_to(f"{name} of {path} must be of shape {shape}; got {wrong}"))
    return found


def _how_to(what: str) -> str:
    return (
        f"{what}. The weights must be those of {NAME}, as safetensors. Take the .pth file that "
        f"pytorch-fid or torch-fidelity publishes under that name, and convert it once with: "
        f"{CONVERT}"
    )


def resize(x: Tensor, size: int = SIZE) -> Tensor:
    """Bilinear to size x size as TensorFlow 1 does it: pixel i reads place i * old / new.

    Without antialiasing and without half-pixel centres, which is what published distances were
    made with. Where pictures shrink it aliases, and a distance then moves with the size of the
    pictures; clean-fid (Parmar et al., 2022) shrinks and grows by an antialiased bicubic filter
    instead, so its numbers are not comparable with these.

    Args:
        x: (n, channels, h, w).
        size: of the result.

    Returns:
        (n, channels, size, size).
    """
    for axis in (3, 2):
        old = x.shape[axis]
        place = torch.arange(size, dtype=torch.float32, device=x.device) * (old / size)
        below = place.long()
        above = (below + 1).clamp(max=old - 1)
        weight = (place - below).view(-1, 1) if axis == 2 else place - below
        first, second = x.index_select(axis, below), x.index_select(axis, above)
        x = first + (second - first) * weight
    return x


class Network(nn.Module):
    """The network itself, with the names of the published weights; 23.9 million parameters.

    The class scores `fc` take no part in features; they are there because the file has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _MixedA(192, 32)
        self.Mixed_5c = _MixedA(256, 64)
        self.Mixed_5d = _MixedA(288, 64)
        self.Mixed_6a = _MixedB(288)
        self.Mixed_6b = _MixedC(768, 128)
        self.Mixed_6c = _MixedC(768, 160)
        self.Mixed_6d = _MixedC(768, 160)
        self.Mixed_6e = _MixedC(768, 192)
        self.Mixed_7a = _MixedD(768)
        self.Mixed_7b = _MixedE(1280, largest=False)
        self.Mixed_7c = _MixedE(2048, largest=True)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) levels 0..255 -> (n, 2048)."""
        x = (resize(x) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (n, 64, 147, 147)
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (n, 192, 71, 71)
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (n, 288, 35, 35)
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_6e(self.Mixed_6d(x))  # (n, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (n, 2048, 8, 8)
        return x.mean(dim=(2, 3))


class _Conv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _wide(inputs: int, outputs: int, size: int = 7) -> _Conv:
    """A convolution along rows."""
    return _Conv(inputs, outputs, (1, size), padding=(0, size // 2))


def _tall(inputs: int, outputs: int, size: int = 7) -> _Conv:
    """A convolution along columns."""
    return _Conv(inputs, outputs, (size, 1), padding=(size // 2, 0))


def _average(x: Tensor) -> Tensor:
    """The mean of 3 x 3 neighbours, those that are there."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _MixedA(nn.Module):
    """35 x 35: 1x1, 5x5, two 3x3, pool."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 64, 1)
        self.branch5x5_1 = _Conv(inputs, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], dim=1)


class _MixedB(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], dim=1)


class _MixedC(nn.Module):
    """17 x 17: 1x1, 7x7 and two 7x7 as rows and columns, pool."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 192, 1)
        self.branch7x7_1 = _Conv(inputs, inner, 1)
        self.branch7x7_2 = _wide(inner, inner)
        self.branch7x7_3 = _tall(inner, 192)
        self.branch7x7dbl_1 = _Conv(inputs, inner, 1)
        self.branch7x7dbl_2 = _tall(inner, inner)
        self.branch7x7dbl_3 = _wide(inner, inner)
        self.branch7x7dbl_4 = _tall(inner, inner)
        self.branch7x7dbl_5 = _wide(inner, 192)
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(_average(x))
        return torch.cat([self.branch1x1(x), seven, double, pooled], dim=1)


class _MixedD(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Conv(inputs, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Conv(inputs, 192, 1)
        self.branch7x7x3_2 = _wide(192, 192)
        self.branch7x7x3_3 = _tall(192, 192)
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        pooled = F.max_pool2d(x, 3, stride=2)
        return torch.cat([three, self.branch7x7x3_4(seven), pooled], dim=1)


class _MixedE(nn.Module):
    """8 x 8: 1x1, 3x3 and two 3x3 whose last is rows beside columns, pool by mean or largest."""

    def __init__(self, inputs: int, *, largest: bool) -> None:
        super().__init__()
        self.largest = largest
        self.branch1x1 = _Conv(inputs, 320, 1)
        self.branch3x3_1 = _Conv(inputs, 384, 1)
        self.branch3x3_2a = _wide(384, 384, 3)
        self.branch3x3_2b = _tall(384, 384, 3)
        self.branch3x3dbl_1 = _Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _wide(384, 384, 3)
        self.branch3x3dbl_3b = _tall(384, 384, 3)
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.largest else _average(x)
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(pooled),
        ]
        return torch.cat(branches, dim=1)
