"""What a person wants of the training of one family, and the plan that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from likewise.core.config import override
from likewise.core.contract import SIZES
from likewise.core.errors import UsageError, must
from likewise.core.records import Records
from likewise.train.plan import FamilyPlan
from likewise.train.plan import seconds as seconds_of
from likewise.workbench.continuing import Start
from likewise.workbench.data import Prepared
from likewise.workbench.fitting import build, kinds, preset, space_of, stage_plan, steered
from likewise.workbench.measuring import draws_within, judged_by
from likewise.workbench.planning import Probe, plan_family

USUAL_TIME = "60s"
USUAL_SIZE = "s"
CHECKED = 128  # samples, or records, of a validation


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
        start: the model that training goes on from; its settings are kept.
    """

    time: str | float | None = None
    steps: int | None = None
    preset: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    start: Start | None = None

    def prepare(self, records: Records) -> Prepared:
        """The data, read by the codec of the model that training goes on from, if there is one."""
        return Prepared.of(records, self.start.model.domain if self.start else None)

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
        if self.start is not None and self.start.model.name != family:
            raise UsageError(
                must("the family", f"that of the model ({self.start.model.name})", family)
            )
        self._config(prepared, family, self.preset or "xs")  # a preset, and data that it learns
        if self.settings or self.start is not None:
            self._check_settings(prepared, family)

    def _check_settings(self, prepared: Prepared, family: str) -> None:
        """Raise UsageError if no preset that may be taken can be had with the settings."""
        (kind,), known = kinds(family), prepared.domain.conditions()
        space, sizes = space_of(prepared, family), tuple[str, ...](SIZES)
        if self.start is not None or self.preset is not None or self.steps is not None:
            sizes = (self.preset or USUAL_SIZE,)
        wrong: list[UsageError] = []
        for size in sizes:
            try:
                config = override(self._config(prepared, family, size), dict(self.settings))
                made = build(
                    kind, config, space, steered(kind, known), seed=self.seed, name=family
                )
                if self.start is not None:
                    self.start.begin(made, seed=self.seed)
                return
            except UsageError as error:
                wrong.append(error)
        raise wrong[0]

    def plan(self, prepared: Prepared, family: str) -> tuple[tuple[FamilyPlan, ...], int | None]:
        """The plan of one family, by time or by steps, and how many records are to judge it."""
        self.check(prepared, family)
        counted = all(kind.claims.learning == "counting" for kind in kinds(family))
        if self.start is not None and self.steps is None:
            return (self._continued(prepared, family),), None
        if self.steps is not None or counted:
            return tuple(self._by_steps(prepared, family)), None
        share = seconds_of(self.time if self.time is not None else USUAL_TIME)
        probe = Probe(prepared, seed=self.seed, device=self.device)
        stages, costs = plan_family(
            probe,
            family,
            share=share,
            evaluation=share,
            size=self.preset,
            changes=dict(self.settings),
        )
        test, judging = len(prepared.split.test), share / 2
        judged = judged_by([costs.likelihood], judging, test)
        draws = draws_within(judging, costs.likelihood * judged)
        return (replace(stages[0], draws=draws), *stages[1:]), judged

    def _by_steps(self, prepared: Prepared, family: str) -> list[FamilyPlan]:
        size, conditions = self.preset or USUAL_SIZE, prepared.domain.conditions()
        first, *more = kinds(family)
        config = self._config(prepared, family, size)
        plans = [stage_plan(config, size, steps=self.steps, seconds=None, changes=self.settings)]
        for kind in more:
            later = preset(kind, size, self._codes(prepared, first, config), conditions)
            plans.append(stage_plan(later, size, steps=self.steps, seconds=None))
        return plans

    def _config(self, prepared: Prepared, family: str, size: str) -> Any:
        """The Config of a family's first stage: its preset, or that of the model to go on from."""
        if self.start is not None:
            return self.start.model.family.config
        space, conditions = space_of(prepared, family), prepared.domain.conditions()
        return preset(kinds(family)[0], size, space, conditions)

    def _continued(self, prepared: Prepared, family: str) -> FamilyPlan:
        """The plan of going on for a time."""
        kind, space = kinds(family)[0], space_of(prepared, family)
        seconds = seconds_of(self.time if self.time is not None else USUAL_TIME)
        config = override(self._config(prepared, family, "xs"), dict(self.settings))
        probe = Probe(prepared, seed=self.seed, device=self.device)
        pace, _, arithmetic = probe.fastest(family, kind, space, config, share=seconds)
        plan = stage_plan(config, "xs", steps=max(1, int(seconds / pace)), seconds=seconds)
        return replace(plan, preset="continued", arithmetic=str(arithmetic), checked=CHECKED)

    def _codes(self, prepared: Prepared, kind: Any, config: Any) -> Any:
        """The Space of a family's codes."""
        view = prepared.view(kind)
        assert not isinstance(view, str)
        conditions = steered(kind, prepared.domain.conditions())
        return build(kind, config, view, conditions, seed=self.seed, name="codes").code_space
