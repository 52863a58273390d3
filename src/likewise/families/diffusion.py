"""Diffusion by flow matching: noise is carried to data along a learned velocity.

Lipman et al., "Flow matching for generative modeling", 2023; Liu et al., "Flow straight and
fast: rectified flow", 2023. The path from noise e ~ N(0, I) at t = 0 to data d at t = 1 is the
straight line x_t = (1 - t) e + t d, whose velocity is d - e; the mean velocity at a place,
v(x, t) = E[d - e | x_t = x], carries the one distribution into the other. With
s = t^2 + (1 - t)^2 and data of unit variance,

    v(x, t) = ((2t - 1) x / sqrt(s) + F(x / sqrt(s), t)) / sqrt(s),

the preconditioning of Karras et al., "Elucidating the design space", 2022, on this path: the
skip is the best linear guess, and the network F has input and target of unit variance at every t.
F's target is ((1 - t) d - t e) / sqrt(s) (the "v" of Salimans and Ho, 2022), and the loss
|F - target|^2 / dimensions is the squared error of the velocity weighted by s.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector, drop, take
from likewise.core.config import Optimizer, setting
from likewise.core.contract import SIZES, Claims, Controls, Family, Loss, Size, Source, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous, Space
from likewise.nn.condition import Embed, grid_channels, grids
from likewise.nn.layers import MLP, folded, patch_for
from likewise.nn.pyramid import FINEST
from likewise.nn.solvers import (
    STEPPERS,
    Velocity,
    euler_maruyama,
    integrate,
    integrate_density,
    kutta_step,
    time_grid,
)
from likewise.nn.unet import UNet

EXACT_DIVERGENCE = 8  # dimensions up to which the divergence is computed, not estimated
CHUNK = 2**16  # numbers that one pass of the density holds, to bound memory
TIMES = 32  # frequencies in the features of time
REDO = 3  # how often completion takes each step


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of Diffusion."""

    width: int = setting(64, "channels or hidden numbers, at the first level", low=4, high=1024)
    patch: int = setting(1, "side of the squares of pixels that become channels", low=1, high=16)
    stages: int = setting(2, "resolutions of the U-Net, halved each time", low=1, high=6)
    depth: int = setting(1, "residual blocks at each level", low=1, high=16)
    attention: bool = setting(False, "attention at the lowest resolution", choices=(False, True))
    dropout: float = setting(0.0, "share of activations dropped", low=0.0, high=0.9)
    times: str = setting(
        "logit-normal", "how t is drawn in training", choices=("uniform", "logit-normal")
    )
    time_mean: float = setting(0.0, "of logit t; above 0 is nearer to the data", low=-3, high=3)
    time_std: float = setting(1.0, "of logit t", low=0.1, high=3.0)
    label_dropout: float = setting(0.25, "share of rows without conditions", low=0.0, high=0.9)
    solver: str = setting("heun", "of the ordinary equation", choices=tuple(STEPPERS))
    steps: int = setting(10, "of the sampler", low=1, high=1000)
    shift: float = setting(2.0, "how much closer steps are near the data", low=0.1, high=20.0)
    density_steps: int = setting(8, "of order 4, of the density and codes", low=1, high=1000)
    batch: int = setting(64, "examples a step", low=1, high=4096, scale="log")
    ema: float = setting(0.995, "decay of the parameter average", low=0.0, high=0.99999)
    optimizer: Optimizer = setting(Optimizer(learning_rate=2e-3), "of the network")


Settings: TypeAlias = Config  # inside the class, `Config` is its attribute


def path(noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
    """x_t, on the straight line from noise (t = 0) to data (t = 1); t broadcasts."""
    return (1 - t) * noise + t * data


def target(noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
    """What the network F should say at x_t: ((1 - t) data - t noise) / sqrt(s)."""
    return ((1 - t) * data - t * noise) / spread(t)


def spread(t: Tensor) -> Tensor:
    """sqrt(s), the standard deviation of x_t for data of unit variance."""
    return (t.square() + (1 - t).square()).sqrt()


def _drift(velocity: Velocity) -> Velocity:
    """v + (1 - t) score, the drift that keeps the ODE's distributions under `_diffusion`.

    The noise in x is E[e | x_t = x] = x - t v, so the score is -(x - t v) / (1 - t); an equation
    dx = (v + g^2/2 score) dt + g dW has the same distribution at every t (Fokker and Planck).
    With g^2 = 2 (1 - t) nothing is singular.
    """

    def drift(x: Tensor, t: float) -> Tensor:
        v = velocity(x, t)
        return v + t * v - x

    return drift


def _diffusion(t: float) -> float:
    """g(t) = sqrt(2 (1 - t))."""
    return math.sqrt(2 * (1 - t))


def _back(x: Tensor, later: float, t: float, noise: Tensor) -> Tensor:
    """From x at `later` to a place on the same path at the earlier t."""
    share = t / later
    return share * x + math.sqrt((1 - t) ** 2 - (share * (1 - later)) ** 2) * noise


class Network(nn.Module):
    """F: a U-Net for pictures (c, h, w), a multilayer perceptron for all other shapes."""

    def __init__(self, config: Config, shape: tuple[int, ...], conditions: Conditions) -> None:
        super().__init__()
        self.shape, self.conditions = shape, conditions
        steering = 4 * TIMES
        self.clock = nn.Linear(2 * TIMES, steering)
        self.embed = Embed(conditions, steering)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(steering, steering), nn.SiLU())
        self.trunk: nn.Module
        self.patch = config.patch if len(shape) == 3 else 1
        if len(shape) == 3:
            area = self.patch**2
            self.trunk = UNet(
                area * (shape[0] + grid_channels(conditions)),
                area * shape[0],
                size=folded((shape[1], shape[2]), self.patch),
                widths=tuple(config.width * min(2**level, 4) for level in range(config.stages)),
                depth=config.depth,
                steering=steering,
                attention=config.attention,
                dropout=config.dropout,
            )
        else:
            d = math.prod(shape)
            self.trunk = MLP(
                d, d, width=config.width, depth=config.depth, steering=steering, zero=True
            )

    def forward(self, x: Tensor, t: Tensor, c: Batch | None) -> Tensor:
        """x (n, *shape), t (n,) -> (n, *shape), in float32."""
        n = len(x)
        e = self.mix(self.clock(time_features(t)) + self.embed(c, n, x.device))
        if len(self.shape) == 3:
            maps = grids(c, self.conditions, self.shape[1:], n, x.device)
            x = x if maps is None else torch.cat([x, maps], dim=1)
            x = F.pixel_unshuffle(x, self.patch)  # (n, c, h, w) -> (n, c p p, h / p, w / p)
            return F.pixel_shuffle(self.trunk(x, e).float(), self.patch)
        return self.trunk(x.flatten(1), e).reshape(x.shape).float()


def time_features(t: Tensor) -> Tensor:
    """(n,) times in [0, 1] -> (n, 2 TIMES): cosines and sines of half to 32 turns."""
    turns = 2.0 ** torch.linspace(-1, 5, TIMES, device=t.device)
    angle = 2 * math.pi * t[:, None] * turns
    return torch.cat([angle.cos(), angle.sin()], dim=1)


@final
class Diffusion(Family[Config]):
    """Flow matching with a deterministic and a stochastic sampler, a density and codes.

    Data are shifted and scaled to unit variance (one number per channel of a picture, per entry
    of a vector), and where the Space has a step they are spread evenly over their cells.

    Example:
        >>> family = Diffusion(Config(width=16), Continuous(shape=(2,)))
        >>> family.sample(3, rng=Draws(0)).shape
        torch.Size([3, 2])
    """

    Config: ClassVar[type[Config]] = Config
    claims = Claims(
        density={Continuous: "bound"},
        conditions=(Labels, Tokens, Grid, Vector),
        latent=True,
        completion=True,
        per_example=True,
        controls=frozenset({"temperature", "guidance", "steps", "stochastic"}),
    )
    mean: Tensor
    scale: Tensor

    def __init__(self, config: Settings, space: Continuous, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        self.space: Continuous = space
        self.network = Network(config, space.shape, conditions)
        statistic = (space.shape[0], 1, 1) if len(space.shape) == 3 else space.shape
        self.register_buffer("mean", torch.zeros(statistic))
        self.register_buffer("scale", torch.ones(statistic))

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """Sized for this Space: channels and resolutions by its height and width."""
        if len(space.shape) != 3:
            width, depth = {"xs": (128, 2), "s": (256, 3), "m": (384, 4), "l": (512, 6)}[size]
            return Config(width=width, depth=depth, batch=128)
        patch = patch_for(space.shape, FINEST[SIZES.index(size)])
        side = max(space.shape[1:]) // patch
        stages = 1 + sum(side > limit for limit in (4, 16, 32, 64, 128))
        width, depth, ema, rate = {
            "xs": (32, 1, 0.995, 4e-3),
            "s": (32, 1, 0.999, 2e-3),
            "m": (64, 2, 0.9995, 1e-3),
            "l": (128, 2, 0.9999, 5e-4),
        }[size]
        return Config(
            width=width,
            depth=depth,
            patch=patch,
            stages=stages,
            attention=side > 8,
            ema=ema,
            optimizer=Optimizer(learning_rate=rate),
        )

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """Measure mean and scale on up to 4096 examples; a constant entry keeps scale 1."""
        count = min(len(source), 4096)
        whole = count == len(source)
        index = torch.arange(count) if whole else rng.integers(len(source), count).cpu()
        x = source.batch(index, rng)[0].to(self.device, torch.float64)
        over = (0, 2, 3) if len(self.space.shape) == 3 else (0,)
        variance, mean = torch.var_mean(x, over, correction=0, keepdim=True)
        variance = variance + (self.space.step or 0.0) ** 2 / 12  # of the spread in a cell
        scale = variance.sqrt()
        self.mean.copy_(mean[0])
        self.scale.copy_(torch.where(scale > 1e-6, scale, 1.0)[0])

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """(n,) weighted squared error of the velocity, in the units of F's target."""
        n, rng = len(x), step.rng
        c = drop(c, self.config.label_dropout, rng)
        t = self._times(n, rng)
        data = self._scaled(self._spread(x, rng))
        noise = rng.normal(*x.shape)
        at = t.view(-1, *[1] * len(self.space.shape))  # (n,) -> (n, 1, ...)
        guess = self.network(path(noise, data, at) / spread(at), t, c)
        error = (guess - target(noise, data, at)).square()
        yield Loss("model", error.flatten(1).mean(dim=1))

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, *shape) of the Space.

        The ordinary equation dx = v dt by default; if `controls.stochastic`, an equation with
        the same distribution at every t, by Euler and Maruyama's steps (see `_drift`).
        """
        config, shape = self.config, self.space.shape
        grid = time_grid(controls.steps or config.steps, config.shift)
        velocity = self._velocity(c, controls.guidance)

        def noise() -> Tensor:
            return controls.temperature * rng.normal(n, *shape)

        start = noise()
        if controls.stochastic:
            end = euler_maruyama(_drift(velocity), _diffusion, start, grid, noise)
        else:
            end = integrate(velocity, start, grid, STEPPERS[config.solver])
        return self.space.quantise(end * self.scale + self.mean)

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) log density of the ordinary equation's flow, or log mass of x's cell, in nats.

        log p(x) = log N(z; 0, I) - integral of div v, from t = 0 to 1 along the way from x to
        its code z. Up to EXACT_DIVERGENCE dimensions the divergence is exact, and where the Space
        has a step the places u in the cell are averaged by log-mean-exp over `draws`: a lower
        bound in expectation (Jensen). In more dimensions Hutchinson's estimate is unbiased for
        log p itself, so draws are averaged as logarithms: log-mean-exp would turn the noise of
        the estimate into likelihood. In both cases up to the solver's error at
        `config.density_steps` steps, which is of fourth order.
        """
        rng = rng or Draws(0, device=self.device)
        exact = self.space.dimensions <= EXACT_DIVERGENCE
        if self.space.step is None and exact:
            draws = 1  # nothing is random
        each = torch.stack([self._log_density(self._spread(x, rng), c, rng) for _ in range(draws)])
        value = each.logsumexp(dim=0) - math.log(draws) if exact else each.mean(dim=0)
        return value + self.space.dimensions * math.log(self.space.step or 1.0)

    @torch.no_grad()
    def encode(self, x: Tensor, c: Batch | None = None) -> Tensor:
        """(n, *shape) codes: x carried backwards to t = 0, where the data are standard normal.

        Where the Space has a step, x stands at the middle of its cell, so that the codes are the
        same each time; in places that hardly vary they are then smaller than normal ones.
        """
        return integrate(
            self._velocity(c), self._scaled(x), self._density_grid()[::-1], kutta_step
        )

    @torch.no_grad()
    def decode(self, z: Tensor, c: Batch | None = None) -> Tensor:
        """(n, *shape) of the Space: codes carried forwards to t = 1."""
        end = integrate(self._velocity(c), z, self._density_grid(), kutta_step)
        return self.space.quantise(end * self.scale + self.mean)

    @property
    def code_space(self) -> Continuous:
        """Standard normal numbers, as many as the data have."""
        return Continuous(shape=self.space.shape)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, c: Batch | None = None, *, rng: Draws) -> Tensor:
        """x with its unknown places drawn given the known ones, approximately.

        Known places are set on their path at every time, and each step is redone from fresh
        noise so that both parts agree (Lugmayr et al., "RePaint", 2022).
        """
        velocity = self._velocity(c)
        data = self._scaled(torch.where(known, x, torch.zeros_like(x)))
        grid = time_grid(2 * self.config.steps, self.config.shift)

        def noise() -> Tensor:
            return rng.normal(*x.shape)

        state = noise()
        for t, later in pairwise(grid):
            for again in range(REDO):
                if again:
                    state = _back(state, later, t, noise())
                state = torch.where(known, (1 - t) * noise() + t * data, state)
                state = euler_maruyama(_drift(velocity), _diffusion, state, (t, later), noise)
        return torch.where(known, x, self.space.quantise(state * self.scale + self.mean))

    def _times(self, n: int, rng: Draws) -> Tensor:
        """(n,) times in (0, 1), by the Config's density."""
        if self.config.times == "uniform":
            return rng.uniform(n)
        return torch.sigmoid(self.config.time_mean + self.config.time_std * rng.normal(n))

    def _spread(self, x: Tensor, rng: Draws) -> Tensor:
        """x anywhere in its cell, evenly, where the Space has a step."""
        if self.space.step is None:
            return x
        return x + self.space.step * (rng.uniform(*x.shape) - 0.5)

    def _scaled(self, x: Tensor) -> Tensor:
        """x in the units of the network."""
        return (x - self.mean) / self.scale

    def _density_grid(self) -> list[float]:
        return time_grid(self.config.density_steps, self.config.shift)

    def _velocity(self, c: Batch | None, guidance: float = 1.0) -> Velocity:
        """v(x, t) under c; guidance w gives v(none) + w (v(c) - v(none)) (Ho and Salimans)."""

        def learned(x: Tensor, t: float, c: Batch | None) -> Tensor:
            times = torch.full((len(x),), t, device=x.device)
            s = math.sqrt(t * t + (1 - t) * (1 - t))
            return ((2 * t - 1) / s * x + self.network(x / s, times, c)) / s

        def guided(x: Tensor, t: float) -> Tensor:
            free = learned(x, t, None)
            return free + guidance * (learned(x, t, c) - free)

        if guidance == 1.0 or not c:
            return lambda x, t: learned(x, t, c)
        return guided

    def _log_density(self, x: Tensor, c: Batch | None, rng: Draws) -> Tensor:
        """(n,) log density at x, in chunks of rows."""
        d = self.space.dimensions
        rows = max(1, CHUNK // d)
        exact = d <= EXACT_DIVERGENCE
        parts = []
        for first in range(0, max(1, len(x)), rows):
            some = slice(first, first + rows)
            data, own = self._scaled(x[some]), rng.shifted(first)
            velocity = self._velocity(take(c, some) if c else None)
            probe = None if exact else lambda own=own, data=data: own.signs(*data.shape)
            grid = self._density_grid()[::-1]
            z, change = integrate_density(velocity, data, grid, kutta_step, probe)
            normal = -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(dim=1)
            parts.append(normal + change)
            later = own.draw
        rng.draw = later  # every chunk asked equally often
        jacobian = self.scale.log().expand(self.space.shape).sum()
        return torch.cat(parts) - jacobian
