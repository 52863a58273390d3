"""Model: a trained family (or chain of two) with its domain's codec, as a user holds it.

On disk: `config.json` (what it is, and the hash of its weights), `model.safetensors`,
`codec.json`. No training record is in it, nothing is pickled.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likewise import __version__
from likewise.core import registry
from likewise.core.chain import Chain
from likewise.core.condition import (
    Batch,
    Labels,
    condition_from_json,
    condition_to_json,
    take,
)
from likewise.core.config import from_json, to_json
from likewise.core.contract import Controls, Domain, Family
from likewise.core.errors import DataError, StoreError, TrainingError, UsageError, must
from likewise.core.records import Records
from likewise.core.rng import Draws, fold
from likewise.core.space import space_from_json, space_to_json
from likewise.store.files import digest, read_json, read_tensors, write_json, write_tensors

SCHEMA = 1
BATCH = 256
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass
class Model:
    """A trained family with its codec.

    Attributes:
        name: of the family or chain, such as "flow" or "vae+diffusion".
        family: trained; a `Chain` where there are two.
        domain: the fitted codec.
        shares: {name of a Labels condition: share of each label in the training data}.
        facts: where it comes from (data fingerprint, seed, versions), as plain data.
    """

    name: str
    family: Family[Any]
    domain: Domain
    shares: Mapping[str, tuple[float, ...]]
    facts: Mapping[str, Any]

    @property
    def parameters(self) -> int:
        """How many numbers were learned (parameters, and buffers of counted families)."""
        learned = sum(p.numel() for p in self.family.parameters())
        return learned or sum(b.numel() for b in self.family.buffers())

    def sample(
        self,
        n: int,
        where: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        controls: Controls = Controls(),
    ) -> Records:
        """n new records; sample i is the same whatever n, `start` and the batch size are.

        Args:
            n: how many.
            where: what they should be, such as {"label": 3}; labels that are not named are
                dealt in their shares in the training data.
            seed: of the samples.
            start: the number of the first; `sample(1, start=17)` makes sample 17 alone.
            controls: temperature, guidance and the like; only those the family honours.

        Returns:
            Records whose ids are the numbers of the samples, `start` to `start + n - 1`.

        Raises:
            UsageError: `n` is not above 0 or `start` below 0, or a control or a condition is
                not the family's.
        """
        x, c = self.draw(n, where, seed=seed, start=start, controls=controls)
        records = self.domain.decode(x, self.family.space, c)
        return replace(records, ids=tuple(str(number) for number in range(start, start + n)))

    def draw(
        self,
        n: int,
        where: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        controls: Controls = Controls(),
        batch: int = BATCH,
        told: Batch | None = None,
    ) -> tuple[Tensor, Batch]:
        """n new examples as tensors, numbers start .. start + n - 1, and their conditions.

        `told` are conditions that are tensors already, of n rows; those that are not of the
        family are left out.
        """
        wishes: dict[str, Any] = {"seed": seed, "start": start, "controls": controls}
        parts = list(self.stream(n, where, batch=batch, told=told, **wishes))
        x = torch.cat([x for x, _ in parts])
        names = parts[0][1]
        return x, {
            name: (
                torch.cat([c[name][0] for _, c in parts]),
                torch.cat([c[name][1] for _, c in parts]),
            )
            for name in names
        }

    def stream(
        self,
        n: int,
        where: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        controls: Controls = Controls(),
        batch: int = BATCH,
        told: Batch | None = None,
    ) -> Iterator[tuple[Tensor, Batch]]:
        """The examples of `draw`, batch by batch, in constant memory."""
        if not (isinstance(n, int) and n > 0):
            raise UsageError(must("n", "a whole number above 0", n))
        if not (isinstance(start, int) and start >= 0):
            raise UsageError(must("start", "a whole number from 0 on", start))
        self._check(controls)
        known = {condition.name for condition in self.family.conditions}
        given = {name: pair for name, pair in (told or {}).items() if name in known}
        c = {**self.conditions(n, where, seed=seed, start=start), **given}
        self.family.eval()
        for first in range(0, n, batch):
            rows = slice(first, min(first + batch, n))
            some = take(c, rows)
            rng = Draws(fold(seed, "sample"), start + first, self.family.device)
            size = rows.stop - rows.start
            x = self.family.sample(size, some, rng=rng, controls=controls).cpu()
            self._check_sample(x, size)
            yield x, some

    def conditions(
        self, n: int, where: Mapping[str, Any] | None = None, *, seed: int = 0, start: int = 0
    ) -> Batch:
        """The conditions of n samples: those asked for, and labels dealt in their shares."""
        kinds = {condition.name for condition in self.family.conditions}
        for name in where or {}:
            if name not in kinds:
                can = f"it can be steered by {sorted(kinds)}" if kinds else "it cannot be steered"
                raise UsageError(f"{self.name} has no condition {name!r}; {can}.")
        c = dict(self.domain.condition(where, n)) if where else {}
        for condition in self.family.conditions:
            if isinstance(condition, Labels) and condition.name not in c:
                dealt = _deal(self.shares[condition.name], n, start, seed=seed)
                c[condition.name] = (dealt, torch.ones(n, dtype=torch.bool))
        return c

    def log_mass(
        self, x: Tensor, c: Batch, *, seed: int = 0, draws: int = 1, batch: int = BATCH
    ) -> Tensor:
        """(n,) a lower bound on log p(x) in nats: log p(label) + log p(x | label).

        log p(x) is the sum over labels of p(label) p(x | label), so one label's term bounds it
        from below; a family that is not conditional gives log p(x) itself.
        """
        values = []
        known = {condition.name for condition in self.family.conditions}
        for first in range(0, len(x), batch):
            rows = slice(first, first + batch)
            some = {name: pair for name, pair in take(c, rows).items() if name in known}
            rng = Draws(fold(seed, "density"), first, self.family.device)
            part = x[rows].to(self.family.device)
            log_mass = self.family.log_prob(part, some, rng=rng, draws=draws).detach().cpu()
            for name, (labels, present) in some.items():
                if name in self.shares:
                    shares = torch.tensor(self.shares[name], dtype=log_mass.dtype)
                    log_mass = log_mass + torch.where(present, shares.log()[labels], 0.0)
            values.append(log_mass)
        return torch.cat(values)

    def save(self, path: str | Path) -> Path:
        """Write the model to a folder of its own.

        Raises:
            UsageError: it is a control, which may not leave its run.
            StoreError: the folder cannot be written.
        """
        if self.family.claims.role == "control":
            raise UsageError(f"{self.name} is a control and holds training records; not saved.")
        return self.write(Path(path))

    def write(self, folder: Path) -> Path:
        """Write the model into a run's folder, a control too."""
        sha256 = write_tensors(folder / "model.safetensors", self.family.state_dict())
        codec = {"schema": SCHEMA, "domain": self.domain.name, "state": self.domain.state()}
        write_json(folder / "codec.json", codec)
        stages = (
            [self.family.first, self.family.second]
            if isinstance(self.family, Chain)
            else [self.family]
        )
        config = {
            "schema": SCHEMA,
            "version": __version__,
            "name": self.name,
            "stages": [
                {
                    "family": name,
                    "config": to_json(stage.config),
                    "space": space_to_json(stage.space),
                    "conditions": [condition_to_json(c) for c in stage.conditions],
                }
                for name, stage in zip(self.name.split("+"), stages, strict=True)
            ],
            "shares": dict(self.shares),
            "parameters": self.parameters,
            "sha256": sha256,
            "codec": digest(codec),
            "facts": dict(self.facts),
        }
        write_json(folder / "config.json", config)
        return folder

    def _check_sample(self, x: Tensor, n: int) -> None:
        """Raise TrainingError unless x is n examples of the Space."""
        wanted = (n, *self.family.space.shape)
        if tuple(x.shape) != wanted:
            raise TrainingError(must(f"what {self.name} samples", f"of shape {wanted}", x.shape))
        try:
            self.family.space.check(x)
        except DataError as error:
            raise TrainingError(f"what {self.name} samples does not fit: {error}") from error

    def _check(self, controls: Controls) -> None:
        strange = controls.changed() - self.family.claims.controls
        if strange:
            able = ", ".join(sorted(self.family.claims.controls)) or "none"
            raise UsageError(
                f"{self.name} does not honour {', '.join(sorted(strange))}; it honours: {able}."
            )


def open_model(folder: Path, *, device: str = "cpu") -> Model:
    """A saved model.

    Raises:
        StoreError: there is no model, it is of a newer version, or it was changed or truncated.
    """
    config = read_json(folder / "config.json")
    codec = read_json(folder / "codec.json")
    if not isinstance(config, dict) or not isinstance(codec, dict):
        raise StoreError(f"{folder} holds no model: config.json is not what it should be.")
    if config.get("schema", math.inf) > SCHEMA:
        raise StoreError(
            f"{folder} was written by likewise {config.get('version', '?')}, newer than this "
            f"{__version__}. Install that version to open it."
        )
    if digest(codec) != config.get("codec"):
        raise StoreError(f"{folder / 'codec.json'} is not the file that was saved (hash differs).")
    tensors, _ = read_tensors(folder / "model.safetensors", sha256=str(config.get("sha256")))
    try:
        stages = [_stage(stage) for stage in config["stages"]]
        family = Chain(*stages) if len(stages) == 2 else stages[0]
        family.load_state_dict(tensors)
        domain = registry.get("domains", codec["domain"]).from_state(codec["state"])
        shares = {name: tuple(values) for name, values in config["shares"].items()}
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"{folder} is damaged ({type(error).__name__}: {error}).") from error
    family.to(device).eval()
    return Model(config["name"], family, domain, shares, config["facts"])


def _deal(shares: tuple[float, ...], n: int, start: int, *, seed: int) -> Tensor:
    """(n,) labels in their shares: evenly spread over any run of samples, not just on average.

    Sample i takes the label at the point frac(u + i * golden ratio) of the stacked shares (Weyl's
    sequence), so the label of sample i depends on (seed, i) alone.
    """
    first = Draws(fold(seed, "labels")).uniform(1).double()
    places = torch.arange(start, start + n, dtype=torch.float64)
    points = (first + places * GOLDEN) % 1.0
    stacked = torch.tensor(shares, dtype=torch.float64).cumsum(dim=0)
    labels = torch.searchsorted(stacked / stacked[-1], points, right=True)
    return labels.clamp(max=len(shares) - 1)


def _stage(data: Mapping[str, Any]) -> Family[Any]:
    kind = registry.get("families", data["family"])
    conditions = tuple(condition_from_json(c) for c in data["conditions"])
    config = from_json(kind.Config, data["config"])
    family: Family[Any] = kind(config, space_from_json(data["space"]), conditions)
    return family
