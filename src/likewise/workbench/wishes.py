"""What a person wants of the training of one family, and the plan that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from likewise.core.config import override
from likewise.core.errors import UsageError, must
from likewise.train.plan import FamilyPlan
from likewise.train.plan import seconds as seconds_of
from likewise.workbench.data import Prepared
from likewise.workbench.fitting import build, kinds, preset, space_of, stage_plan, steered
from likewise.workbench.planning import Probe, plan_family

USUAL_TIME = "60s"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a person wants of the training of one family.

    Attributes:
        time: such as "60s"; or `steps`, not both.
        steps: of training (or passes, of a counted family).
        preset: "xs", "s", "m" or "l"; None for the largest that the time allows.
        settings: changes to the family's Config.
        seed: of everything.
        device: where it runs.
    """

    time: str | float | None = None
    steps: int | None = None
    preset: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"

    def check(self, prepared: Prepared, family: str) -> None:
        """Raise UsageError or DataError for what cannot be, before anything is written."""
        if self.time is not None and self.steps is not None:
            raise UsageError("give either a time or a number of steps, not both.")
        if self.time is not None:
            seconds_of(self.time)
        if self.steps is not None and (type(self.steps) is not int or self.steps < 1):
            raise UsageError(must("steps", "a whole number above 0", self.steps))
        classes = kinds(family)
        if len(classes) > 1 and self.settings:
            raise UsageError("settings are for single families, not for chains.")
        space = space_of(prepared, family)
        config = preset(classes[0], self.preset or "xs", space, prepared.domain.conditions())
        override(config, dict(self.settings))

    def plan(self, prepared: Prepared, family: str) -> tuple[FamilyPlan, ...]:
        """The plan of one family, by time or by steps."""
        self.check(prepared, family)
        counted = all(kind.claims.learning == "counting" for kind in kinds(family))
        if self.steps is not None or counted:
            return tuple(self._by_steps(prepared, family))
        share = seconds_of(self.time if self.time is not None else USUAL_TIME)
        probe = Probe(prepared, seed=self.seed, device=self.device)
        stages, _ = plan_family(
            probe,
            family,
            share=share,
            evaluation=share,
            size=self.preset,
            changes=dict(self.settings),
        )
        return stages

    def _by_steps(self, prepared: Prepared, family: str) -> list[FamilyPlan]:
        size, conditions = self.preset or "s", prepared.domain.conditions()
        first, *more = kinds(family)
        config = preset(first, size, space_of(prepared, family), conditions)
        plans = [stage_plan(config, size, steps=self.steps, seconds=None, changes=self.settings)]
        for kind in more:
            later = preset(kind, size, self._codes(prepared, first, config), conditions)
            plans.append(stage_plan(later, size, steps=self.steps, seconds=None))
        return plans

    def _codes(self, prepared: Prepared, kind: Any, config: Any) -> Any:
        """The Space of a family's codes."""
        view = prepared.view(kind)
        assert not isinstance(view, str)
        conditions = steered(kind, prepared.domain.conditions())
        return build(kind, config, view, conditions, seed=self.seed, name="codes").code_space
