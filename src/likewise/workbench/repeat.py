"""Single steps of a run, on their own: train one family, score again, audit again, score files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from likewise.core.contract import Domain
from likewise.core.errors import StoreError, TrainingError, UsageError
from likewise.evaluation.scorecard import score_samples
from likewise.store.files import locked, read_json
from likewise.store.model import open_model
from likewise.store.run import Run
from likewise.train.plan import Plan, to_json
from likewise.workbench.board import Leaderboard, judged_again
from likewise.workbench.continuing import Start
from likewise.workbench.data import Prepared, gather, load
from likewise.workbench.fitting import kinds
from likewise.workbench.job import Work
from likewise.workbench.listen import Listener
from likewise.workbench.main_job import FEATURE_STEPS, counted_plan
from likewise.workbench.planning import threads
from likewise.workbench.runs import command_line, device_of, opened, written
from likewise.workbench.verbs import begun_from, inception_file
from likewise.workbench.verbs import open as open_any
from likewise.workbench.wishes import Wishes

ALWAYS = ("independent", "copier")  # every leaderboard has these rows


def train_run(
    family: str,
    data: Any,
    wishes: Wishes,
    *,
    out: Path | None,
    options: Mapping[str, str],
    listener: Listener,
    start: Path | None = None,
    lora: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Train one family into a run folder, or go on with it; returns the folder and its state.

    `start` is a model that training goes on from, `lora` the rank of adapters in that case.
    """
    if any(kind.claims.role == "control" for kind in kinds(family)):
        raise UsageError(f"{family} is a control; it takes part in `likewise run` by itself.")
    begun = begun_from(open_any(start) if start is not None else None, lora)
    if begun is not None:
        options = written(begun.options(data, options))
    prepared = Prepared.of(load(data, **options), begun.model.domain if begun else None)
    placed = replace(wishes, device=device_of(wishes.device), start=begun)
    placed.check(prepared, family)
    wanted = {"time": wishes.time, "steps": wishes.steps, "preset": wishes.preset}
    further = {"from": str(start) if start else None, "lora": lora}
    begins = {"from": begun.digest, "lora": lora} if begun is not None else {}
    with opened(
        prepared,
        out=out,
        seed=wishes.seed,
        inputs={"family": family, **_plain(wishes), **begins, "options": dict(options)},
        command=command_line(
            "train",
            family,
            prepared.records.origin,
            **wanted,
            **further,
            seed=wishes.seed,
            load=options,
        ),
        device=placed.device,
        listener=listener,
    ) as work:
        if "plan" not in work.run.data:
            listener.phase(family, "measuring this machine")
            stages, judged = placed.plan(prepared, family)
            plan = _bare_plan(prepared, families={family: stages}, judged=judged)
            work.run.update(plan=to_json(plan))
        return work.run.path, _trained_alone(work, family, begun)


def _plain(wishes: Wishes) -> dict[str, Any]:
    """Wishes as plain data, but for the model to go on from."""
    return {name: value for name, value in vars(wishes).items() if name != "start"}


def _trained_alone(work: Work, family: str, start: Start | None) -> dict[str, Any]:
    """Train the one family of a run; its state."""
    stages = work.plan.families[family]
    with threads(work.plan.threads):
        validate = work.validator(family, work.features, stages[-1].checked)
        work.note_plan(family, work.train(family, stages, validate, start))
    facts = dict(work.run.data["states"][family])
    if facts["state"] == "failed":
        raise TrainingError(facts["why"])
    work.run.update(finished=True)
    return facts


def evaluate_run(
    path: Path,
    data: Any = None,
    *,
    listener: Listener,
    options: Mapping[str, str],
    inception: Path | None = None,
) -> Leaderboard:
    """Score and rank all that a run has trained; Inception weights once named are kept in mind."""
    with reopened(path, data, listener=listener, options=options) as work:
        if inception is not None:
            work.run.update(inception=inception_file(inception, work.prepared))
        board = work.board(_trained(work), work.features())
        _report_again(work)
        return board


def audit_run(
    path: Path, family: str | None, *, listener: Listener, data: Any = None
) -> dict[str, dict[str, Any]]:
    """Audit one family of a run, or all; {family: audit with its role}.

    The leaderboard and the report of a run that has them follow what was found.
    """
    with reopened(path, data, listener=listener, options={}) as work:
        names = _trained(work)
        if family is not None and family not in names:
            raise UsageError(
                f"{path} has no trained family {family!r}; it has {', '.join(names) or 'none'}."
            )
        features = work.features()
        found = {
            name: {**work.audit(name, features), "role": kinds(name)[-1].claims.role}
            for name in ([family] if family is not None else names)
        }
        _rank_again(work, {name: str(audit["verdict"]) for name, audit in found.items()})
        _report_again(work)
        return found


def _rank_again(work: Work, verdicts: Mapping[str, str]) -> None:
    """New verdicts into the leaderboard of a run, if it has one: a held model is not best."""
    path = work.run.path / "leaderboard.json"
    if path.exists():
        data = read_json(path)
        work.run.keep(path, ["board", data, verdicts], judged_again(data, verdicts))


def _report_again(work: Work) -> None:
    """The report and the card of a run once more, if it has them, and the private page too."""
    if (work.run.path / "report.html").exists():
        work.report(with_train=(work.run.path / "private" / "report.html").exists())


def evaluate_files(
    files: Path,
    data: Any,
    *,
    listener: Listener,
    options: Mapping[str, str],
    inception: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Score files that any model made against the held-out part of some data."""
    prepared = Prepared.of(load(data, **options))
    made = load(str(files), domain=prepared.records.domain, **_like(prepared, options))
    x, _ = gather(prepared.domain.source(made, prepared.space, train=False))
    with TemporaryDirectory() as folder, locked(Path(folder)):
        run = Run(Path(folder), {"seed": 0, "states": {}, "data": prepared.facts()})
        run.update(plan=to_json(_bare_plan(prepared, families={})))
        run.update(inception=inception_file(inception, prepared))
        work = Work(run, prepared, listener=listener)
        features = work.judges(work.features())
    real, _ = prepared.held_out("test")
    n = min(len(x), prepared.most_samples())
    return {name: asdict(score) for name, score in score_samples(x, real, features, n=n).items()}


def _like(prepared: Prepared, options: Mapping[str, str]) -> dict[str, Any]:
    """Options that read other files as this data was read: they have no metadata of its kind."""
    options = {name: value for name, value in options.items() if name not in ("label", "most")}
    return {**prepared.domain.alike(), **options}


@contextmanager
def reopened(
    path: Path, data: Any, *, listener: Listener, options: Mapping[str, str]
) -> Iterator[Work]:
    """A run folder with its data read again, locked.

    Raises:
        StoreError: the data is not where it was, or is not what it was.
    """
    run = Run.open(path)
    origin = run.data["data"]["origin"]
    known = run.data.get("inputs", {}).get("options", {})
    records = load(data if data is not None else origin, **{**known, **options})
    if records.fingerprint() != run.data["data"]["fingerprint"]:
        raise StoreError(
            f"{data or origin} is not the data that {path} was trained on: it has changed since."
        )
    with locked(path):
        run.sweep()
        prepared = Prepared.of(records, _codec(run))
        work = Work(run, prepared, listener=listener, device=device_of("auto"))
        if "plan" not in run.data:
            raise StoreError(f"{path} has no plan yet: its run did not come so far.")
        with threads(work.plan.threads):
            for name in ALWAYS:
                work.train(name, counted_plan(work, name, None), None)
            yield work


def _codec(run: Run) -> Domain | None:
    """The codec of the model that a run went on from; None where it learned one of its own."""
    if "from" not in run.data.get("inputs", {}):
        return None
    return open_model(run.path / run.families("done")[0]).domain


def _trained(work: Work) -> list[str]:
    return work.run.families("done")


def _bare_plan(prepared: Prepared, families: Mapping[str, Any], judged: int | None = None) -> Plan:
    return Plan(
        seconds=None,
        threads=torch.get_num_threads(),
        n=prepared.most_samples(),
        samples=prepared.audited(),
        features=FEATURE_STEPS,
        families=families,
        judged=judged,
    )
