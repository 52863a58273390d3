"""Run folders: where a job starts, goes on, or is repeated, and its time kept."""

import os
import platform
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from likewise import __version__
from likewise.core import registry
from likewise.core.errors import (
    DataError,
    LikewiseError,
    StoreError,
    TrainingError,
    UsageError,
    must,
)
from likewise.store.files import digest, file_digest, locked
from likewise.store.run import Run
from likewise.train.plan import RESERVED, FamilyPlan, Plan, from_json, to_json
from likewise.workbench.board import Leaderboard
from likewise.workbench.data import Prepared
from likewise.workbench.fitting import kinds, preset, space_of, stage_plan
from likewise.workbench.job import Work
from likewise.workbench.listen import Listener
from likewise.workbench.planning import Probe, cores, plan_family, threads

FEATURE_STEPS = 300
COUNTED_DRAWS = 8
COUNTED_JUDGED = 500  # held-out records that their likelihood reads
EVALUATION = 0.8  # of the reserved time; the rest is for features, audit and report


def device_of(name: str) -> str:
    """ "auto", "cpu", "cuda" or "mps" as a device that is there; UsageError if it is not."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there.get(name.split(":")[0], False):
        able = ", ".join(kind for kind, yes in there.items() if yes)
        raise UsageError(must("device", f"one that is here ({able})", name))
    return name


def machine(threads_used: int) -> dict[str, Any]:
    """What a report says of this machine."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _processor(),
        "cores": cores(),
        "memory_gib": round(pages / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": threads_used,
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


@contextmanager
def opened(
    prepared: Prepared,
    *,
    out: Path | None,
    seed: int,
    inputs: Mapping[str, Any],
    command: str,
    device: str,
    listener: Listener,
) -> Iterator[Work]:
    """The run folder of a job, locked: a new one, or the one that such a job left unfinished."""
    key = digest(prepared.records.fingerprint(), seed, inputs, code_version())
    path = out or _unfinished(key) or _fresh_name(prepared)
    with locked(path):
        if (path / "run.json").exists():
            run = Run.open(path)
            if run.data.get("key") != key:
                raise StoreError(
                    f"{path} holds a run of other data or options, or of other code. Choose "
                    f"another folder with --out."
                )
            run.sweep()
            listener.note(f"going on with {path}")
        else:
            run = Run.create(path, _facts(prepared, path, seed, inputs, command, device, key))
        yield Work(run, prepared, listener=listener, device=device)


def code_version() -> str:
    """A hash of this package's source: other code may train other weights."""
    root = Path(__file__).parent.parent
    return digest([file_digest(path) for path in sorted(root.rglob("*.py"))])


def _facts(
    prepared: Prepared,
    path: Path,
    seed: int,
    inputs: Mapping[str, Any],
    command: str,
    device: str,
    key: str,
) -> dict[str, Any]:
    return {
        "version": __version__,
        "name": path.name,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command,
        "key": key,
        "inputs": dict(inputs),
        "seed": seed,
        "device": device,
        "machine": machine(torch.get_num_threads()),
        "data": prepared.facts(),
        "split": prepared.split_hashes(),
        "budget": {"seconds": inputs.get("seconds")},
    }


def _unfinished(key: str) -> Path | None:
    """The newest folder under runs/ of such a job that did not come to its end."""
    found = []
    for path in Path("runs").glob("*/run.json"):
        try:
            run = Run.open(path.parent)
        except StoreError:
            continue
        if run.data.get("key") == key and not run.data.get("finished"):
            found.append((path.stat().st_mtime, path.parent))
    return max(found)[1] if found else None


def _fresh_name(prepared: Prepared) -> Path:
    stem = Path(prepared.records.origin or prepared.records.domain).stem.lower()
    word = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or prepared.records.domain
    base = f"{word[:40]}-{datetime.now().strftime('%Y%m%d-%H%M')}"
    number, path = 1, Path("runs") / base
    while path.exists():
        number += 1
        path = Path("runs") / f"{base}-{number}"
    return path


def command_line(verb: str, *words: object, **options: object) -> str:
    """The command that repeats a job.

    Example:
        >>> command_line("run", "my pictures", time="3m", seed=0)
        "likewise run 'my pictures' --time 3m --seed 0"
    """
    parts = ["likewise", verb, *(shlex.quote(str(word)) for word in words)]
    for name, value in options.items():
        if value is not None:
            parts += [f"--{name.replace('_', '-')}", shlex.quote(str(value))]
    return " ".join(parts)


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
            skipped[name] = view
        else:
            able.append(name)
    return sorted(able, key=lambda name: (not _counting(name), _order(name))), skipped


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
        if any(name not in work.plan.families and run.state(name) == "pending" for name in rest):
            _plan_rest(work, rest, clock)
        for number, name in enumerate(rest):
            if name in work.plan.families:
                stages = _in_time(work.plan.families[name], clock, len(rest) - number)
                validate = work.validator(features, stages[-1].checked)
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
    gradient = [name for name in names if not _counting(name) and "+" not in name]
    fastest = probe.threads(gradient[0]) if gradient else 1
    short = min(1.0, clock.budget / 60.0)
    plan = Plan(
        seconds=clock.budget,
        threads=fastest,
        n=prepared.most_samples(),
        samples=prepared.audited(),
        features=max(20, int(FEATURE_STEPS * short)),
        families={},
    )
    work.run.update(plan=to_json(plan), machine=machine(fastest))


def counted_plan(work: Work, name: str, share: float | None) -> tuple[FamilyPlan, ...]:
    """The plan of a counted family: to convergence, within its share."""
    stages = []
    for kind in kinds(name):
        space = space_of(work.prepared, name)
        config = preset(kind, "s", space, work.prepared.domain.conditions())
        plan = stage_plan(config, "s", steps=None, seconds=share)
        stages.append(replace(plan, draws=COUNTED_DRAWS, judged=COUNTED_JUDGED))
    return tuple(stages)


def _plan_rest(work: Work, names: list[str], clock: Clock) -> None:
    """Probe the gradient families and share out the time that is left for training."""
    work.listener.phase("", "measuring this machine")
    probe = Probe(work.prepared, seed=work.seed, device=work.device)
    plan = work.plan
    evaluation = clock.budget * RESERVED * EVALUATION / max(1, len(names))
    families, sizes = dict(plan.families), [plan.samples]
    for number, name in enumerate(names):
        left = clock.budget * (1 - RESERVED) - clock.used()
        probing = 2.0 * (len(names) - number - 1)  # the probes that are still to come
        share = max(1.0, (left - probing) / len(names))
        try:
            stages, n = plan_family(
                probe, name, share=share, evaluation=evaluation, n=plan.samples
            )
        except TrainingError as error:
            work.run.set_state(name, "skipped", str(error))
            work.listener.note(f"{name} is skipped: {error}")
            continue
        except Exception as error:  # whatever a family does, the run goes on
            work.fail(name, error)
            continue
        families[name] = stages
        sizes.append(n)
    least = min(sizes)
    plan = replace(plan, families=families, n=min(plan.n, least), samples=least)
    work.run.update(plan=to_json(plan))


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
