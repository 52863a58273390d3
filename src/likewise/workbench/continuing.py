"""Going on from a trained model: on new data, in all its weights or in small adapters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from likewise.core.contract import Family
from likewise.core.errors import DataError, UsageError, must
from likewise.core.rng import fold
from likewise.core.space import Sequence
from likewise.nn.adapters import adapt, layers, merge
from likewise.store.files import tensors_digest
from likewise.store.model import Model
from likewise.workbench.data import kind_of


@dataclass(frozen=True)
class Start:
    """What a training goes on from.

    Attributes:
        model: a single family; its codec reads the new data.
        rank: of the adapters that are trained in place of its weights (LoRA); None for none.
    """

    model: Model
    rank: int | None = None

    def __post_init__(self) -> None:
        if "+" in self.model.name:
            raise UsageError(must("what training goes on from", "one family", self.model.name))
        if self.model.family.claims.learning != "gradient":
            remedy = f"Train {self.model.name} on all the data at once."
            word = "a family that learns by gradients"
            raise UsageError(must("what training goes on from", word, self.model.name, remedy))
        if self.rank is not None and self.rank < 1:
            raise UsageError(must("lora", "a rank of at least 1", self.rank))
        if self.rank is not None and not layers(self.model.family):
            raise UsageError(
                f"{self.model.name} has no linear layers that adapters could stand beside. Leave "
                "lora out."
            )

    @cached_property
    def digest(self) -> str:
        """A hash of the weights that training goes on from."""
        return tensors_digest(self.model.family.state_dict())

    def options(self, data: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """Options of `load` under which data are read as those of the model were.

        Raises:
            UsageError: an option is given that the model's codec has settled.
            DataError: the data are of another kind.
        """
        domain = self.model.domain
        settled = [name for name in given if name in domain.settled]
        if settled:
            raise UsageError(
                f"{settled[0]} is settled by the model that training goes on from. Leave it out."
            )
        kind = kind_of(data)
        if kind.name != domain.name:
            remedy = "Train a model of its own on them."
            raise DataError(must("the data", f"{domain.name}, as before", kind.name, remedy))
        return {**domain.alike(), **given}

    def begin(self, family: Family[Any], *, seed: int) -> None:
        """Put the model's weights into a family of its Config, and adapters where wanted.

        Tokens that the model did not know are learned in full, also beside adapters.

        Raises:
            UsageError: the weights do not fit, or adapters of this rank.
        """
        old, begun = self.model.family.state_dict(), family.state_dict()
        weights, grown = widened(
            old, begun, *(_tokens(one) for one in (self.model.family, family))
        )
        for name, weight in begun.items():
            if name not in weights or weights[name].shape != weight.shape:
                got = tuple(weights[name].shape) if name in weights else "none"
                raise UsageError(
                    f"the weights of {self.model.name} do not fit the settings that were changed: "
                    f"{name} must be {tuple(weight.shape)}; got {got}. Change only how it is "
                    "trained, such as optimizer.learning_rate."
                )
        family.load_state_dict(weights)
        if self.rank is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(fold(seed, "adapters"))
                adapt(family, rank=self.rank, alpha=2.0 * self.rank)
            for name, weight in family.named_parameters():
                weight.requires_grad_(weight.requires_grad or name in grown)

    def end(self, family: Family[Any]) -> None:
        """Fold adapters into the weights."""
        if self.rank is not None:
            merge(family)


def widened(
    old: Mapping[str, Tensor], new: Mapping[str, Tensor], before: int, now: int
) -> tuple[dict[str, Tensor], set[str]]:
    """Weights with rows for tokens that were added, and the names of those that have them.

    A new token begins as the mean of the others (Hewitt, "Initializing new word embeddings for
    pretrained language models", 2021); rows behind those of the tokens stay behind them.

    Args:
        old: the weights of a model of `before` tokens.
        new: those of the same family with `now` tokens, for their shapes.
        before, now: how many tokens there are.

    Example:
        >>> old, new = {"table": torch.eye(2), "w": torch.ones(2)}, {"table": torch.zeros(3, 2)}
        >>> widened(old, {**new, "w": torch.ones(2)}, 2, 3)[0]["table"].tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    """
    weights, grown = dict(old), set()
    for name, weight in old.items():
        wanted = new[name].shape if name in new else weight.shape
        if wanted != weight.shape and wanted == (len(weight) + now - before, *weight.shape[1:]):
            added = weight[:before].mean(dim=0, keepdim=True).expand(now - before, *wanted[1:])
            weights[name] = torch.cat([weight[:before], added, weight[before:]])
            grown.add(name)
    return weights, grown


def _tokens(family: Family[Any]) -> int:
    """How many tokens a family of sequences has."""
    return family.space.tokens if isinstance(family.space, Sequence) else 0
