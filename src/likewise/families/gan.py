"""GAN: a generator whose examples a critic cannot tell from the data.

Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A modern GAN
baseline" (R3GAN), 2024. What makes it settle, with nothing that mixes the rows of a batch:

* the loss is relativistic and paired (Jolicoeur-Martineau, "The relativistic discriminator",
  2019): the critic says how much more real the i-th real example looks than the i-th made one,
  so leaving out a part of the data is never a way to win;
* zero-centred gradient penalties on real and on made examples, R1 and R2 (Mescheder, Geiger and
  Nowozin, "Which training methods for GANs do actually converge?", 2018);
* convolutions without norms whose residual branches start silent, Adam without momentum, and
  averaged weights;
* differentiable augmentation of pictures (Zhao et al., 2020), for when data are few.

Conditions steer the critic by projection (Miyato and Koyama, "cGANs with projection
discriminator", 2018) and the generator as numbers beside its noise. The critic judges quantised
examples, the gradient passing straight through, so it cannot win by noticing that only real
ones stand on the grid of the Space. There is no density.
"""

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
from likewise.nn.augment import DRAWS, augment
from likewise.nn.condition import Embed
from likewise.nn.layers import MLP, patch_for
from likewise.nn.pyramid import FINEST, SEEN, Decoder, Encoder, Units, latent_draws

TINY = 12  # pixels a side, up to which a picture asks little of a network
DROPPED = 0.2  # more than is usual: few steps must teach all classes without a label too


def _adam(learning_rate: float) -> Optimizer:
    """Without momentum, and never quite at rest: the two parts must follow each other."""
    return Optimizer(
        learning_rate=learning_rate, beta1=0.0, beta2=0.99, warmup=0.02, floor=0.1, clip=0.0
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a GAN."""

    latent: int = setting(32, "random numbers the generator takes", low=1, high=4096, scale="log")
    width: int = setting(
        16, "channels at the first stage, or of an MLP", low=1, high=4096, scale="log"
    )
    depth: int = setting(1, "residual blocks a stage, or of an MLP", low=1, high=32)
    patch: int = setting(1, "side of the squares of pixels that become channels", low=1, high=16)
    features: int = setting(128, "numbers the critic judges by", low=1, high=65536, scale="log")
    steering: int = setting(32, "numbers a condition becomes", low=1, high=4096, scale="log")
    penalty: float = setting(0.5, "weight of the gradient penalties", low=0.0, high=1e4)
    every: int = setting(4, "steps between penalties, which weigh as much more", low=1, high=64)
    augment: float = setting(0.5, "share of pictures each augmentation changes", low=0.0, high=1.0)
    batch: int = setting(64, "examples a step", low=1, high=65536, scale="log")
    ema: float = setting(0.995, "decay of the parameter average", low=0.0, high=0.99999)
    generator: Optimizer = setting(_adam(1e-3), "how the generator is stepped")
    critic: Optimizer = setting(_adam(1e-3), "how the critic is stepped")


Settings: TypeAlias = Config  # inside the class, `Config` is its attribute


@final
class GAN(Family[Config]):
    """A generative adversarial network over continuous examples of any shape.

    A picture (channels, height, width) comes from a convolutional pyramid, all else from an MLP.
    `losses` yields the critic's loss and, once the critic has been stepped, the generator's.
    Notes: the mean logit of real and of made examples, the squared gradients that are penalised,
    and `pairwise_ratio`, the mean distance between made examples over that between real ones,
    which falls towards 0 when the generator collapses.
    """

    claims = Claims(
        density={Continuous: None},
        conditions=(Labels, Tokens, Vector, Grid),
        per_example=True,
        controls=frozenset({"temperature", "truncation"}),
    )
    Config = Config
    space: Continuous

    def __init__(self, config: Settings, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        self.units = Units(self.space)
        self.generator = Generator(config, self.space, conditions)
        self.critic = Critic(config, self.space, conditions)

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """Wider, deeper and slower by size; the shortest runs have no time to learn by heart."""
        level = SIZES.index(size)
        picture = len(space.shape) == 3
        tiny = not picture or max(space.shape[1:]) <= TINY
        rate = (3e-3 if tiny else 1e-3, 1e-3, 5e-4, 2e-4)[level]
        return Config(
            latent=(32, 64, 64, 128)[level],
            width=((16 if tiny else 32, 48, 64, 96) if picture else (128, 256, 384, 512))[level],
            depth=(1, 1, 1, 2)[level] if picture else 2,
            patch=patch_for(space.shape, FINEST[level]) if picture else 1,
            features=(128, 256, 256, 512)[level],
            steering=(32, 64, 64, 128)[level],
            augment=0.0 if size == "xs" else 0.5,
            ema=(0.99 if tiny else 0.998, 0.998, 0.999, 0.9995)[level],
            generator=_adam(rate),
            critic=_adam(rate),
        )

    def parts(self) -> dict[str, nn.Module]:
        """The critic, which steps first, and the generator."""
        return {"critic": self.critic, "generator": self.generator}

    def optimizers(self) -> dict[str, Optimizer]:
        """Each part has its own."""
        return {"critic": self.config.critic, "generator": self.config.generator}

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """The middle of the data; and its spread, where the Space states no range."""
        self.units.prepare(source, rng)
        x, _ = source.batch(rng.integers(len(source), SEEN).cpu(), rng)
        middle = self.units.inward(x.to(self.device)).mean(dim=0)
        bounded = self.generator.bounded
        self.generator.middle.copy_(middle.clamp(-0.95, 0.95).atanh() if bounded else middle)

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """The critic's loss, then the generator's under the critic as it has become."""
        known = complete_batch(c, self.conditions, len(x), x.device)
        known = drop(known, DROPPED, step.rng)
        real = self.units.inward(x)
        yield self._critic_loss(real, known, step)
        yield self._generator_loss(real, known, step)

    def _critic_loss(self, real: Tensor, c: Batch, step: Step) -> Loss:
        n = len(real)
        with torch.no_grad():
            made = self._made(c, n, step.rng)
        both = self._augmented(real, made, step.rng)
        due = self.config.penalty > 0 and step.index % self.config.every == 0
        logits = self.critic(both.requires_grad_(due), _twice(c))  # (2 * n,)
        value = F.softplus(logits[n:] - logits[:n])
        notes = {"real": logits[:n].detach().mean(), "fake": logits[n:].detach().mean()}
        if n > 1:
            notes["pairwise_ratio"] = _apart(made) / _apart(real).clamp(min=1e-6)
        if due:
            steep = _squared_gradient(logits, both)
            value = value + self.config.penalty / 2 * self.config.every * (steep[:n] + steep[n:])
            notes["penalty_real"] = steep[:n].detach().mean()
            notes["penalty_fake"] = steep[n:].detach().mean()
        return Loss("critic", value, notes)

    def _generator_loss(self, real: Tensor, c: Batch, step: Step) -> Loss:
        n = len(real)
        both = self._augmented(real, self._made(c, n, step.rng), step.rng)
        logits = self.critic(both, _twice(c))  # (2 * n,)
        return Loss("generator", F.softplus(logits[:n] - logits[n:]))

    def _made(self, c: Batch, n: int, rng: Draws) -> Tensor:
        """Made examples in the network's units, quantised with a straight-through gradient."""
        made = self.generator(rng.normal(n, self.config.latent), c)
        shown = self.space.quantise(self.units.outward(made.detach()))
        return made + (self.units.inward(shown) - made.detach())

    def _augmented(self, real: Tensor, made: Tensor, rng: Draws) -> Tensor:
        """Real rows, then made rows, each with augmentation draws of its own; (2 * n, ...)."""
        both = torch.cat([real, made])
        if self.config.augment == 0.0 or real.dim() != 4:
            return both
        draws = torch.cat([rng.uniform(len(real), DRAWS), rng.uniform(len(made), DRAWS)])
        return augment(both, draws, self.config.augment)

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """What the generator makes of normal noise, at the nearest value of the Space."""
        z = latent_draws(n, self.config.latent, rng, controls)
        made = self.generator(z, complete_batch(c, self.conditions, n, self.device))
        return self.space.quantise(self.units.outward(made))


class Generator(nn.Module):
    """Noise (n, latent) and conditions to examples (n, *shape) in the network's units.

    The net says how far an example is from the middle of the data: from anywhere else its first
    large steps would take all examples to one side.
    """

    middle: Tensor

    def __init__(self, config: Config, space: Continuous, conditions: Conditions) -> None:
        super().__init__()
        self.shape = space.shape
        self.bounded = space.low is not None and space.high is not None
        self.register_buffer("middle", torch.zeros(space.shape))
        self.embed = Embed(conditions, config.steering) if conditions else None
        inputs = config.latent + (config.steering if conditions else 0)
        self.net: nn.Module
        if len(space.shape) == 3:
            channels, *size = space.shape
            self.net = Decoder(
                inputs,
                channels,
                size=(size[0], size[1]),
                width=config.width,
                depth=config.depth,
                patch=config.patch,
                norm=False,
            )
        else:
            self.net = MLP(inputs, space.dimensions, width=config.width, depth=config.depth)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Weights of the first version have no middle: there it was 0."""
        state.setdefault(f"{prefix}middle", torch.zeros_like(self.middle))
        super()._load_from_state_dict(state, prefix, *rest)

    def forward(self, z: Tensor, c: Batch) -> Tensor:
        if self.embed is not None:
            z = torch.cat([z, self.embed(c, len(z), z.device)], dim=1)  # (n, latent + steering)
        made = self.middle + self.net(z).float().reshape(-1, *self.shape)
        return torch.tanh(made) if self.bounded else made


class Critic(nn.Module):
    """Examples (n, *shape) in the network's units and conditions to logits (n,): how real."""

    def __init__(self, config: Config, space: Continuous, conditions: Conditions) -> None:
        super().__init__()
        features = config.features
        self.embed = Embed(conditions, features) if conditions else None
        self.net: nn.Module
        if len(space.shape) == 3:
            channels, *size = space.shape
            self.net = Encoder(
                channels,
                features,
                size=(size[0], size[1]),
                width=config.width,
                depth=config.depth,
                patch=config.patch,
                norm=False,
            )
        else:
            self.net = nn.Sequential(
                nn.Flatten(),
                MLP(space.dimensions, features, width=config.width, depth=config.depth),
            )
        self.last = nn.Linear(features, 1)

    def forward(self, x: Tensor, c: Batch) -> Tensor:
        h = self.net(x)
        logits = self.last(h)[:, 0]
        if self.embed is not None:
            steering = self.embed(c, len(x), x.device)
            logits = logits + (steering * h).sum(dim=1) / h.shape[1] ** 0.5
        return logits.float()


def _twice(c: Batch) -> Batch:
    """The conditions of real rows followed by made rows: the same for both."""
    return {
        name: (torch.cat([values, values]), torch.cat([present, present]))
        for name, (values, present) in c.items()
    }


def _squared_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """(n,) squared norm of the gradient of each row's logit in that row's x."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1)


def _apart(x: Tensor) -> Tensor:
    """Mean distance of each row from the next."""
    return (x - x.roll(1, dims=0)).detach().flatten(1).norm(dim=1).mean()
