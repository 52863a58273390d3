"""VAE: a decoder from a few latent numbers to an example, learned with an encoder back.

Kingma and Welling, "Auto-encoding variational Bayes", 2014; with conditions as in Sohn, Lee and
Yan, "Learning structured output representation using deep conditional generative models", 2015:

    log p(x | c) >= E_{z ~ q(z | x, c)} [ log p(x | z, c) + log p(z | c) - log q(z | x, c) ]

What makes its samples crisp and varied:

* the noise of p(x | z, c) is learned (Rybkin, Daniilidis and Levine, "Simple and effective VAE
  training with calibrated decoders", 2021), so that the codes come to carry all that they can;
* so is the prior p(z | c): a mixture of Gaussians, since the best prior is the mixture of all
  posteriors (Tomczak and Welling, "VAE with a VampPrior", 2018). Under a standard normal, crisp
  codes would leave holes, and samples would come out of the holes.

A sample is a draw of p(x | c) itself, its noise included: the very distribution that `log_prob`
speaks of. With `sample_mean` it is the mean of p(x | z, c) instead: noise that is independent
from pixel to pixel shows in large pictures, and none does in those.

`log_prob` is the importance-weighted bound (Burda, Grosse and Salakhutdinov, "Importance weighted
autoencoders", 2016): it rises with the number of draws, in expectation, towards the exact value.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import (
    Batch,
    Conditions,
    Grid,
    Labels,
    Tokens,
    Vector,
    complete_batch,
    drop,
)
from likewise.core.config import Optimizer, setting
from likewise.core.contract import SIZES, Claims, Controls, Family, Loss, Size, Source, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous, Space
from likewise.nn.condition import Embed
from likewise.nn.heads import gaussian_log_density, logistic_log_mass
from likewise.nn.layers import MLP, patch_for
from likewise.nn.pyramid import FINEST, Decoder, Encoder, Units, latent_draws

DROPPED = 0.1
FLOOR = -7.0
NOISY = 256  # numbers, above which a picture is shown without the decoder's noise


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a VAE."""

    latent: int = setting(16, "numbers in a code", low=1, high=4096, scale="log")
    trunk: str = setting(
        "auto",
        "network: a pyramid for pictures and an MLP for all else, or one kind for all",
        choices=("auto", "mlp", "linear"),
    )
    width: int = setting(
        16, "channels at the first stage, or of an MLP", low=1, high=4096, scale="log"
    )
    depth: int = setting(1, "residual blocks a stage, or of an MLP", low=0, high=32)
    patch: int = setting(1, "side of the squares of pixels that become channels", low=1, high=16)
    steering: int = setting(32, "numbers a condition becomes", low=1, high=4096, scale="log")
    prior: str = setting("mixture", "distribution of codes", choices=("normal", "mixture"))
    components: int = setting(16, "Gaussians in a mixture prior", low=1, high=4096, scale="log")
    scale: str = setting(
        "decoder",
        "the noise: one scale for all numbers, one for each, or what the decoder says",
        choices=("shared", "each", "decoder"),
    )
    sample_mean: bool = setting(False, "sample the decoder's mean, without its noise")
    warmup: float = setting(0.2, "share of the plan over which the KL comes in", low=0.0, high=1.0)
    batch: int = setting(64, "examples a step", low=1, high=65536, scale="log")
    ema: float = setting(0.995, "decay of the parameter average", low=0.0, high=0.99999)
    optimizer: Optimizer = setting(Optimizer(learning_rate=1e-3), "how it is stepped")


Settings: TypeAlias = Config  # inside the class, `Config` is its attribute


@final
class VAE(Family[Config]):
    """A variational autoencoder over continuous examples of any shape.

    A picture (channels, height, width) goes through convolutional pyramids, all else through
    MLPs. Where the Space has a `step`, p(x | z, c) is a discretised logistic and the bound is on
    a log mass; elsewhere it is a Gaussian and the bound is on a log density. With a "linear"
    trunk, a "normal" prior and a "shared" scale it is probabilistic PCA.

    Example:
        >>> model = VAE(Config(latent=2, width=8), Continuous(shape=(1, 8, 8), low=-1, high=1))
        >>> model.sample(3, rng=Draws(0)).shape, model.encode(torch.zeros(3, 1, 8, 8)).shape
        (torch.Size([3, 1, 8, 8]), torch.Size([3, 2]))
    """

    claims = Claims(
        density={Continuous: "bound"},
        conditions=(Labels, Tokens, Vector, Grid),
        latent=True,
        per_example=True,
        controls=frozenset({"temperature", "truncation"}),
    )
    Config = Config
    space: Continuous

    def __init__(self, config: Settings, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        steering = config.steering if conditions else 0
        self.units = Units(self.space)
        self.embed = Embed(conditions, config.steering)
        self.encoder, self.decoder = _trunks(config, self.space, steering)
        self.log_scale: nn.Parameter | None = None
        if config.scale != "decoder":
            places = self.space.shape if config.scale == "each" else ()
            self.log_scale = nn.Parameter(torch.zeros(places))
        self.prior: Normal | Mixture = Normal(config.latent)
        if config.prior == "mixture":
            self.prior = Mixture(config.latent, config.components, steering)

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """Wider and deeper by size; a code never has more numbers than an example."""
        level = SIZES.index(size)
        picture = len(space.shape) == 3
        return Config(
            latent=min((16, 32, 64, 128)[level], space.dimensions),
            width=((16, 24, 48, 96) if picture else (128, 256, 384, 512))[level],
            depth=(1, 1, 2, 3)[level] if picture else 2,
            patch=patch_for(space.shape, FINEST[level]) if picture else 1,
            steering=(32, 64, 128, 256)[level],
            components=(16, 32, 64, 128)[level],
            sample_mean=picture and space.dimensions > NOISY,
            ema=(0.995, 0.998, 0.999, 0.9995)[level],
            optimizer=Optimizer(learning_rate=(3e-3, 1e-3, 1e-3, 5e-4)[level]),
        )

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """The data's own centre and spread, where the Space states no range."""
        self.units.prepare(source, rng)

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """The negative bound, in nats a dimension; the KL's weight rises from 0 to 1."""
        known = complete_batch(c, self.conditions, len(x), x.device)
        e = self._steering(drop(known, DROPPED, step.rng), len(x))
        mean, log_scale = self._posterior(x, e)
        z = mean + log_scale.exp() * step.rng.normal(*mean.shape)
        likelihood = self._log_likelihood(x, z, e)
        kl = gaussian_log_density(z, mean, log_scale).sum(1) - self.prior.log_prob(z, e)
        warmup = self.config.warmup
        weight = min(1.0, step.progress / warmup) if warmup else 1.0
        notes = {"kl": kl.detach().mean(), "likelihood": likelihood.detach().mean()}
        yield Loss("model", (weight * kl - likelihood) / self.space.dimensions, notes)

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """A code from the prior, then a draw from the decoder (or its mean: `sample_mean`).

        Temperature scales all noise, truncation that of the code.
        """
        e = self._steering(c, n)
        z = self.prior.sample(n, e, rng=rng, controls=controls)
        x, log_scale = self._decoded(z, e)
        if not self.config.sample_mean:
            stepped = self.space.step is not None
            noise = rng.uniform(*x.shape).logit() if stepped else rng.normal(*x.shape)
            x = x + controls.temperature * log_scale.exp() * noise
        return self.space.quantise(x)

    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) importance-weighted lower bound in nats; `draws` is the number of weights."""
        rng = rng or Draws(0, device=x.device)
        e = self._steering(c, len(x))
        mean, log_scale = self._posterior(x, e)
        log_weights = []
        for _ in range(draws):
            z = mean + log_scale.exp() * rng.normal(*mean.shape)
            log_q = gaussian_log_density(z, mean, log_scale).sum(1)
            log_weights.append(self._log_likelihood(x, z, e) + self.prior.log_prob(z, e) - log_q)
        return torch.stack(log_weights).logsumexp(0) - math.log(draws)  # (draws, n) -> (n,)

    def encode(self, x: Tensor, c: Batch | None = None) -> Tensor:
        """(n, latent): the mean of q(z | x, c)."""
        return self._posterior(x, self._steering(c, len(x)))[0]

    def decode(self, z: Tensor, c: Batch | None = None) -> Tensor:
        """The mean of p(x | z, c), at the nearest value of the Space."""
        return self.space.quantise(self._decoded(z, self._steering(c, len(z)))[0])

    @property
    def code_space(self) -> Space:
        """(latent,) numbers without a range."""
        return Continuous(shape=(self.config.latent,))

    def _steering(self, c: Batch | None, n: int) -> Tensor:
        """(n, steering), an absent condition being a value of its own."""
        return self.embed(c, n, self.device)

    def _posterior(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of q(z | x, c), (n, latent) each."""
        mean, log_scale = self.encoder(self.units.inward(x), e).float().chunk(2, dim=1)
        return mean, _above(log_scale)

    def _decoded(self, z: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (n, *shape) and log scale of p(x | z, c), in x's own units."""
        out = self.decoder(z, e).float()
        if self.log_scale is None:
            out, log_scale = out.chunk(2, dim=1)
            log_scale = log_scale.reshape(-1, *self.space.shape)
        else:
            log_scale = self.log_scale
        mean = self.units.outward(out.reshape(-1, *self.space.shape))
        return mean, _above(log_scale - 1.0) + self.units.spread.log()

    def _log_likelihood(self, x: Tensor, z: Tensor, e: Tensor) -> Tensor:
        """log p(x | z, c), (n,)."""
        mean, log_scale = self._decoded(z, e)
        space = self.space
        if space.step is None:
            return gaussian_log_density(x, mean, log_scale).flatten(1).sum(1)
        low = -math.inf if space.low is None else space.low
        high = math.inf if space.high is None else space.high
        mass = logistic_log_mass(x, mean, log_scale, low=low, high=high, step=space.step)
        return mass.flatten(1).sum(1)  # (n, *shape) -> (n,)


class Normal(nn.Module):
    """A standard normal prior, whatever the condition."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent

    def log_prob(self, z: Tensor, e: Tensor) -> Tensor:
        """z (n, latent) -> (n,) in nats."""
        zero = z.new_zeros(())
        return gaussian_log_density(z, zero, zero).sum(1)

    def sample(self, n: int, e: Tensor, *, rng: Draws, controls: Controls) -> Tensor:
        """(n, latent)."""
        return latent_draws(n, self.latent, rng, controls)


class Mixture(nn.Module):
    """A mixture of Gaussians whose weights, means and scales move with the condition."""

    def __init__(self, latent: int, components: int, steering: int) -> None:
        super().__init__()
        self.latent, self.components = latent, components
        self.base = nn.Parameter(0.5 * torch.randn(components * (2 * latent + 1)))
        self.steer = nn.Linear(steering, len(self.base), bias=False) if steering else None

    def log_prob(self, z: Tensor, e: Tensor) -> Tensor:
        """z (n, latent), e (n, steering) -> (n,) in nats."""
        logits, means, log_scales = self._components(e)
        each = gaussian_log_density(z[:, None], means, log_scales).sum(2)  # (n, components)
        return (logits.log_softmax(1) + each).logsumexp(1)

    def sample(self, n: int, e: Tensor, *, rng: Draws, controls: Controls) -> Tensor:
        """(n, latent); the draw of the component is left as it is by the controls."""
        logits, means, log_scales = self._components(e)
        chosen = rng.categorical(logits)[:, None, None].expand(n, 1, self.latent)
        mean = means.gather(1, chosen)[:, 0]  # (n, components, latent) -> (n, latent)
        scale = log_scales.gather(1, chosen)[:, 0].exp()
        return mean + scale * latent_draws(n, self.latent, rng, controls)

    def _components(self, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (n, components), means and log scales (n, components, latent)."""
        all_of_it = self.base.expand(len(e), -1)
        if self.steer is not None:
            all_of_it = all_of_it + self.steer(e).float()
        each = all_of_it.unflatten(1, (self.components, 2 * self.latent + 1))
        logits, means, log_scales = each.split((1, self.latent, self.latent), dim=2)
        return logits[:, :, 0], means, _above(log_scales)


class Flat(nn.Module):
    """An MLP over flattened examples, or one linear layer that conditions do not steer."""

    def __init__(self, inputs: int, outputs: int, config: Config, steering: int) -> None:
        super().__init__()
        self.linear = config.trunk == "linear"
        self.net = (
            nn.Linear(inputs, outputs)
            if self.linear
            else MLP(inputs, outputs, width=config.width, depth=config.depth, steering=steering)
        )

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (n, ...), e (n, steering) -> (n, outputs)."""
        flat = x.flatten(1)  # (n, ...) -> (n, inputs)
        return self.net(flat) if self.linear else self.net(flat, e)


def _trunks(config: Config, space: Continuous, steering: int) -> tuple[nn.Module, nn.Module]:
    """Encoder to (n, 2 * latent), and decoder from (n, latent) to means (and log scales)."""
    wide = 2 if config.scale == "decoder" else 1
    latent = config.latent
    if config.trunk != "auto" or len(space.shape) != 3:
        d = space.dimensions
        encoder = Flat(d, 2 * latent, config, steering)
        return encoder, Flat(latent, wide * d, config, steering)
    channels, height, width = space.shape
    same: dict[str, Any] = {
        "size": (height, width),
        "width": config.width,
        "depth": config.depth,
        "patch": config.patch,
        "steering": steering,
    }
    return Encoder(channels, 2 * latent, **same), Decoder(latent, wide * channels, **same)


def _above(log_scale: Tensor) -> Tensor:
    """Softly kept above `FLOOR`, so that no density runs away on data without noise."""
    return FLOOR + F.softplus(log_scale - FLOOR)
