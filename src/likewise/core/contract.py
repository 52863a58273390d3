"""The contracts that hold the house together: Family, Trainable, Source, Domain.

A domain turns records into tensors of a Space; a family learns a distribution over a Space;
the trainer knows only `Trainable`. None of the three knows another.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from likewise.core.condition import Batch, Condition, Conditions
from likewise.core.config import Optimizer
from likewise.core.controls import Controls
from likewise.core.errors import UsageError
from likewise.core.records import Records
from likewise.core.rng import Draws
from likewise.core.space import Sequence, Space

C = TypeVar("C")
Density: TypeAlias = Literal["exact", "bound"]
Role: TypeAlias = Literal["model", "baseline", "control"]
Size: TypeAlias = Literal["xs", "s", "m", "l"]
SIZES: tuple[Size, ...] = ("xs", "s", "m", "l")


class Loss(NamedTuple):
    """One thing to minimise.

    Attributes:
        part: the name of the part that is stepped on it.
        value: (n,) where it separates over examples, else a scalar.
        notes: scalars that the watchdog and the curves should see.
    """

    part: str
    value: Tensor
    notes: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class Step:
    """What a loss may know of the step it is for.

    Attributes:
        rng: draws for this step, one row per example of the batch.
        progress: how far the plan is done, in [0, 1].
        index: the number of the step, from 0.
    """

    rng: Draws
    progress: float
    index: int = 0


class Source(Protocol):
    """A re-iterable supply of training batches over a Space, however large."""

    space: Space
    conditions: Conditions

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def batch(self, index: Tensor, rng: Draws) -> tuple[Tensor, Batch]:
        """Examples by number (b,) int64; row i's augmentation draws come from rng's row i."""
        ...


class Trainable(Protocol):
    """What the one trainer can train: families, feature nets, classifiers, detectors."""

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """A start that depends on the data (ActNorm, k-means); runs once, before step 0."""
        ...

    def parts(self) -> dict[str, nn.Module]:
        """Modules by name, one optimizer each; no parameter is in two of them."""
        ...

    def optimizers(self) -> dict[str, Optimizer]:
        """How each part is stepped."""
        ...

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """Yields a loss; the trainer steps that part before it asks for the next."""
        ...


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a family can do, as data; every claim is tested.

    Attributes:
        density: {accepted kind of Space: "exact", "bound" or None for no density}.
        conditions: the kinds of Condition it can be steered by.
        latent: whether `encode` and `decode` work.
        completion: whether `complete` works.
        role: "model", "baseline" or "control"; a control is never best, saved or served.
        learning: "gradient" (has `losses`) or "counting" (has `learn`).
        per_example: whether every loss it yields is (n,).
        controls: the names of the Controls that it honours.
        packs: whether it learns rows that hold several sequences (`Sequence.packed`).
    """

    density: Mapping[type[Space], Density | None]
    conditions: tuple[type[Condition], ...] = ()
    latent: bool = False
    completion: bool = False
    role: Role = "model"
    learning: Literal["gradient", "counting"] = "gradient"
    per_example: bool = False
    controls: frozenset[str] = field(default_factory=frozenset)
    packs: bool = False


class Family(nn.Module, ABC, Generic[C]):
    """A learnable distribution over a Space. Every concrete family is final: two levels, no more.

    A family's file defines one subclass with `claims`, `Config`, `preset`, `sample` and, by its
    claims, `losses` or `learn`, `log_prob`, `encode` and `decode`, `complete`.

    Args:
        config: of the class's own `Config`.
        space: what it learns; its kind must be among `claims.density`.
        conditions: what it is steered by; may be empty.
    """

    claims: ClassVar[Claims]
    Config: ClassVar[type[Any]]

    config: C

    def __init__(self, config: C, space: Space, conditions: Conditions = ()) -> None:
        super().__init__()
        self.config = config
        self.space = space
        self.conditions = conditions

    @classmethod
    def refuses(cls, space: Space) -> str | None:
        """Why it cannot learn this Space, in words, or None if it can."""
        if type(space) in cls.claims.density:
            packed = isinstance(space, Sequence) and space.packed
            return "it learns one sequence a row" if packed and not cls.claims.packs else None
        accepted = ", ".join(sorted(kind.kind for kind in cls.claims.density))
        return f"it learns {accepted} data, not {space.kind}"

    @classmethod
    @abstractmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> C:
        """A Config sized for this Space: "xs" trains in seconds, "l" in hours, on two cores."""

    @abstractmethod
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, ...) new examples; row i depends on rng's sample i and on row i of c alone."""

    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) log-likelihood in nats, exact or a lower bound as claimed; see `space`.

        Args:
            x: (n, ...) of `self.space`.
            c: conditions, or None for the unconditional distribution.
            rng: for a bound that needs noise; None means `Draws(0)`.
            draws: how many noise draws a bound averages over (log-mean-exp).
        """
        raise UsageError(f"{type(self).__name__} has no density.")

    def encode(self, x: Tensor, c: Batch | None = None) -> Tensor:
        """The codes of x, in `code_space`."""
        raise UsageError(f"{type(self).__name__} has no codes.")

    def decode(self, z: Tensor, c: Batch | None = None) -> Tensor:
        """Examples out of codes."""
        raise UsageError(f"{type(self).__name__} has no codes.")

    @property
    def code_space(self) -> Space:
        """What the codes are."""
        raise UsageError(f"{type(self).__name__} has no codes.")

    def complete(self, x: Tensor, known: Tensor, c: Batch | None = None, *, rng: Draws) -> Tensor:
        """x with its unknown places filled in; `known` is a bool tensor of x's shape."""
        raise UsageError(f"{type(self).__name__} cannot complete.")

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """A start that depends on the data; nothing unless a family says so."""
        return

    def parts(self) -> dict[str, nn.Module]:
        """The whole family as one part, unless it says otherwise."""
        return {"model": self}

    def optimizers(self) -> dict[str, Optimizer]:
        """Config's `optimizer` for every part, unless the family says otherwise."""
        return dict.fromkeys(self.parts(), getattr(self.config, "optimizer", Optimizer()))

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """Yields a loss for each part in turn (families that learn by gradient)."""
        raise UsageError(f"{type(self).__name__} defines no losses.")

    def learn(self, batches: "Batches", *, rng: Draws) -> Iterator[float]:
        """One pass over `batches` an iteration; yields the mean objective (lower is better)."""
        raise UsageError(f"{type(self).__name__} does not learn by counting.")

    @property
    def device(self) -> torch.device:
        """Where its parameters or buffers are."""
        for tensor in [*self.parameters(), *self.buffers()]:
            return tensor.device
        return torch.device("cpu")


def complaint(kind: type[Family[Any]]) -> str | None:
    """What a family class lacks, in words, or None; the registry asks before it is used."""
    for name in ("claims", "Config"):
        if not hasattr(kind, name):
            return f"it does not say its {name!r}"
    settings = kind.Config
    if settings is not type(None) and not getattr(settings, "__dataclass_params__", None):
        return "its Config is not a dataclass"
    if settings is not type(None) and not settings.__dataclass_params__.frozen:
        return "its Config is not frozen: write @dataclass(frozen=True, kw_only=True)"
    strange = kind.claims.controls - set(vars(Controls()))
    if strange:
        return f"it claims controls that there are not: {', '.join(sorted(strange))}"
    needs = {
        "losses": kind.claims.learning == "gradient",
        "learn": kind.claims.learning == "counting",
        "log_prob": any(kind.claims.density.values()),
        "encode": kind.claims.latent,
        "decode": kind.claims.latent,
        "code_space": kind.claims.latent,
        "complete": kind.claims.completion,
    }
    for name, needed in needs.items():
        if needed and getattr(kind, name) is getattr(Family, name):
            return f"by its claims it must define {name!r}"
    return None


class Batches(Protocol):
    """A re-iterable supply of (x, c), for counted families; the same batches every pass."""

    def __iter__(self) -> Iterator[tuple[Tensor, Batch]]:
        """One pass."""
        ...

    def __len__(self) -> int:
        """How many examples a pass has."""
        ...


class Sizes(NamedTuple):
    """What the likelihood of records is divided by, where numbers of tokens compare nothing.

    Attributes:
        units: {"byte": (n,) float64, ...} how large each record is; the first unit ranks.
        outside: (n,) nats for what the tensors leave out of a record.
    """

    units: Mapping[str, Tensor]
    outside: Tensor


class Guess(NamedTuple):
    """How sure a domain is that some data is of its kind, in [0, 1], and why."""

    sure: float
    why: str


class Domain(ABC):
    """One kind of data: reads, cleans, turns records into tensors and back, shows, writes.

    An instance is a codec: `fit` learns on TRAIN only (size, vocabulary, scalers), and its state
    is plain data that a Model carries.
    """

    name: ClassVar[str]
    headline: ClassVar[str]
    numbered: ClassVar[bool] = False
    """Whether `save` writes a file a record, named by the number that is its id."""
    settled: ClassVar[frozenset[str]] = frozenset()
    """The options of `load` that say what `fit` learns: a fitted codec has settled them."""

    @classmethod
    @abstractmethod
    def recognises(cls, data: Any) -> Guess:
        """How sure it is that `data` (a path, a name, arrays) is of its kind, and why."""

    @classmethod
    @abstractmethod
    def load(cls, data: Any, **options: Any) -> Records:
        """Read data; nothing is dropped silently (see `Records.skipped` and `.notes`)."""

    @classmethod
    @abstractmethod
    def toy(cls, seed: int = 0) -> Records:
        """A small generated set, so that tests need no download."""

    @abstractmethod
    def fit(self, train: Records) -> None:
        """Learn the codec on train records only."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The fitted codec as plain data."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Domain":
        """A fitted codec out of plain data."""

    @abstractmethod
    def views(self) -> tuple[Space, ...]:
        """The Spaces that it presents, the one that measures read first."""

    @abstractmethod
    def conditions(self) -> Conditions:
        """What generation can be steered by."""

    @abstractmethod
    def source(self, records: Records, space: Space, *, train: bool) -> Source:
        """Records as batches over one of its Spaces; augmented only if `train`."""

    @abstractmethod
    def decode(self, x: Tensor, space: Space, c: Batch | None = None) -> Records:
        """Tensors of one of its Spaces as records."""

    @abstractmethod
    def condition(self, where: Mapping[str, Any], n: int) -> Batch:
        """{"label": 3} and the like as conditions for n examples; UsageError if unknown."""

    def sizes(self, records: Records) -> Sizes | None:
        """What the likelihood of records is divided by; None for the number of dimensions."""
        return None

    def widened(self, train: Records) -> "Domain":
        """This domain, or one with what new records need besides, for a model that goes on."""
        return self

    def asks(self, records: Records) -> Batch:
        """What a sample for each of these records is made after; nothing if it is made freely."""
        return {}

    def alike(self) -> dict[str, Any]:
        """The options of `load` under which other data are read as that of training was."""
        return {}

    def texts(self, records: Records) -> tuple[str, ...] | None:
        """The records as texts that a person reads; None where they are none."""
        return None

    @abstractmethod
    def save(self, records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
        """Write records in the user's own format, marked as model-made; returns the files."""

    @abstractmethod
    def show(self, records: Records) -> bytes:
        """A picture of records: the bytes of a PNG or an SVG."""
