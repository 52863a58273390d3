"""One job on a run folder: plan, train, sample, score, audit, rank, each step repeatable alone.

Every step reads files of the run folder and writes its own with the hash of its inputs; a step
whose inputs are unchanged does nothing.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likewise import __version__
from likewise.auditing.material import Material, Reference
from likewise.auditing.rule import ERROR
from likewise.auditing.rules import audit, left_out
from likewise.core.condition import Batch
from likewise.core.contract import Source, Trainable
from likewise.core.errors import LikewiseError, StoreError
from likewise.core.results import Finding, Score, verdict
from likewise.evaluation.features import FeatureSet, labels_of
from likewise.evaluation.scorecard import excess, score_samples
from likewise.reporting import report
from likewise.store.files import file_digest, read_tensors, write_tensors
from likewise.store.model import Model, open_model
from likewise.store.run import Run
from likewise.train.job import Job, Outcome
from likewise.train.loop import Trainer
from likewise.train.plan import FamilyPlan, Plan, from_json, to_json
from likewise.workbench.board import Leaderboard, make_board
from likewise.workbench.canaries import asking
from likewise.workbench.continuing import Start
from likewise.workbench.data import Prepared
from likewise.workbench.exchange_names import hindrance
from likewise.workbench.fitting import fit, kinds
from likewise.workbench.listen import Listener
from likewise.workbench.material import asked_rows, losses, reference, unasked
from likewise.workbench.scoring import likelihoods, reconstruction
from likewise.workbench.shown import keep, keep_closest
from likewise.workbench.texts import RunTexts
from likewise.workbench.validation import Features, Validate, validator

SHOWN = 64


class Work:
    """A run folder, its data, and who listens.

    Args:
        run: the folder; this process holds its lock.
        prepared: the data.
        listener: told of what happens.
        device: where models run.
    """

    def __init__(
        self, run: Run, prepared: Prepared, *, listener: Listener, device: str = "cpu"
    ) -> None:
        self.run = run
        self.prepared = prepared
        self.listener = listener
        self.device = device
        self.seed = int(run.data["seed"])
        self._features: FeatureSet | None = None

    @property
    def plan(self) -> Plan:
        """The plan of this run, once it is made."""
        return from_json(self.run.data["plan"])

    # -- features -------------------------------------------------------------------------

    def features(self) -> FeatureSet:
        """The feature nets of this run, trained once on train only."""
        if self._features is None:
            folder = self.run.path / "features"
            space, conditions = self.prepared.space, self.prepared.domain.conditions()
            try:
                self._features = FeatureSet.open(folder, space, conditions)
            except StoreError:
                self.listener.phase("", "training the feature nets")
                self._features = FeatureSet.train(
                    self.prepared.source("train"),
                    space,
                    conditions,
                    fit=self._fit_features,
                    seed=self.seed,
                    n_eval=self.prepared.most_samples(),
                    held_out=self.prepared.source("test"),
                    steps=self.plan.features,
                )
                self._features.save(folder)
        return self._features

    def judges(self, features: FeatureSet) -> FeatureSet:
        """What scores are made in: the nets of this run, and Inception where it has weights."""
        named = self.run.data.get("inception")
        return features.with_inception(Path(named), self.device) if named else features

    def _fit_features(
        self, trainable: Trainable, source: Source, *, steps: int, batch: int, seed: int
    ) -> None:
        job = Job(name="features", steps=steps, batch=batch, seed=seed)
        if Trainer(trainable, source, job).run().interrupted:
            raise KeyboardInterrupt

    def validator(self, name: str, features: Features, checked: int) -> Validate | None:
        """What chooses the checkpoint of a family; None if there is no time for any."""
        claims = kinds(name)[-1].claims
        return validator(self.prepared, features, claims, checked, seed=self.seed)

    # -- families -------------------------------------------------------------------------

    def train(
        self,
        name: str,
        stages: tuple[FamilyPlan, ...],
        validate: Validate | None,
        start: Start | None = None,
    ) -> tuple[FamilyPlan, ...]:
        """Train one family into its folder; returns its plan as it was carried out.

        A failure is noted in run.json and never ends the run; Ctrl-C is passed on after what was
        learned so far has been saved.
        """
        if self.run.state(name) in ("done", "skipped"):
            return stages
        folder = self.run.folder(name)
        self.run.set_state(name, "training")
        self.listener.phase(name, "training")
        said = hindrance(name, stages[0].config)
        if said is not None:
            self.listener.note(f"{name}: {said}")
        try:
            model, outcomes = fit(
                self.prepared,
                name,
                stages,
                seed=self.seed,
                device=self.device,
                folder=folder / "training",
                validate=validate,
                watch=lambda progress: self.listener.progress(name, progress),
                start=start,
            )
        except Exception as error:  # whatever a family does, the run goes on
            self.fail(name, error)
            return stages
        return self._keep(name, model, stages, outcomes)

    def fail(self, name: str, error: BaseException) -> None:
        """Note why a family failed; the run goes on."""
        own = isinstance(error, LikewiseError)
        why = str(error) if own else f"{type(error).__name__}: {error}"
        self.run.set_state(name, "failed", why)
        self.listener.done(name, f"failed: {why}")

    def _keep(
        self, name: str, model: Model, stages: tuple[FamilyPlan, ...], outcomes: list[Outcome]
    ) -> tuple[FamilyPlan, ...]:
        """Save a trained model and note how it went."""
        for outcome in outcomes:
            for event in outcome.events:
                self.listener.note(f"{name}: {event}")
        if len(outcomes) == len(stages):
            model.write(self.run.folder(name))
            self.run.write_log(name, [row for outcome in outcomes for row in outcome.rows])
        if any(outcome.interrupted for outcome in outcomes):
            self.run.set_state(name, "training", "interrupted")
            raise KeyboardInterrupt
        facts: dict[str, Any] = {
            "seconds": round(sum(outcome.seconds for outcome in outcomes), 3),
            "steps": sum(outcome.steps for outcome in outcomes),
            "best_step": outcomes[-1].best_step,
            "events": [event for outcome in outcomes for event in outcome.events],
        }
        self.run.set_state(name, "done", **facts)
        self.listener.done(name, f"trained in {facts['seconds']:.1f} s")
        return tuple(
            replace(plan, shorten=outcome.shorten)
            for plan, outcome in zip(stages, outcomes, strict=True)
        )

    def note_plan(self, name: str, stages: tuple[FamilyPlan, ...]) -> None:
        """Write one family's plan, as carried out, into run.json."""
        plan = self.plan
        changed = replace(plan, families={**plan.families, name: stages})
        self.run.update(plan=to_json(changed))

    def model(self, name: str) -> Model:
        """A trained model of this run."""
        return open_model(self.run.folder(name), device=self.device)

    # -- samples, scores, audit -----------------------------------------------------------

    def samples(self, name: str) -> tuple[Tensor, Batch, float]:
        """Samples of one family in the Space that measures read, and seconds a sample."""
        folder = self.run.folder(name)
        model = self.model(name)
        inputs = ["samples", self._model(name), self.plan.samples, self.seed]
        file = folder / "samples" / "samples.safetensors"
        facts = self.run.fresh(folder / "samples" / "samples.json", inputs)
        if facts is None or not file.exists():
            self.listener.phase(name, "sampling")
            start = time.monotonic()
            told = self.prepared.asked(self.plan.samples)
            x, every = model.draw(self.plan.samples, seed=self.seed, told=told)
            seconds = time.monotonic() - start
            c = {key: pair for key, pair in every.items() if key not in told}
            self._keep_shown(folder / "samples" / "grid", model, x, c)
            if len(every) > len(c):  # what samples were made after is real, and stays private
                self._keep_shown(self.run.path / "private" / f"{name}-answers", model, x, every)
            x = self.prepared.canonical(x, model.family.space)
            write_tensors(file, {"x": x, **{f"c.{k}": v for k, (v, _) in c.items()}})
            facts = {"n": self.plan.samples, "seed": self.seed, "seconds": seconds}
            self.run.keep(folder / "samples" / "samples.json", inputs, facts)
        try:
            tensors, _ = read_tensors(file)
        except StoreError:  # it can be made again from the model
            file.unlink()
            return self.samples(name)
        c = {
            key.removeprefix("c."): (value, torch.ones(len(value), dtype=torch.bool))
            for key, value in tensors.items()
            if key.startswith("c.")
        }
        return tensors["x"], c, float(facts["seconds"]) / float(facts["n"])

    def score(self, name: str, features: FeatureSet) -> dict[str, Any]:
        """The scorecard of one family."""
        x, c, each = self.samples(name)
        path = self.run.folder(name) / "scorecard.json"
        plan = self.run.data["plan"]
        draws, judged = self._judged(name)
        asked_of = [plan, draws, judged, self.seed]
        inputs = ["score", self._model(name), self._data(), features.hashes, *asked_of]
        known = self.run.fresh(path, inputs)
        if known is not None:
            return known
        self.listener.phase(name, "scoring")
        real, _ = self.prepared.held_out("test")
        model = self.model(name)
        label = labels_of(model.family.conditions)
        n = self.plan.n
        asked = c[label.name][0][:n] if label is not None and label.name in c else None
        scores = score_samples(x[:n], real, features, n=n, labels=asked, seed=self.seed)
        scores |= likelihoods(self.prepared, model, draws=draws, judged=judged, seed=self.seed)
        scores |= self._texts.score(x) if self._texts else {}
        if model.family.claims.latent:
            scores["reconstruction"], again, conditions = reconstruction(
                self.prepared, model, judged=judged
            )
            place = self.run.path / "private" / f"{name}-reconstruction"
            self._keep_shown(place, model, again, conditions)
        facts = {
            "name": name,
            "role": model.family.claims.role,
            "n": self.plan.n,
            "parameters": model.parameters,
            "samples_per_second": 1.0 / max(each, 1e-9),
            "scores": {key: score.to_json() for key, score in scores.items()},
        }
        return self.run.keep(path, inputs, facts)

    def floor(self, features: FeatureSet) -> dict[str, Score]:
        """Real against real: valid examples scored as if they were samples."""
        made, c = self.prepared.held_out("valid")
        real, _ = self.prepared.held_out("test")
        label = labels_of(self.prepared.domain.conditions())
        labels = c[label.name][0] if label is not None else None
        scores = score_samples(made, real, features, n=self.plan.n, labels=labels, seed=self.seed)
        return scores | (self._texts.score(made) if self._texts else {})

    @cached_property
    def _texts(self) -> RunTexts | None:
        """The real texts, where records are texts."""
        words = self.run.data.get("words")
        return RunTexts.of(
            self.prepared,
            self.seed,
            words=words,
            compared=self.plan.compared,
            exposed=asking(self.run),
        )

    def audit(self, name: str, features: FeatureSet) -> dict[str, Any]:
        """The findings and the verdict of one family."""
        path = self.run.folder(name) / "audit.json"
        draws, judged = self._judged(name)
        size = [self.plan.samples, draws, judged, self.plan.compared]
        inputs = ["audit", self._model(name), self._data(), features.hashes, size]
        inputs += [self.run.data[key] for key in ("words", "canaries") if key in self.run.data]
        known = self.run.fresh(path, inputs)
        if known is not None:
            return known
        x, _, _ = self.samples(name)
        self.listener.phase(name, "auditing")
        real, model = self._reference, self.model(name)
        asked = losses(self.prepared, model, real, draws=draws, judged=judged)
        material = Material(samples=x, reference=real, losses=asked)
        findings, silent = self._findings(name, material)
        place = self.run.path / "private" / f"{name}-nearest"
        keep_closest(place, self.prepared.domain, self.prepared.space, material)
        facts = {
            "name": name,
            "verdict": verdict(findings),
            "words": "evidence of resistance to the attacks run",
            "findings": [finding.to_json() for finding in findings],
            "left_out": {**left_out(material), **silent, **unasked(self.prepared)},
        }
        return self.run.keep(path, inputs, facts)

    def _findings(self, name: str, material: Material) -> tuple[list[Finding], dict[str, str]]:
        """The findings of a family, over texts too where it wrote some, and what is left out."""
        if self._texts is None:
            return audit(material), {}
        draws, judged = self._judged(name)
        rows = asked_rows(self.prepared, material.reference, draws=draws, judged=judged)
        more, silent = self._texts.audit(material.samples, self.model(name), material.losses, rows)
        return [*audit(material, error=ERROR / 2), *more], silent

    def _judged(self, name: str) -> tuple[int, int | None]:
        """How many noise draws a family's likelihood takes, and records that all families read."""
        stages = self.plan.families.get(name)
        return stages[0].draws if stages else 1, self.plan.judged

    @cached_property
    def _reference(self) -> Reference:
        """The real records that every family is judged against, read once."""
        return reference(
            self.prepared,
            self.features(),
            self.run.path / "features",
            fit=self._fit_features,
            seed=self.seed,
            steps=self.plan.features,
        )

    # -- leaderboard and report -----------------------------------------------------------

    def board(self, names: Iterable[str], features: FeatureSet) -> Leaderboard:
        """Score and audit all that is trained, and rank it."""
        cards, verdicts = {}, {}
        judges = self.judges(features)
        for name in names:
            if self.run.state(name) != "done":
                continue
            try:
                card, found = self.score(name, judges), self.audit(name, features)
            except Exception as error:  # whatever a family does, the run goes on
                self.fail(name, error)
                continue
            cards[name], verdicts[name] = card, str(found["verdict"])
            self.listener.done(name, f"measured; verdict {verdicts[name]}")
        floor = self.floor(judges)
        data = make_board(
            self.run.data,
            cards,
            verdicts,
            floor,
            headline=self.prepared.domain.headline,
            n=self.plan.n,
            excess=excess,
        )
        self.run.keep(self.run.path / "leaderboard.json", ["board", cards, verdicts], data)
        return Leaderboard(self.run.path, data)

    def report(self, *, with_train: bool = False) -> Path:
        """Write report.html, README.md and report.json."""
        self.listener.phase("", "writing the report")
        held_out = self.prepared.part("test").take(
            range(min(SHOWN, len(self.prepared.split.test)))
        )
        keep(self.run.path / "private" / "held-out", self.prepared.domain, held_out)
        return report(self.run.path, with_train=with_train)

    # -- small things ---------------------------------------------------------------------

    def _keep_shown(self, place: Path, model: Model, x: Tensor, c: Batch) -> None:
        some = {name: (v[:SHOWN], present[:SHOWN]) for name, (v, present) in c.items()}
        keep(place, model.domain, model.domain.decode(x[:SHOWN], model.family.space, some))

    def _model(self, name: str) -> list[str]:
        """What an artefact of a family depends on: its model's files, and this code."""
        files = ("model.safetensors", "config.json", "codec.json")
        return [__version__, *(file_digest(self.run.folder(name) / file) for file in files)]

    def _data(self) -> str:
        return str(self.run.data["data"]["fingerprint"])
