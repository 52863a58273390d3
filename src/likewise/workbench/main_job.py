"""The main job: time turned into a plan, families trained under it, and all of them ranked."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from likewise.core import registry
from likewise.core.errors import DataError, LikewiseError, StoreError, TrainingError, UsageError
from likewise.evaluation.features import FeatureSet
from likewise.store.run import Run
from likewise.train.arithmetic import PLAIN
from likewise.train.plan import RESERVED, FamilyPlan, Plan, from_json, to_json
from likewise.workbench.augmentation import augments, try_augmentation
from likewise.workbench.board import Leaderboard
from likewise.workbench.data import Prepared
from likewise.workbench.fitting import kinds, preset, space_of, stage_plan
from likewise.workbench.forecast import forecasts
from likewise.workbench.job import Work
from likewise.workbench.measuring import EVALUATION, comparing, measuring, seconds_of_a_row
from likewise.workbench.planning import WORTH, Costs, Probe, plan_family, threads
from likewise.workbench.runs import machine
from likewise.workbench.texts import RunTexts

FEATURE_STEPS = 300
PROBING = 3.0  # seconds that the probe of a family takes, about


class Clock:
    """The time of a job, from its first moment.

    Args:
        budget: seconds in all.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.start = time.monotonic()

    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start


def families_for(
    prepared: Prepared, wanted: Sequence[str] | None
) -> tuple[list[str], dict[str, str]]:
    """The families of a run, counted ones first, and those that cannot take part, and why.

    Baselines and controls always take part. A name that a person gave and that cannot learn the
    data is an error; a family that was merely there is skipped.
    """
    able: list[str] = []
    skipped: dict[str, str] = {}
    always = []
    loaded = []
    for name in registry.names("families"):
        try:
            role = _role(name)
        except UsageError:
            raise
        except LikewiseError as error:  # a broken file takes nobody else down
            skipped[name] = str(error)
            continue
        loaded.append(name)
        if role in ("baseline", "control"):
            always.append(name)
    for name in wanted or ():
        if any(kind.claims.role == "control" for kind in kinds(name)):
            raise UsageError(f"{name} is a control; it takes part by itself.")
    for name in dict.fromkeys([*(wanted or loaded), *always]):
        view = prepared.view(kinds(name)[0])
        if isinstance(view, str):
            if wanted and name in wanted:
                raise DataError(f"{name} cannot learn this data: {view}.")
            if _of_this_kind(prepared, name):
                skipped[name] = view
        else:
            able.append(name)
    return sorted(able, key=lambda name: (not _counting(name), _order(name))), skipped


def _of_this_kind(prepared: Prepared, name: str) -> bool:
    """Whether a family learns this kind of data at all; of others nobody expects it."""
    kinds_seen = {type(space) for space in prepared.domain.views()}
    return bool(kinds_seen & set(kinds(name)[0].claims.density))


def _order(name: str) -> tuple[int, str]:
    return ({"baseline": 0, "control": 1, "model": 2}[_role(name)], name)


def _role(name: str) -> str:
    role: str = kinds(name)[-1].claims.role
    return role


def _counting(name: str) -> bool:
    return all(kind.claims.learning == "counting" for kind in kinds(name))


def main_job(
    work: Work, names: list[str], skipped: Mapping[str, str], clock: Clock
) -> Leaderboard:
    """Plan, train, sample, score, audit, rank and report: the whole way once."""
    run = work.run
    for name, why in skipped.items():
        run.set_state(name, "skipped", why)
    if "plan" not in run.data:
        _start_plan(work, names, clock)
    with threads(work.plan.threads):
        features = work.features()
        counted_names = [name for name in names if _counting(name)]
        rest = [name for name in names if name not in counted_names]
        share = clock.budget * (1 - RESERVED) / max(1, len(names))
        for name in counted_names:
            stages = work.plan.families.get(name) or counted_plan(work, name, share)
            work.note_plan(name, work.train(name, stages, None))
        if _unplanned(work, rest):
            _look_at_augmentation(work, rest, features, clock)
            _plan_rest(work, counted_names, rest, clock)
        for number, name in enumerate(rest):
            if name in work.plan.families:
                stages = _in_time(work.plan.families[name], clock, len(rest) - number)
                validate = work.validator(name, work.features, stages[-1].checked)
                work.note_plan(name, work.train(name, stages, validate))
        if not run.families("done"):
            raise TrainingError(f"no family could be trained; {run.path / 'run.json'} says why.")
        trained = clock.used()
        board = work.board(names, features)
    seconds = {"trained": round(trained, 2), "total": round(clock.used(), 2)}
    run.update(seconds=seconds)
    work.report()
    run.update(finished=True)
    return board


def _unplanned(work: Work, names: list[str]) -> bool:
    """Whether anything is still to be planned; what another run planned is followed as it is."""
    plan, run = work.plan, work.run
    measured = plan.judged is not None or run.data["inputs"]["plan"] is not None
    return not measured or any(
        name not in plan.families and run.state(name) == "pending" for name in names
    )


def _look_at_augmentation(
    work: Work, names: list[str], features: FeatureSet, clock: Clock
) -> None:
    """Note in the plan whether augmentation helps, if there is any and time to tell."""
    alone = [name for name in names if "+" not in name]
    told = bool(work.plan.notes)  # by a run that was stopped after it
    if told or not alone or not augments(work):
        return
    probe = Probe(work.prepared, seed=work.seed, device=work.device)
    said = "The time is too short to try whether augmentation helps."
    for name in alone:
        try:
            pace = probe.pace(name, "xs")[0]
            trial = try_augmentation(work, name, features, pace=pace, budget=clock.budget)
        except Exception:  # what is wrong with a family is told when it is planned
            continue
        said = trial.sentence if trial else said
        break
    work.run.update(plan=to_json(replace(work.plan, notes=(*work.plan.notes, said))))


def _in_time(
    stages: tuple[FamilyPlan, ...], clock: Clock, families_left: int
) -> tuple[FamilyPlan, ...]:
    """Stages with no more time than is left for them; a replay knows no clock."""
    left = clock.budget * (1 - RESERVED) - clock.used()
    share = max(1.0, left / families_left / len(stages))
    return tuple(
        stage if stage.seconds is None else replace(stage, seconds=min(stage.seconds, share))
        for stage in stages
    )


def _start_plan(work: Work, names: list[str], clock: Clock) -> None:
    """The part of the plan that needs no probe but that of the threads."""
    prepared = work.prepared
    probe = Probe(prepared, seed=work.seed, device=work.device)
    fastest = 1
    for name in names:
        if not _counting(name) and "+" not in name:
            with suppress(Exception):  # what is wrong with a family is told when it is planned
                fastest = probe.threads(name)
                break
    plan = Plan(
        seconds=clock.budget,
        threads=fastest,
        n=prepared.most_samples(),
        samples=prepared.audited(),
        features=_feature_steps(clock.budget),
        families={},
    )
    work.run.update(plan=to_json(plan), machine=machine(fastest))


def _feature_steps(budget: float) -> int:
    """300 steps in one to three minutes, fewer in less, and up to five times as many in more."""
    share = min(1.0, budget / 60.0) * min(5.0, max(1.0, budget / 180.0))
    return max(20, int(FEATURE_STEPS * share))


def counted_plan(work: Work, name: str, share: float | None) -> tuple[FamilyPlan, ...]:
    """The plan of a counted family: to convergence, within its share."""
    stages = []
    for kind in kinds(name):
        space = space_of(work.prepared, name)
        config = preset(kind, "s", space, work.prepared.domain.conditions())
        plan = stage_plan(config, "s", steps=None, seconds=share)
        stages.append(plan)
    return tuple(stages)


def _plan_rest(work: Work, counted: list[str], names: list[str], clock: Clock) -> None:
    """Probe all families: share out the time that is left for training, and for measuring."""
    work.listener.phase("", "measuring this machine")
    probe = Probe(work.prepared, seed=work.seed, device=work.device)
    costs = dict(_of_trained(work, probe, counted))
    plan, planned = work.plan, {}
    for name, stages, cost in _planned(work, probe, names, clock):
        planned[name], costs[name] = stages, cost
    families = {**plan.families, **planned}
    plan = replace(plan, families=families, notes=(*plan.notes, *_about_arithmetic(families)))
    # Where nothing is left to be trained, what training did not take is there for measuring.
    kept = clock.budget * RESERVED
    seconds = kept if planned else max(kept, clock.budget - clock.used())
    plan = measuring(plan, costs, test=len(work.prepared.split.test), seconds=seconds)
    texts = RunTexts.of(work.prepared, work.seed)
    if texts is not None:
        row = seconds_of_a_row(texts)
        plan = replace(plan, compared=comparing(plan, costs, row=row, seconds=seconds))
    work.run.update(plan=to_json(plan))
    work.listener.forecast(list(forecasts(planned, len(work.prepared.split.train))))


def _planned(
    work: Work, probe: Probe, names: list[str], clock: Clock
) -> Iterator[tuple[str, tuple[FamilyPlan, ...], Costs]]:
    """The plan of each gradient family, and what measuring it takes; some cannot be planned."""
    evaluation = clock.budget * RESERVED * EVALUATION / max(1, len(names))
    for number, name in enumerate(names):
        left = clock.budget * (1 - RESERVED) - clock.used()
        probing = PROBING * (len(names) - number - 1)  # the probes that are still to come
        share = max(1.0, (left - probing) / len(names))
        try:
            yield name, *plan_family(probe, name, share=share, evaluation=evaluation)
        except TrainingError as error:
            work.run.set_state(name, "skipped", str(error))
            work.listener.note(f"{name} is skipped: {error}")
        except Exception as error:  # whatever a family does, the run goes on
            work.fail(name, error)


def _of_trained(work: Work, probe: Probe, names: list[str]) -> Iterator[tuple[str, Costs]]:
    """What measuring each family takes that is trained already; one that breaks is left out."""
    for name in names:
        if work.run.state(name) == "done":
            with suppress(Exception):  # what is wrong with a family is told when it is measured
                yield name, probe.costs(work.model(name))


def _about_arithmetic(families: Mapping[str, tuple[FamilyPlan, ...]]) -> Iterator[str]:
    """Which families train in another arithmetic than float32, in words."""
    taken: dict[str, list[str]] = {}
    for name, stages in families.items():
        for words in dict.fromkeys(stage.arithmetic for stage in stages):
            taken.setdefault(words, []).append(name)
    for words, names in sorted(taken.items()):
        if words != str(PLAIN):
            yield (
                f"Trained in {words}: {', '.join(names)}; on this machine each of these made a "
                f"step take less than {WORTH:.0%} of its time."
            )


def replayed(path: Path) -> dict[str, Any]:
    """The plan of another run.

    Raises:
        StoreError: there is no run, or it has no plan yet.
    """
    run = Run.open(path)
    if "plan" not in run.data:
        raise StoreError(f"{path} has no plan yet: its run did not come so far.")
    plan = from_json(run.data["plan"])
    families = {
        name: tuple(replace(stage, seconds=None) for stage in stages)
        for name, stages in plan.families.items()
    }
    return to_json(replace(plan, families=families))  # by steps alone: no clock may shorten it
