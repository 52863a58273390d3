"""The feature nets of one run: made once, on training data only, and the same for every model.

`FeatureSet` holds a classifier (where there are labels), a self-taught net, a random net and
principal components; Inception joins them where the user has its weights. Each net has a hash of
its weights, which every score names, so that numbers are only ever compared in the same features,
and a checked response: whether its distances rise when real examples are made worse.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from likewise.core.condition import Conditions, Labels
from likewise.core.contract import Source, Trainable
from likewise.core.errors import StoreError, UsageError, must
from likewise.core.results import Score
from likewise.core.rng import Draws, fold
from likewise.core.space import Space, space_from_json, space_to_json
from likewise.evaluation.response import Response, responses
from likewise.measures.intervals import wilson
from likewise.nn.contrastive import Contrastive
from likewise.nn.features import Classifier, FeatureNet, Pca, RandomNet, width_for
from likewise.nn.inception import load_inception
from likewise.store.files import read_json, read_tensors, write_json, write_tensors

VERSION = 2
STEPS = 300
BATCH = 64
MOST_CHECKED = 20_000  # held-out examples


class Fit(Protocol):
    """Trains a Trainable in place, `prepare` first; evaluation is handed one."""

    def __call__(
        self, trainable: Trainable, source: Source, *, steps: int, batch: int, seed: int
    ) -> None:
        """Train."""
        ...


class FeatureSet(Mapping[str, Callable[[Tensor], Tensor]]):
    """{name of a net: map from examples (n, ...) to features (n, d) float32}.

    "classifier", where a Labels condition has at least 2 names; "contrastive"; "random"; "pca";
    and "inception", where the user has its weights (`with_inception`).

    Args:
        space: what the nets read.
        nets: calibrated, by name.
        accuracy: of the classifier on held-out examples, if it was measured.
        responses: of each net to each corruption of held-out examples, if they were measured.
    """

    def __init__(
        self,
        space: Space,
        nets: Mapping[str, FeatureNet],
        accuracy: Score | None = None,
        responses: tuple[Response, ...] = (),
    ) -> None:
        self.space = space
        self.nets = dict(nets)
        self.accuracy = accuracy
        self.responses = responses
        self.hashes = {name: weights_hash(net) for name, net in self.nets.items()}
        self._known: dict[str, tuple[str, Tensor]] = {}

    def __getitem__(self, name: str) -> Callable[[Tensor], Tensor]:
        return self.nets[name].features

    def __iter__(self) -> Iterator[str]:
        return iter(self.nets)

    def __len__(self) -> int:
        return len(self.nets)

    @property
    def classifier(self) -> Classifier | None:
        """The classifier itself, for its class probabilities, or None."""
        net = self.nets.get("classifier")
        return net if isinstance(net, Classifier) else None

    def known(self, name: str, x: Tensor) -> Tensor:
        """Features of examples that are asked for again and again: the last ones are kept."""
        key = hashlib.sha256(x.contiguous().cpu().numpy().data).hexdigest()
        if self._known.get(name, ("", x))[0] != key:
            self._known[name] = (key, self[name](x))
        return self._known[name][1]

    def checked(self, name: str) -> bool:
        """Whether this net's response to corruptions was looked at; a user's own net's is not."""
        return any(response.net == name for response in self.responses)

    def unmoved(self, name: str) -> tuple[str, ...]:
        """The corruptions of real examples that did not raise this net's distance step by step."""
        return tuple(r.corruption for r in self.responses if r.net == name and not r.rises)

    def with_inception(self, path: Path, device: str = "cpu") -> "FeatureSet":
        """This set and "inception", with weights of the user's own.

        Args:
            path: the weights as safetensors, see `load_inception`.
            device: where Inception runs; it is slow on a processor.
        """
        inception = load_inception(path, self.space).to(device)
        nets = {**self.nets, "inception": inception}
        return FeatureSet(self.space, nets, self.accuracy, self.responses)

    @classmethod
    def train(
        cls,
        source: Source,
        space: Space,
        conditions: Conditions,
        *,
        fit: Fit,
        seed: int,
        n_eval: int,
        held_out: Source | None = None,
        steps: int = STEPS,
        batch: int = BATCH,
    ) -> "FeatureSet":
        """Make and train all nets on training examples.

        Args:
            source: training examples; not augmented ones if they are to look like real ones.
            space, conditions: of the source.
            fit: trains a Trainable in place.
            seed: of everything.
            n_eval: how many samples will be measured at once; it sets the number of features.
            held_out: on which accuracy and responses are measured, if given.
            steps: of the classifier's training; the contrastive net, whose steps take about four
                times as long, takes half as many.
            batch: of both.

        Raises:
            UsageError: there are no training examples.
        """
        if not len(source):
            raise UsageError(must("the training source", "of at least one example", 0))
        nets = _untrained(space, conditions, width_for(n_eval), seed)
        for name, net in nets.items():
            if isinstance(net, (Classifier, Contrastive)):
                most = steps if isinstance(net, Classifier) else max(1, steps // 2)
                fit(net, source, steps=most, batch=batch, seed=fold(seed, "features", name))
            else:
                net.prepare(source, rng=Draws(fold(seed, "prepare", name)))
            net.calibrate(source, rng=Draws(fold(seed, "calibrate", name)))
            net.eval().requires_grad_(False)
        trained = cls(space, nets)
        if held_out is not None and len(held_out):
            trained._check(held_out, seed)
        return trained

    def _check(self, held_out: Source, seed: int) -> None:
        """Measure the classifier's accuracy, and what every net responds to."""
        rng = Draws(fold(seed, "features", "held out"))
        some = min(len(held_out), MOST_CHECKED)
        x, c = held_out.batch(torch.arange(some) * len(held_out) // max(1, some), rng)
        labels = None
        if self.classifier is not None:
            target, present = c[self.classifier.labels.name]
            labels = torch.where(present, target, -1)
            self.accuracy = _accuracy(self.classifier, x, target, present)
        self.responses = responses(x, labels, self, self.space, seed=seed)

    def save(self, folder: Path) -> None:
        """Write each net as safetensors, and features.json last, which makes them count."""
        described = {}
        for name, net in self.nets.items():
            file_hash = write_tensors(folder / f"{name}.safetensors", net.state_dict())
            described[name] = {"width": net.width, "hash": self.hashes[name], "file": file_hash}
        facts = {
            "version": VERSION,
            "space": space_to_json(self.space),
            "nets": described,
            "accuracy": self.accuracy.to_json() if self.accuracy else None,
            "responses": [{**asdict(r), "rises": r.rises} for r in self.responses],
        }
        write_json(folder / "features.json", facts)

    @classmethod
    def open(cls, folder: Path, space: Space, conditions: Conditions) -> "FeatureSet":
        """Read what `save` wrote.

        Raises:
            StoreError: a file is missing, damaged, or of another Space, classes or version.
        """
        facts = read_json(folder / "features.json")
        if facts.get("version") != VERSION:
            raise StoreError(must(f"the version of {folder}", str(VERSION), facts.get("version")))
        if space_from_json(facts["space"]) != space:
            raise StoreError(f"{folder} was made for other data; train the feature nets again.")
        nets: dict[str, FeatureNet] = {}
        for name, described in facts["nets"].items():
            net = _untrained(space, conditions, described["width"], 0).get(name)
            if net is None:
                raise StoreError(f"{folder} has a {name!r} net, but the data has no use for one.")
            _load(net, folder / f"{name}.safetensors", described)
            nets[name] = net
        accuracy = Score(**facts["accuracy"]) if facts["accuracy"] else None
        return cls(space, nets, accuracy, tuple(map(_response, facts["responses"])))


def weights_hash(net: torch.nn.Module) -> str:
    """A hash of all parameters and buffers: names, shapes and bits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1e".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def labels_of(conditions: Conditions) -> Labels | None:
    """The first Labels condition with at least 2 names, or None."""
    for condition in conditions:
        if isinstance(condition, Labels) and len(condition.names) >= 2:
            return condition
    return None


def _untrained(
    space: Space, conditions: Conditions, width: int, seed: int
) -> dict[str, FeatureNet]:
    nets: dict[str, FeatureNet] = {}
    labels = labels_of(conditions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold(seed, "features", "weights"))
        if labels is not None:
            nets["classifier"] = Classifier(space, labels, width)
        nets["contrastive"] = Contrastive(space, width)
        nets["random"] = RandomNet(space, width, fold(seed, "features", "random"))
        nets["pca"] = Pca(space, width)
    return nets


def _accuracy(classifier: Classifier, x: Tensor, target: Tensor, present: Tensor) -> Score:
    guess = classifier.probabilities(x).argmax(dim=1).cpu()
    right, n = int((guess == target)[present].sum()), int(present.sum())
    if not n:
        why = "no held-out example has a label"
        return Score(value=None, unit="1", better="higher", n=0, why=why)
    low, high = wilson(right, n)
    how = "share of held-out examples that the classifier gets right; Wilson interval"
    return Score(value=right / n, low=low, high=high, unit="1", better="higher", n=n, how=how)


def _response(facts: Mapping[str, Any]) -> Response:
    return Response(
        net=facts["net"],
        corruption=facts["corruption"],
        strengths=tuple(facts["strengths"]),
        distances=tuple(math.nan if one is None else one for one in facts["distances"]),
    )


def _load(net: FeatureNet, path: Path, described: Mapping[str, Any]) -> None:
    tensors, _ = read_tensors(path, sha256=described["file"])
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise StoreError(
            f"{path} does not fit this data; train the feature nets again."
        ) from error
    net.eval().requires_grad_(False)
