"""VAE: a decoder from a few latent numbers to an example, learned with an encoder back.

Kingma and Welling, "Auto-encoding variational Bayes", 2014; conditional as in Sohn, Lee and Yan,
"Learning structured output representation using deep conditional generative models", 2015:

    log p(x | c) >= E_{z ~ q(z | x, c)} [ log p(x | z, c) + log p(z | c) - log q(z | x, c) ]

What makes samples crisp and varied:

* the scale of the noise in p(x | z) is learned (Rybkin, Daniilidis and Levine, "Simple and
  effective VAE training with calibrated decoders", 2021), so the latents carry all that they can;
* the prior p(z | c) is learned, a mixture of Gaussians (Tomczak and Welling, "VAE with a
  VampPrior", 2018, say why: the best prior is the mean of all posteriors) or a flow of affine
  couplings (Chen et al., "Variational lossy autoencoder", 2017), so it meets the posteriors;
* a sample is the mean of p(x | z, c), not a draw: the noise of a draw is independent from pixel
  to pixel, as no picture's is. `sample_mean=False` draws from the very p(x) that `log_prob`
  bounds.

`log_prob` is the importance-weighted bound of Burda, Grosse and Salakhutdinov, 2016: it rises in
expectation with the number of draws, towards the exact value.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector, drop
from likewise.core.condition import complete_batch as complete_conditions
from likewise.core.config import Optimizer, setting
from likewise.core.contract import Claims, Controls, Family, Loss, Size, Source, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous, Space
from likewise.nn.condition import Embed
from likewise.nn.heads import gaussian_log_density, logistic_log_mass
from likewise.nn.layers import MLP
from likewise.nn.pyramid import Decoder, Encoder, latent_draws

DROPPED = 0.1
FLOOR = -7.0
SEEN = 4096


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a VAE."""

    latent: int = setting(16, "numbers in a code", low=1, high=4096, scale="log")
    trunk: str = setting(
        "auto",
        "network: a pyramid for pictures and an MLP for vectors, or always mlp, or linear",
        choices=("auto", "mlp", "linear"),
    )
    width: int = setting(32, "channels at full size, or of an MLP", low=1, high=4096, scale="log")
    depth: int = setting(1, "residual blocks a stage, or of an MLP", low=0, high=32)
    steering: int = setting(32, "numbers that a condition becomes", low=1, high=4096, scale="log")
    prior: str = setting(
        "mixture", "distribution of codes", choices=("normal", "mixture", "flow")
    )
    components: int = setting(16, "of a mixture prior", low=1, high=4096, scale="log")
    couplings: int = setting(4, "of a flow prior", low=1, high=64)
    scale: str = setting(
        "place",
        "learned noise of the decoder: one for all, one a place, or the decoder's own choice",
        choices=("shared", "place", "decoder"),
    )
    sample_mean: bool = setting(True, "sample the decoder's mean instead of drawing its noise")
    warmup: float = setting(0.2, "share of the plan over which the KL comes in", low=0.0, high=1.0)
    batch: int = setting(64, "examples a step", low=1, high=65536, scale="log")
    ema: float = setting(0.995, "decay of the parameter average", low=0.0, high=0.99999)
    optimizer: Optimizer = setting(Optimizer(learning_rate=2e-3), "how it is stepped")


@final
class VAE(Family[Config]):
    """A variational autoencoder over continuous examples of any shape.

    A picture (channels, height, width) goes through convolutional pyramids, all else through
    MLPs. Examples with a `step` have a discretised logistic per number and a log mass, others a
    Gaussian and a log density. Codes are (n, latent).
    """

    claims = Claims(
        density={Continuous: "bound"},
        conditions=(Labels, Tokens, Vector, Grid),
        latent=True,
        per_example=True,
        controls=frozenset({"temperature", "truncation"}),
    )
    Config: ClassVar[type[Config]] = Config
    space: Continuous
    centre: Tensor
    spread: Tensor

    def __init__(self, config: Config, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        self.embed = Embed(conditions, config.steering)
        e = config.steering if conditions else 0
        self.encoder, self.decoder = _trunks(config, self.space, e)
        places = {"shared": (1,), "place": self.space.shape, "decoder": ()}[config.scale]
        self.log_scale = nn.Parameter(torch.full(places, -1.0)) if places else None
        self.prior = _prior(config, e)
        bounded = self.space.low is not None and self.space.high is not None
        self.bounded = bounded
        low, high = (self.space.low, self.space.high) if bounded else (-1.0, 1.0)
        self.register_buffer("centre", torch.full(self.space.shape, (low + high) / 2))
        self.register_buffer("spread", torch.full(self.space.shape, (high - low) / 2))

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Config:
        """Widths by size; codes by what there is to say: at most 16 ("xs") to 128 ("l")."""
        step = ("xs", "s", "m", "l").index(size)
        picture = len(space.shape) == 3
        latent = max(2, min((16, 32, 64, 128)[step], space.dimensions))
        return Config(
            latent=latent,
            width=((32, 32, 48, 96) if picture else (128, 256, 384, 512))[step],
            depth=(1, 1, 2, 3)[step] if picture else (2, 2, 3, 4)[step],
            steering=(32, 64, 128, 256)[step],
            batch=(64, 64, 128, 128)[step],
            ema=(0.995, 0.998, 0.999, 0.9995)[step],
            optimizer=Optimizer(learning_rate=(2e-3, 1e-3, 1e-3, 5e-4)[step]),
        )

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """Where the Space states no range, centre and spread come from the data."""
        if self.bounded:
            return
        index = rng.integers(len(source), SEEN).cpu()
        x, _ = source.batch(index, rng)
        axes = (0, 2, 3) if len(self.space.shape) == 3 else (0,)
        centre = x.mean(axes, keepdim=True)[0]
        spread = x.std(axes, keepdim=True)[0]
        self.centre.copy_(centre.expand_as(self.centre))
        self.spread.copy_(torch.where(spread > 0, spread, 1.0).expand_as(self.spread))

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """The bound in nats a dimension, the KL's weight rising from 0 to 1."""
        e = self._steer(drop(complete_conditions(c, self.conditions, len(x), x.device), DROPPED, step.rng), len(x))
        mean, log_scale = self._posterior(x, e)
        z = mean + log_scale.exp() * step.rng.normal(*mean.shape)
        told = self._log_likelihood(x, z, e)
        kl = gaussian_log_density(z, mean, log_scale).sum(1) - self.prior.log_prob(z, e)
        warmup = self.config.warmup
        weight = min(1.0, step.progress / warmup) if warmup else 1.0
        d = self.space.dimensions
        yield Loss("model", (weight * kl - told) / d, {"kl": kl.mean(), "likelihood": told.mean()})

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """A code from the prior, then the decoder's mean, or a draw from it."""
        e = self._steer(c, n)
        z = self.prior.draw(n, e, rng, controls)
        mean, log_scale = self._decoded(z, e)
        if not self.config.sample_mean:
            shape = (n, *self.space.shape)
            if self.space.step is None:
                noise = rng.normal(*shape)
            else:
                noise = torch.logit(rng.uniform(*shape))
            mean = mean + controls.temperature * log_scale.exp() * noise
        return self.space.quantise(mean)

    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) importance-weighted lower bound, in nats; `draws` is how many weights it averages."""
        rng = rng or Draws(0, device=x.device)
        e = self._steer(c, len(x))
        mean, log_scale = self._posterior(x, e)
        weights = []
        for _ in range(draws):
            z = mean + log_scale.exp() * rng.normal(*mean.shape)
            log_q = gaussian_log_density(z, mean, log_scale).sum(1)
            weights.append(self._log_likelihood(x, z, e) + self.prior.log_prob(z, e) - log_q)
        return torch.stack(weights).logsumexp(0) - math.log(draws)  # (draws, n) -> (n,)

    def encode(self, x: Tensor, c: Batch | None = None) -> Tensor:
        """(n, latent): the mean of q(z | x, c)."""
        return self._posterior(x, self._steer(c, len(x)))[0]

    @torch.no_grad()
    def decode(self, z: Tensor, c: Batch | None = None) -> Tensor:
        """The mean of p(x | z, c), at the nearest value of the Space."""
        return self.space.quantise(self._decoded(z, self._steer(c, len(z)))[0])

    @property
    def code_space(self) -> Space:
        """(latent,) unbounded numbers."""
        return Continuous(shape=(self.config.latent,))

    def _steer(self, c: Batch | None, n: int) -> Tensor:
        return self.embed(c, n, self.device)

    def _posterior(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of q(z | x, c), (n, latent) each."""
        mean, log_scale = self.encoder((x - self.centre) / self.spread, e).float().chunk(2, dim=1)
        return mean, _above(log_scale)

    def _decoded(self, z: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of p(x | z, c) in x's own units, broadcastable to (n, *shape)."""
        out = self.decoder(z, e).float()
        mean, log_scale = (out, self.log_scale) if self.log_scale is not None else out.chunk(2, 1)
        mean = self.centre + self.spread * mean.reshape(-1, *self.space.shape)
        if self.log_scale is None:
            log_scale = log_scale.reshape(mean.shape)
        return mean, _above(log_scale) + self.spread.log()

    def _log_likelihood(self, x: Tensor, z: Tensor, e: Tensor) -> Tensor:
        """log p(x | z, c), (n,)."""
        mean, log_scale = self._decoded(z, e)
        space = self.space
        if space.step is None:
            each = gaussian_log_density(x, mean, log_scale)
        else:
            low = -math.inf if space.low is None else space.low
            high = math.inf if space.high is None else space.high
            each = logistic_log_mass(x, mean, log_scale, low=low, high=high, step=space.step)
        return each.flatten(1).sum(1)  # (n, *shape) -> (n,)


class Prior(Protocol):
    """A distribution of codes, steered by e."""

    def log_prob(self, z: Tensor, e: Tensor) -> Tensor:
        """z (n, latent), e (n, steering) -> (n,) nats."""
        ...

    def draw(self, n: int, e: Tensor, rng: Draws, controls: Controls) -> Tensor:
        """(n, latent)."""
        ...


class Normal(nn.Module):
    """The standard normal of Kingma and Welling."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent

    def log_prob(self, z: Tensor, e: Tensor) -> Tensor:
        zero = torch.zeros((), device=z.device)
        return gaussian_log_density(z, zero, zero).sum(1)

    def draw(self, n: int, e: Tensor, rng: Draws, controls: Controls) -> Tensor:
        return latent_draws(n, self.latent, rng, controls)


class Mixture(nn.Module):
    """Gaussians with weights, means and scales of their own under each condition."""

    def __init__(self, latent: int, components: int, steering: int) -> None:
        super().__init__()
        self.latent, self.components = latent, components
        self.own = nn.Parameter(torch.randn(components * (2 * latent + 1)) * 0.5)
        self.steer = nn.Linear(steering, len(self.own), bias=False) if steering else None

    def _all(self, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (n, k), means (n, k, latent) and log scales (n, k, latent)."""
        own = self.own if self.steer is None else self.own + self.steer(e)
        own = own.reshape(-1, self.components, 2 * self.latent + 1)  # (n or 1, k, 2 * latent + 1)
        return own[:, :, 0], own[:, :, 1 : self.latent + 1], _above(own[:, :, self.latent + 1 :])

    def log_prob(self, z: Tensor, e: Tensor) -> Tensor:
        logits, means, log_scales = self._all(e)
        each = gaussian_log_density(z[:, None, :], means, log_scales).sum(2)
        return (logits.log_softmax(1) + each).logsumexp(1)

    def draw(self, n: int, e: Tensor, rng: Draws, controls: Controls) -> Tensor:
        logits, means, log_scales = (part.expand(n, *part.shape[1:]) for part in self._all(e))
        chosen = rng.categorical(logits)
        rows = torch.arange(n, device=z.device) if False else torch.arange(n, device=means.device)
        noise = latent_draws(n, self.latent, rng, controls)
        return means[rows, chosen] + log_scales[rows, chosen].exp() * noise


class Flow(nn.Module):
    """Affine couplings (Dinh, Sohl-Dickstein and Bengio, "Density estimation using real NVP", 2017)."""

    def __init__(self, latent: int, couplings: int, width: int, steering: int) -> None:
        super().__init__()
        self.latent = latent
        self.nets = nn.ModuleList(
            MLP(latent, 2 * latent, width=width, depth=1, steering=steering, zero=True)
            for _ in range(couplings)
        )
        turns = torch.arange(latent)[None] + torch.arange(couplings)[:, None]
        self.register_buffer("masks", (turns % 2).float())

    def log_prob(self, z: Tensor, e: Tensor) -> Tensor:
        total = 0.0
        for net, mask in zip(self.nets, self.masks, strict=True):
            shift, log_scale = net(z * mask, e).chunk(2, 1)
            log_scale = 2 * torch.tanh(log_scale / 2) * (1 - mask)
            z = (z - shift * (1 - mask)) * torch.exp(-log_scale)
            total = total - log_scale.sum(1)
        zero = torch.zeros((), device=z.device)
        return total + gaussian_log_density(z, zero, zero).sum(1)

    def draw(self, n: int, e: Tensor, rng: Draws, controls: Controls) -> Tensor:
        z = latent_draws(n, self.latent, rng, controls)
        for net, mask in zip(reversed(self.nets), self.masks.flip(0), strict=True):
            shift, log_scale = net(z * mask, e).chunk(2, 1)
            log_scale = 2 * torch.tanh(log_scale / 2) * (1 - mask)
            z = z * torch.exp(log_scale) + shift * (1 - mask)
        return z


class Linear(nn.Module):
    """One linear layer over flattened examples; with it the VAE is probabilistic PCA."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


class Flat(nn.Module):
    """An MLP over flattened examples."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, steering: int) -> None:
        super().__init__()
        self.net = MLP(inputs, outputs, width=width, depth=depth, steering=steering)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        return self.net(x.flatten(1), e)


def _trunks(config: Config, space: Continuous, steering: int) -> tuple[nn.Module, nn.Module]:
    """Encoder (n, *shape) -> (n, 2 * latent) and decoder (n, latent) -> (n, numbers)."""
    twice = 2 if config.scale == "decoder" else 1
    d, codes = space.dimensions, config.latent
    if config.trunk == "linear":
        return Linear(d, 2 * codes), Linear(codes, twice * d)
    if config.trunk == "mlp" or len(space.shape) != 3:
        sizes = (config.width, config.depth, steering)
        return Flat(d, 2 * codes, *sizes), Flat(codes, twice * d, *sizes)
    channels, height, width = space.shape
    shape = {"size": (height, width), "width": config.width, "depth": config.depth, "steering": steering}
    return Encoder(channels, 2 * codes, **shape), Decoder(codes, twice * channels, **shape)


def _prior(config: Config, steering: int):
    if config.prior == "mixture":
        return Mixture(config.latent, config.components, steering)
    if config.prior == "flow":
        return Flow(config.latent, config.couplings, 64, steering)
    return Normal(config.latent)


def _above(log_scale: Tensor) -> Tensor:
    """Softly kept above FLOOR, so that no density runs away."""
    return FLOOR + F.softplus(log_scale - FLOOR)
