"""Going on from a trained model: on new data, in all its weights or in small adapters."""

from dataclasses import dataclass
from typing import Any

from likewise.core.contract import Family
from likewise.core.errors import UsageError, must
from likewise.nn.adapters import adapt, merge
from likewise.store.model import Model


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

    def begin(self, family: Family[Any]) -> None:
        """Put the model's weights into a family of its Config, and adapters where wanted."""
        try:
            family.load_state_dict(self.model.family.state_dict())
        except RuntimeError as error:
            raise UsageError(
                f"the weights of {self.model.name} do not fit the settings that were changed. "
                f"Change only how it is trained, such as optimizer.learning_rate ({error})."
            ) from error
        if self.rank is not None:
            adapt(family, rank=self.rank, alpha=2.0 * self.rank)

    def end(self, family: Family[Any]) -> None:
        """Fold adapters into the weights."""
        if self.rank is not None:
            merge(family)
