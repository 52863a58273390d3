"""Normalising flow: an invertible network that turns data into noise, and noise into data.

Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017 (couplings, several
scales); Kingma and Dhariwal, "Glow", 2018 (ActNorm, learned mixing); Durkan, Bekasov, Murray and
Papamakarios, "Neural spline flows", 2019 (the couplings bend by rational-quadratic splines).

A picture is squeezed (blocks of places become channels) and goes through steps of ActNorm,
rotation and coupling; after each scale but the last, half of its channels are done and leave. A
vector is a picture of one place. The noise is standard normal whatever the condition, so codes
say what the condition does not.

Where a Space has a step, the value is spread evenly over its cell, and `log_prob` is a lower
bound of the log mass of the cell; without a step, the "bound" of the claims is the exact density.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector, drop
from likewise.core.config import Optimizer, setting
from likewise.core.contract import Claims, Controls, Family, Loss, Size, Source, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous, Space
from likewise.nn.condition import Embed
from likewise.nn.coupling import ActNorm, Coupling, Rotation, squeeze, unsqueeze

ABSENT = 0.1  # share of training rows whose condition is hidden
EDGE = 0.02  # margin that keeps the ends of a range away from infinity


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a flow."""

    width: int = setting(64, "channels of the coupling networks", low=4, high=1024, scale="log")
    depth: int = setting(1, "residual blocks in a coupling network", low=0, high=16)
    steps: int = setting(4, "ActNorm, rotation, coupling at each scale", low=1, high=64)
    scales: int = setting(2, "times a picture is squeezed, where its size allows", low=1, high=8)
    bins: int = setting(8, "of the splines; 0 for affine couplings", low=0, high=64)
    steering: int = setting(32, "width of the condition's vector", low=4, high=1024, scale="log")
    dropout: float = setting(0.1, "in the coupling networks of pictures", low=0.0, high=0.9)
    batch: int = setting(128, "examples a step", low=1, high=65536, scale="log")
    ema: float = setting(0.99, "decay of the parameter average; 0 for none", low=0.0, high=0.9999)
    optimizer: Optimizer = setting(
        Optimizer(learning_rate=2e-3, weight_decay=1e-4, warmup=0.05), "how it is stepped"
    )


class Flow(Family[Config]):
    """A coupling flow over a Continuous Space, for pictures and vectors."""

    claims = Claims(
        density={Continuous: "bound"},
        conditions=(Labels, Tokens, Vector, Grid),
        latent=True,
        per_example=True,
        controls=frozenset({"temperature"}),
    )
    Config = Config
    space: Continuous

    def __init__(self, config: Config, space: Continuous, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        steering = config.steering if conditions else 0
        self.embed = Embed(conditions, steering)
        self.plan = plan(picture(space.shape), config.scales)
        self.scales = nn.ModuleList()
        for scale in self.plan:
            steps: list[nn.Module] = []
            for _ in range(config.steps):
                steps += [
                    ActNorm(scale.channels, steering),
                    Rotation(scale.channels),
                    Coupling(
                        scale.channels,
                        bins=config.bins,
                        size=scale.size,
                        width=config.width,
                        depth=config.depth,
                        steering=steering,
                        dropout=config.dropout,
                    ),
                ]
            self.scales.append(nn.ModuleList(steps))
        self.first = ActNorm(space.dimensions)
        self.last = ActNorm(space.dimensions, steering)

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Config:
        return Config()

    def prepare(self, source: Source, *, rng: Draws) -> None:
        n = min(len(source), 512)
        index = torch.arange(n) * len(source) // n
        x, c = source.batch(index, rng)
        x, c = x.to(self.device), c
        with torch.no_grad():
            self._forward(self._spread(x, rng), c, fit=True)

    def _spread(self, x, rng):
        if self.space.step is None:
            return x
        noise = rng.uniform(x.shape[0], *x.shape[1:]) - 0.5
        return x + self.space.step * noise.to(x.dtype)

    def _unbounded(self, x):
        s = self.space
        if s.low is None or s.high is None or MODE == "raw":
            return x.flatten(1), 0.0
        half = (s.step or 0.0) / 2
        low, high = s.low - half, s.high + half
        v = EDGE + (1 - 2 * EDGE) * (x.flatten(1) - low) / (high - low)
        y = torch.logit(v)
        return y, (math.log((1 - 2 * EDGE) / (high - low)) - v.log() - (1 - v).log()).sum(1)

    def _forward(self, x, c, fit=False):
        e = self.embed(c, len(x), x.device).to(x.dtype)
        y, log_det = self._unbounded(x)
        y = y[:, :, None, None]
        def go(m, y):
            nonlocal log_det
            if fit and isinstance(m, ActNorm):
                m.fit(y)
            y, d = m(y, e)
            log_det = log_det + d
            return y
        y = go(self.first, y)
        y = y.reshape(len(y), *picture(self.space.shape))
        done = []
        for scale, steps in zip(self.plan, self.scales):
            y = squeeze(y, scale.factors)
            for m in steps:
                y = go(m, y)
            if scale is not self.plan[-1]:
                keep = y.shape[1] // 2
                y, z = y.split([keep, y.shape[1] - keep], dim=1)
                done.append(z.flatten(1))
        z = torch.cat([*done, y.flatten(1)], 1)[:, :, None, None]
        z = go(self.last, z)[:, :, 0, 0]
        return z, log_det

    def _inverse(self, z, c):
        e = self.embed(c, len(z), z.device).to(z.dtype)
        z = self.last.inverse(z[:, :, None, None], e)[:, :, 0, 0]
        parts = z.split([s.leaves for s in self.plan], 1)
        y = None
        for scale, steps, z in reversed(list(zip(self.plan, self.scales, parts))):
            z = z.reshape(len(z), -1, *scale.size)
            y = z if y is None else torch.cat([y, z], 1)
            for m in reversed(steps):
                y = m.inverse(y, e)
            y = unsqueeze(y, scale.factors)
        y = self.first.inverse(y.reshape(len(y), -1, 1, 1), e)[:, :, 0, 0]
        s = self.space
        if not (s.low is None or s.high is None or MODE == "raw"):
            half = (s.step or 0.0) / 2
            low, high = s.low - half, s.high + half
            y = low + (high - low) * (torch.sigmoid(y) - EDGE) / (1 - 2 * EDGE)
        return y.reshape(len(y), *s.shape)

    def losses(self, x, c, *, step):
        c = drop(c, ABSENT, step.rng)
        yield Loss("model", -self._log_mass(self._spread(x, step.rng), c) / self.space.dimensions)

    def _log_mass(self, x, c):
        z, log_det = self._forward(x, c)
        lp = -0.5 * z.square().sum(1) - 0.5 * math.log(2 * math.pi) * z.shape[1] + log_det
        if self.space.step:
            lp = lp + math.log(self.space.step) * z.shape[1]
        return lp

    @torch.no_grad()
    def log_prob(self, x, c=None, *, rng=None, draws=1):
        rng = rng or Draws(0)
        l = torch.stack([self._log_mass(self._spread(x, rng), c) for _ in range(draws)])
        return l.logsumexp(0) - math.log(draws)

    @torch.no_grad()
    def sample(self, n, c=None, *, rng, controls=Controls()):
        z = rng.normal(n, self.space.dimensions) * controls.temperature
        return self.space.quantise(self._inverse(z, c))


MODE = "logit"

@dataclass(frozen=True)
class Scale:
    factors: tuple[int, int]
    channels: int
    size: tuple[int, int]
    leaves: int


def picture(shape):
    if len(shape) == 3:
        return shape
    return (math.prod(shape), 1, 1)


def plan(shape, scales):
    c, h, w = shape
    out = []
    for k in range(scales):
        a, b = 2 - h % 2, 2 - w % 2
        if FULL and k == scales - 1 and h * w <= 64:
            a, b = h, w
        if a * b == 1 and c == 1:
            a, b = smallest(h), smallest(w)
        if k and a * b == 1:
            break
        c, h, w = c * a * b, h // a, w // b
        out.append([(a, b), c, (h, w), 0])
        out[-1][3] = (c - c // 2) * h * w
        c = c // 2
    out[-1][3] = out[-1][1] * h * w
    return [Scale(*o) for o in out]

FULL = False

def smallest(n):
    return next((k for k in range(2, n + 1) if n % k == 0), 1)
