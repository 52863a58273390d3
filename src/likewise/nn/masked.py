"""Causal convolutions: every place sees the places before it in raster order, and no others.

van den Oord et al., "Conditional image generation with PixelCNN decoders", 2016: a vertical stack
sees all rows above, a horizontal stack sees the row's own past and reads the vertical one, so
that together they see everything earlier, without the blind spot of one masked convolution.
Instead of masks, the kernels have only the rows and columns that may be seen.

`Walk` is the same network one place at a time (Ramachandran et al., "Fast generation for
convolutional autoregressive models", 2017): what earlier places computed is kept, a row's part of
the vertical stack is computed once, and a new place costs two small matrix products a block.

Shapes: n examples, h by w places, c channels, f the width of the stack, r a reach.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.errors import UsageError, must


class Above(nn.Conv2d):
    """A convolution over rows above: `reach` of them, and the row itself unless `strict`.

    Example:
        >>> conv = Above(1, 1, 1, strict=True)
        >>> changed = conv(torch.ones(1, 1, 2, 3)) != conv(torch.zeros(1, 1, 2, 3))
        >>> changed.all(dim=3).flatten().tolist()
        [False, True]
    """

    def __init__(self, inputs: int, outputs: int, reach: int, *, strict: bool) -> None:
        _check(reach)
        kernel = (reach + (not strict), 2 * reach + 1)
        super().__init__(inputs, outputs, kernel, padding=(0, reach))
        self.reach, self.strict = reach, strict

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w)."""
        return super().forward(F.pad(x, (0, 0, self.reach, -int(self.strict))))

    def matrix(self) -> Tensor:
        """(rows * columns * inputs, outputs): the kernel as a matrix."""
        return self.weight.permute(2, 3, 1, 0).flatten(0, 2)


class Left(nn.Conv2d):
    """A convolution over places to the left: `reach` of them, and the place unless `strict`."""

    def __init__(self, inputs: int, outputs: int, reach: int, *, strict: bool) -> None:
        _check(reach)
        super().__init__(inputs, outputs, (1, reach + (not strict)))
        self.reach, self.strict = reach, strict

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w)."""
        return super().forward(F.pad(x, (self.reach, -int(self.strict))))

    def matrix(self) -> Tensor:
        """(columns * inputs, outputs): the kernel as a matrix."""
        return self.weight.permute(2, 3, 1, 0).flatten(0, 2)


def gate(x: Tensor) -> Tensor:
    """tanh of one half of the channels (dimension 1) times sigmoid of the other half."""
    signal, strength = x.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(strength)


class GatedBlock(nn.Module):
    """One residual gated layer of the vertical and the horizontal stack.

    Args:
        width: channels f of either stack.
        reach: of the convolutions.
        vertical: whether there is a vertical stack (a single row has none).
        dropout: share of the gated channels dropped before the residual sum.
    """

    def __init__(
        self, width: int, reach: int, *, vertical: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.above = Above(width, 2 * width, reach, strict=False) if vertical else None
        self.link = nn.Conv2d(width, 2 * width, 1, bias=False) if vertical else None
        self.left = Left(width, 2 * width, reach, strict=False)
        self.out = nn.Conv2d(width, width, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, v: Tensor, h: Tensor, steer: Tensor) -> tuple[Tensor, Tensor]:
        """v, h (n, f, h, w), steer (n, 4 f, 1, 1) added inside the gates -> v, h."""
        for_v, for_h = steer.chunk(2, dim=1)  # (n, 2 f, 1, 1) each
        wide = self.left(h) + for_h
        if self.above is not None and self.link is not None:
            v = v + self.dropout(gate(self.above(v) + for_v))
            wide = wide + self.link(v)
        return v, h + self.out(self.dropout(gate(wide)))


class GatedStack(nn.Module):
    """A gated PixelCNN's trunk: features of each place out of all earlier places.

    Args:
        inputs: channels of the input.
        width: channels f of either stack.
        blocks: how many gated blocks.
        first: reach of the first, strict convolutions.
        reach: of the blocks' convolutions.
        steering: width e of the steering vector; 0 for none.
        vertical: whether inputs have more than one row.
        dropout: within the blocks.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        blocks: int,
        first: int,
        reach: int,
        steering: int = 0,
        vertical: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.first, self.reach = width, first, reach
        self.above = Above(inputs, width, first, strict=True) if vertical else None
        self.left = Left(inputs, width, first, strict=True)
        self.blocks = nn.ModuleList(
            GatedBlock(width, reach, vertical=vertical, dropout=dropout) for _ in range(blocks)
        )
        self.steer = nn.Linear(steering, blocks * 4 * width) if steering else None

    def forward(self, x: Tensor, place: Tensor, e: Tensor) -> Tensor:
        """x (n, inputs, h, w), place (1 or n, f, h, w), e (n, steering) -> (n, f, h, w).

        `place` is added to both stacks at the start: what is known of each place beforehand.
        """
        h = self.left(x) + place
        v = self.above(x) + place if self.above is not None else h
        for block, steer in zip(self.blocks, self.steers(e), strict=True):
            v, h = block(v, h, steer[:, :, None, None])
        return h

    def steers(self, e: Tensor) -> tuple[Tensor, ...]:
        """What the steering vector adds in each block: (n, 4 f) each."""
        if self.steer is None:
            return (e.new_zeros(len(e), 4 * self.width),) * len(self.blocks)
        return self.steer(e).chunk(len(self.blocks), dim=1)


class Walk:
    """A GatedStack one place at a time, in raster order, with what it has seen kept.

    For each row call `begin`, then for each place of it `features(column)`, then `put`. All is
    computed in `dtype`; the weights are copied, so a walk does not see them change.

    Args:
        stack: the network.
        place: (n, f, h, w), as for its forward.
        e: (n, steering), as for its forward.
        dtype: of the arithmetic.
    """

    def __init__(self, stack: GatedStack, place: Tensor, e: Tensor, dtype: torch.dtype) -> None:
        self.n, self.f, _, self.w = place.shape
        self.inputs, self.first, self.reach = stack.left.in_channels, stack.first, stack.reach
        self.place = place.to(dtype).permute(2, 3, 0, 1).contiguous()  # (h, w, n, f)
        self.into_v = _Down(stack.above, self.n, self.w, self.place) if stack.above else None
        self.into_h = stack.left.matrix().to(dtype)
        self.into_h_bias = _bias(stack.left, dtype)
        self.past = self._flat(self.first, self.inputs)
        steers = [steer.to(dtype) for steer in stack.steers(e)]
        self.blocks = [
            _BlockWalk(cast(GatedBlock, block), steer, self.w, self._flat(self.reach, self.f))
            for block, steer in zip(stack.blocks, steers, strict=True)
        ]
        self.i = -1

    def _flat(self, reach: int, channels: int) -> Tensor:
        """(n, (reach + w) * channels): a row of places after `reach` empty ones."""
        return self.place.new_zeros(self.n, (reach + self.w) * channels)

    def begin(self) -> None:
        """Start the next row: the vertical stack's part of it."""
        self.i += 1
        place = self.place[self.i]  # (w, n, f)
        self.start = place + self.into_h_bias
        if self.into_v is None:
            return
        if self.i:
            row = self.past[:, self.first * self.inputs :].reshape(self.n, self.w, self.inputs)
            self.into_v.push(row)
        v = self.into_v() + place
        for block in self.blocks:
            v = block.begin(v)

    def features(self, j: int) -> Tensor:
        """(n, f): the stack's output at column j of the row, after `put` of all before it."""
        seen = self.past[:, j * self.inputs : (j + self.first) * self.inputs]
        h = torch.addmm(self.start[j], seen, self.into_h)
        for block in self.blocks:
            h = block(j, h)
        return h

    def put(self, j: int, x: Tensor) -> None:
        """x (n, inputs): what stands at column j of the row."""
        self.past[:, (j + self.first) * self.inputs : (j + self.first + 1) * self.inputs] = x


class _BlockWalk:
    """One GatedBlock of a walk; `past` is (n, (reach + w) * f)."""

    def __init__(self, block: GatedBlock, steer: Tensor, width: int, past: Tensor) -> None:
        self.f, self.reach, self.w = block.out.in_channels, block.left.reach, width
        self.past = past
        for_v, for_h = steer.chunk(2, dim=1)  # (n, 2 f) each
        self.for_v = for_v
        self.for_h = for_h + _bias(block.left, past.dtype)
        self.left = block.left.matrix().to(past.dtype)
        self.out = block.out.weight[:, :, 0, 0].t().to(past.dtype)
        self.above = _Down(block.above, len(past), width, past) if block.above else None
        if block.link is not None:
            self.link = block.link.weight[:, :, 0, 0].t().to(past.dtype)
        self.start = self.for_h.expand(width, *self.for_h.shape)  # (w, n, 2 f)

    def begin(self, v: Tensor) -> Tensor:
        """v (w, n, f) of the row -> the next block's."""
        assert self.above is not None
        self.above.push(v.transpose(0, 1))
        wide = self.above() + self.for_v  # (w, n, 2 f)
        v = v + gate(wide.flatten(0, 1)).view(v.shape)
        self.start = v @ self.link + self.for_h
        return v

    def __call__(self, j: int, h: Tensor) -> Tensor:
        """h (n, f) at column j -> (n, f)."""
        f, end = self.f, j + self.reach
        self.past[:, end * f : (end + 1) * f] = h
        wide = torch.addmm(self.start[j], self.past[:, j * f : (end + 1) * f], self.left)
        return torch.addmm(h, gate(wide), self.out)


class _Down:
    """An Above convolution of a walk: keeps the rows that it still needs."""

    def __init__(self, conv: Above, n: int, width: int, like: Tensor) -> None:
        rows, self.columns = conv.kernel_size
        self.reach, self.w, self.inputs = self.columns // 2, width, conv.in_channels
        self.rows = like.new_zeros(n, rows, width + 2 * self.reach, self.inputs)
        self.matrix = conv.matrix().to(like.dtype)
        self.bias = _bias(conv, like.dtype)

    def push(self, row: Tensor) -> None:
        """row (n, w, inputs): the newest one."""
        self.rows[:, :-1] = self.rows[:, 1:].clone()
        self.rows[:, -1, self.reach : self.reach + self.w] = row

    def __call__(self) -> Tensor:
        """(w, n, outputs) of the row after the last pushed (strict), or of that row."""
        n, rows, wide, inputs = self.rows.shape
        windows = self.rows.as_strided(  # (w, n, rows, columns * inputs), overlapping
            (self.w, n, rows, self.columns * inputs),
            (inputs, rows * wide * inputs, wide * inputs, 1),
        )
        flat = windows.reshape(self.w * n, -1)  # (w * n, rows * columns * inputs)
        return torch.addmm(self.bias, flat, self.matrix).view(self.w, n, -1)


def _bias(conv: nn.Conv2d, dtype: torch.dtype) -> Tensor:
    assert conv.bias is not None
    return conv.bias.to(dtype)


def _check(reach: int) -> None:
    if reach < 1:
        raise UsageError(must("the reach of a causal convolution", "at least 1", reach))
