"""Normalising flow: an invertible network that turns data into noise, and noise into data.

Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017 (couplings, several
scales); Kingma and Dhariwal, "Glow", 2018 (ActNorm, learned mixing); Durkan, Bekasov, Murray and
Papamakarios, "Neural spline flows", 2019 (the couplings bend by rational-quadratic splines).

A picture is squeezed (blocks of places become channels) and goes through steps of ActNorm,
rotation and coupling; after each scale but the last, half of its channels are done and leave. What
is left small becomes one place, where the networks are MLPs; a vector is a picture of one place.
The noise is standard normal whatever the condition, so codes say what the condition does not.

Where a Space has a step, the value is spread evenly over its cell, and `log_prob` is a lower
bound of the log mass of the cell; without a step, the "bound" of the claims is the exact density.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector, drop
from likewise.core.config import Optimizer, setting
from likewise.core.contract import Claims, Controls, Family, Loss, Size, Source, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous, Space
from likewise.nn.condition import Embed
from likewise.nn.coupling import ActNorm, Coupling, Logit, Rotation, squeeze, unsqueeze

ABSENT = 0.1  # share of training rows whose condition is hidden
CELL_EDGE = 0.02  # margin beyond the range where values fill cells
POINT_EDGE = 0.0  # where they do not, so that no density lies beyond the range
FLAT = 256  # a later scale of up to so many numbers becomes one place
TINY = 12  # pixels a side, up to which a picture is of data too few to learn without dropout
START = 512  # examples that the start is fitted to


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Settings of a flow."""

    width: int = setting(48, "channels of the coupling networks", low=4, high=1024, scale="log")
    depth: int = setting(1, "residual blocks in a coupling network", low=0, high=16)
    steps: int = setting(3, "ActNorm, rotation, coupling at each scale", low=2, high=64)
    scales: int = setting(2, "squeezes of a picture, where its size allows", low=1, high=8)
    bins: int = setting(8, "of the splines; 0 for affine couplings", low=0, high=64)
    steering: int = setting(32, "width of the condition's vector", low=4, high=1024, scale="log")
    dropout: float = setting(0.1, "in convolutional coupling networks", low=0.0, high=0.9)
    batch: int = setting(96, "examples a step", low=1, high=65536, scale="log")
    ema: float = setting(0.99, "decay of the parameter average; 0 for none", low=0.0, high=0.9999)
    optimizer: Optimizer = setting(
        Optimizer(learning_rate=4e-3, weight_decay=1e-2, warmup=0.05), "how it is stepped"
    )


class Scale(NamedTuple):
    """One scale of a picture: how it is squeezed, and what it then is.

    Attributes:
        factors: height and width of the blocks of places that become channels.
        shape: (c, h, w) after the squeeze.
        leaves: numbers that leave after its steps.
    """

    factors: tuple[int, int]
    shape: tuple[int, int, int]
    leaves: int


@final
class Flow(Family[FlowConfig]):
    """A coupling flow over a Continuous Space, for pictures and vectors.

    Example:
        >>> flow = Flow(FlowConfig(width=8), Continuous(shape=(1, 4, 6)))
        >>> x = flow.sample(2, rng=Draws(0))
        >>> x.shape, flow.log_prob(x).shape
        (torch.Size([2, 1, 4, 6]), torch.Size([2]))
        >>> bool(torch.allclose(flow.decode(flow.encode(x)), x, atol=1e-4))
        True
    """

    claims = Claims(
        density={Continuous: "bound"},
        conditions=(Labels, Tokens, Vector, Grid),
        latent=True,
        per_example=True,
        controls=frozenset({"temperature"}),
    )
    Config = FlowConfig

    space: Continuous

    def __init__(self, config: FlowConfig, space: Continuous, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        steering = config.steering if conditions else 0
        self.embed = Embed(conditions, steering)
        self.range = _range(space)
        self.picture = _as_picture(space.shape)
        self.first = ActNorm(space.dimensions)
        self.plan = plan(self.picture, config.scales)
        self.scales = nn.ModuleList(_steps(config, scale, steering) for scale in self.plan)
        self.last = ActNorm(space.dimensions, steering)

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> FlowConfig:
        """A Config sized for this Space: pictures by their longer side, vectors alike."""
        _, height, width = _as_picture(space.shape)
        longest = max(height, width)
        scales = max(1, (longest - 1).bit_length() - 1)  # 8 -> 2, 28 -> 4, 64 -> 5
        wide, depth, steps = {
            "xs": (48, 1, 3),
            "s": (64, 1, 4),
            "m": (96, 2, 6),
            "l": (192, 2, 8),
        }[size]
        tiny = longest <= TINY
        if longest == 1:
            steps += 1
        slow = size in ("m", "l")
        return FlowConfig(
            width=wide,
            depth=depth,
            steps=steps,
            scales=scales,
            dropout=0.1 if tiny else 0.0,
            steering=max(32, wide // 2),
            ema=0.999 if slow else 0.99,
            optimizer=Optimizer(
                learning_rate=1e-3 if slow else 4e-3, weight_decay=1e-2, warmup=0.05
            ),
        )

    @torch.no_grad()
    def prepare(self, source: Source, *, rng: Draws) -> None:
        """Every ActNorm starts from the mean and deviation that reach it."""
        count = min(len(source), START)
        x, c = source.batch(torch.arange(count) * len(source) // count, rng)
        hooks = [
            module.register_forward_pre_hook(lambda norm, inputs: norm.fit(inputs[0]))
            for module in self.modules()
            if isinstance(module, ActNorm)
        ]
        self.to_noise(self._spread(x.to(self.device), rng), c)
        for hook in hooks:
            hook.remove()

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """-log p in nats a dimension."""
        hidden = drop(c, ABSENT, step.rng)
        value = -self._log_prob(self._spread(x, step.rng), hidden)
        yield Loss("model", value / self.space.dimensions)

    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) nats: a lower bound of the log mass of the cell, or the exact log density.

        Args:
            x: (n, *shape) of `self.space`.
            c: conditions, or None for the unconditional distribution.
            rng: of the places within the cells.
            draws: of places, averaged over; 1 is enough where there is no step.
        """
        rng = rng or Draws(0, device=self.device)
        count = draws if self.space.step else 1
        values = [self._log_prob(self._spread(x, rng), c) for _ in range(count)]
        return torch.stack(values).logsumexp(dim=0) - math.log(count)

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, *shape) new examples; `temperature` scales the noise."""
        z = rng.normal(n, self.space.dimensions).to(self.device) * controls.temperature
        return self.decode(z, c)

    def encode(self, x: Tensor, c: Batch | None = None) -> Tensor:
        """(n, d): the noise that x is made of, x standing in the middle of its cell."""
        return self.to_noise(x, c)[0]

    def decode(self, z: Tensor, c: Batch | None = None) -> Tensor:
        """(n, *shape) out of noise (n, d), on the grid of the Space."""
        return self.space.quantise(self.from_noise(z, c))

    @property
    def code_space(self) -> Continuous:
        """As many numbers as an example has, standard normal."""
        return Continuous(shape=(self.space.dimensions,))

    def to_noise(self, x: Tensor, c: Batch | None = None) -> tuple[Tensor, Tensor]:
        """x (n, *shape) -> z (n, d) and the log-determinant of the Jacobian, (n,)."""
        e = self.embed(c, len(x), x.device).to(x.dtype)
        y, log_det = self.range(x, e) if self.range else (x, x.new_zeros(len(x)))
        y, more = self.first(y.reshape(len(x), -1, 1, 1), e)
        log_det = log_det + more
        y = y.reshape(len(x), *self.picture)  # (n, d, 1, 1) -> (n, c, h, w)
        done = []
        for scale, steps in zip(self.plan, self.scales, strict=True):
            y = squeeze(y, scale.factors)
            for step in steps:  # type: ignore[attr-defined]
                y, more = step(y, e)
                log_det = log_det + more
            stays = y.shape[1] - scale.leaves // (y.shape[2] * y.shape[3])
            done.append(y[:, stays:].flatten(1))
            y = y[:, :stays]
        z, more = self.last(torch.cat(done, dim=1)[:, :, None, None], e)
        return z.flatten(1), log_det + more

    def from_noise(self, z: Tensor, c: Batch | None = None) -> Tensor:
        """z (n, d) -> x (n, *shape), not yet on the grid of the Space: undoes `to_noise`."""
        e = self.embed(c, len(z), z.device).to(z.dtype)
        done = self.last.inverse(z[:, :, None, None], e)
        parts = done.split([scale.leaves for scale in self.plan], dim=1)
        y = z.new_zeros(len(z), 0, *self.plan[-1].shape[1:])
        for scale, steps, part in zip(
            self.plan[::-1], reversed(self.scales), parts[::-1], strict=True
        ):
            y = torch.cat([y, part.reshape(len(z), -1, *scale.shape[1:])], dim=1)
            for step in reversed(steps):  # type: ignore[call-overload]
                y = step.inverse(y, e)
            y = unsqueeze(y, scale.factors)
        y = self.first.inverse(y.reshape(len(z), -1, 1, 1), e).reshape(len(z), *self.space.shape)
        return self.range.inverse(y, e) if self.range else y

    def _spread(self, x: Tensor, rng: Draws) -> Tensor:
        """x somewhere in its cell, if it stands for one."""
        if not self.space.step:
            return x
        place = rng.uniform(*x.shape).to(x) - 0.5
        return x + self.space.step * place

    def _log_prob(self, x: Tensor, c: Batch | None) -> Tensor:
        """(n,) log density of spread x, plus the log volume of a cell if there is one."""
        z, log_det = self.to_noise(x, c)
        volume = math.log(self.space.step) if self.space.step else 0.0
        constant = self.space.dimensions * (volume - 0.5 * math.log(2 * math.pi))
        return log_det - 0.5 * z.square().sum(dim=1) + constant


def plan(picture: tuple[int, int, int], scales: int) -> list[Scale]:
    """How a picture is squeezed, scale by scale; the last scale's numbers all leave.

    Even sides are halved. A picture of one channel is squeezed by the smallest factor that its
    sides have, for a coupling needs two channels.

    Example:
        >>> [scale.shape for scale in plan((1, 8, 8), 2)]
        [(4, 4, 4), (32, 1, 1)]
        >>> [scale.shape for scale in plan((1, 5, 7), 2)]
        [(35, 1, 1)]
    """
    result: list[Scale] = []
    c, h, w = picture
    while len(result) < scales:
        flat = bool(result) and c * h * w <= FLAT
        a, b = (h, w) if flat else (_factor(h, c == 1), _factor(w, c == 1))
        if result and a * b == 1:
            break
        c, h, w = c * a * b, h // a, w // b
        result.append(Scale((a, b), (c, h, w), (c - c // 2) * h * w))
        if flat or c == 1:
            break
        c = c // 2
    last = result[-1]
    return [*result[:-1], last._replace(leaves=math.prod(last.shape))]


def _factor(side: int, needed: bool) -> int:
    """2 for an even side; for an odd one its smallest factor if it is needed, else 1."""
    if side % 2 == 0:
        return 2
    return next(k for k in range(3, side + 1, 2) if side % k == 0) if needed and side > 1 else 1


def _as_picture(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(c, h, w); what is no picture is one place."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (math.prod(shape), 1, 1)


def _range(space: Continuous) -> Logit | None:
    """The map from the range of the Space, its cells included, to the whole line."""
    if space.low is None or space.high is None:
        return None
    half = (space.step or 0.0) / 2
    return Logit(space.low - half, space.high + half, CELL_EDGE if space.step else POINT_EDGE)


def _steps(config: FlowConfig, scale: Scale, steering: int) -> nn.ModuleList:
    """ActNorm, rotation and coupling, several times."""
    channels, *size = scale.shape
    result: list[nn.Module] = []
    for index in range(config.steps):
        coupling = Coupling(
            channels,
            bins=config.bins,
            size=(size[0], size[1]),
            width=config.width,
            depth=config.depth,
            steering=steering,
            dropout=config.dropout,
        )
        norm = ActNorm(channels, steering)
        result += [norm, Rotation(channels, swap=index % 2 == 1), coupling]
    return nn.ModuleList(result)
