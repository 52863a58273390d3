"""Texts of a run, as strings: what scores and the audit of texts read beside the tensors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from likewise.auditing.canaries import Exposure
from likewise.auditing.material import Losses
from likewise.auditing.rule import ERROR
from likewise.auditing.texts import Asked, Continue, RealTexts, TextLosses, Texts
from likewise.auditing.texts_balance import EXAMPLE, Words, checked
from likewise.auditing.texts_membership import REFERENCE
from likewise.auditing.texts_rules import audit_texts, texts_left_out
from likewise.core.contract import Controls
from likewise.core.errors import UsageError, must
from likewise.core.records import Part
from likewise.core.results import Finding, Score
from likewise.core.rng import fold, generator
from likewise.evaluation.texts import score_texts
from likewise.measures.texts_reference import character_log_masses
from likewise.store.files import read_json
from likewise.store.model import Model
from likewise.tasks.texts import complete
from likewise.train.plan import COMPARED
from likewise.workbench.data import Prepared
from likewise.workbench.material import HELD_OUT

if TYPE_CHECKING:
    from likewise.domains.text import Text

SHARE = 3  # one held-out text in so many makes the reference model
SLOTS = 128  # texts that are continued at one time: a step takes little longer for more
LARGEST = 1 << 16  # bytes of a file of words


@dataclass(frozen=True)
class RunTexts:
    """The real texts of a run.

    Attributes:
        prepared: the data.
        seed: of what is drawn.
        words: of groups, whose balance the audit looks at; None for none.
        exposed: how well a model knows the canaries that were planted; None for none.
        compared: how many texts of each part are read, at most.
    """

    prepared: Prepared
    seed: int
    words: Words | None = None
    exposed: Callable[[Model], Sequence[Exposure]] | None = None
    compared: int = COMPARED

    @classmethod
    def of(cls, prepared: Prepared, seed: int, **more: Any) -> "RunTexts | None":
        """The texts of some data; None where its records are none."""
        one = prepared.part("train").take([0])
        return cls(prepared, seed, **more) if prepared.domain.texts(one) is not None else None

    @cached_property
    def train(self) -> list[str]:
        """What was trained on: passages that follow one another as one text."""
        return joined(self.prepared.part("train").items)

    def some(self, part: Part) -> list[str]:
        """Some texts of a part, as they were cut into records."""
        return list(self.prepared.some(part, self.compared).items)

    def score(self, x: Tensor) -> dict[str, Score]:
        """Scores of samples in the Space that measures read."""
        return score_texts(
            self._said(x),
            self.some("test"),
            train=self.train,
            valid=self.some("valid"),
            n=min(len(x), self.prepared.most_samples(), self.compared),
            seed=self.seed,
        )

    @cached_property
    def _real(self) -> RealTexts:
        valid, test = self.some("valid"), self.some("test")
        return RealTexts(
            train=self.train,
            valid=valid,
            test=test,
            pieces=self.some("train"),
            seed=self.seed,
            by_place=bool(self.prepared.records.facts.get("by_place")),
        )

    def audit(
        self, x: Tensor, model: Model, losses: Losses | None, rows: Sequence[tuple[Part, Tensor]]
    ) -> tuple[list[Finding], dict[str, str]]:
        """The findings over texts, and the rules that are left out and why.

        Args:
            x: samples in the Space that measures read.
            model: that made them.
            losses: its log masses of real records, if it has a density.
            rows: which records of each part these are of.
        """
        texts = Texts(
            samples=self._said(x),
            reference=self._real,
            losses=None if losses is None else self._losses(losses, rows),
            continue_from=continuing(model),
            exposures=self.exposed(model) if self.exposed and losses is not None else (),
            tokens=spelled(model),
        )
        found = audit_texts(texts, error=ERROR / 2, groups=self.words)
        return found, texts_left_out(texts, groups=self.words)

    def _losses(self, losses: Losses, rows: Sequence[tuple[Part, Tensor]]) -> TextLosses:
        """The log masses with their texts, and those of a reference model."""
        asked = [self._records(part, some) for part, some in rows]
        aside = self._aside({text for texts in asked for text in texts})
        known = [_of_reference(aside, texts) for texts in asked]
        parts = zip(asked, losses, known, strict=True)
        return TextLosses(*(Asked(texts, nats.double(), other) for texts, nats, other in parts))

    def _aside(self, asked: set[str]) -> list[str]:
        """What a reference model learns: a third of valid and of test at least, none of few.

        Those that the model is not asked about, and where these do not suffice some that it is.
        """
        parts = [list(dict.fromkeys(self._all(part))) for part in HELD_OUT]
        total = sum(map(len, parts))
        aside = []
        for part, texts in zip(HELD_OUT, parts, strict=True):
            order = torch.randperm(len(texts), generator=generator(fold(self.seed, "aside", part)))
            mixed = sorted((texts[row] for row in order.tolist()), key=asked.__contains__)
            free = sum(text not in asked for text in texts)
            wanted = -(-len(texts) // SHARE) if total >= SHARE * REFERENCE else 0
            aside += mixed[: max(free, wanted)]
        return aside if len(aside) >= REFERENCE else []

    def _records(self, part: Part, rows: Tensor) -> list[str]:
        records = self.prepared.records.take(self.prepared.split.part(part)[rows.numpy()])
        return list(records.items)

    def _all(self, part: Part) -> list[str]:
        return list(self.prepared.part(part).items)

    def _said(self, x: Tensor) -> list[str]:
        domain = self.prepared.domain
        return list(domain.decode(x, self.prepared.space).items)


def words_file(path: Path) -> Words:
    """Groups of words out of a JSON file such as {"women": ["she", "her"], "men": ["he", "him"]}.

    Raises:
        UsageError: it is no file or over 64 KiB, or its groups cannot be judged.
        StoreError: it is no JSON.
    """
    if not path.is_file():
        raise UsageError(must("words", "a file of JSON", str(path), EXAMPLE))
    size = path.stat().st_size
    if size > LARGEST:
        raise UsageError(must("a file of words", f"of at most {LARGEST >> 10} KiB", size))
    return checked(read_json(path))


def _of_reference(aside: Sequence[str], texts: Sequence[str]) -> Tensor | None:
    """What a model of texts set aside says of others, NaN of those texts themselves."""
    if not aside:
        return None
    known = set(aside)
    seen = torch.tensor([text in known for text in texts], dtype=torch.bool)
    return character_log_masses(aside, texts).masked_fill(seen, torch.nan)


def joined(passages: Any) -> list[str]:
    """Texts, those that go on where the one before ends as one."""
    on = getattr(passages, "follows", None)
    if on is None:
        return list(passages)
    whole: list[list[str]] = []
    for text, follows in zip(passages, on.tolist(), strict=True):
        if follows:
            whole[-1].append(text)
        else:
            whole.append([text])
    return ["".join(parts) for parts in whole]


def continuing(model: Model) -> Continue | None:
    """What writes on as a model finds likeliest; None for families that do not read on."""
    if not hasattr(model.family, "reader") or model.family.claims.role == "control":
        return None

    def go_on(prefixes: Sequence[str], characters: int) -> list[str]:
        prompts = _prompts(model, prefixes)
        pairs = zip(prompts, prefixes, strict=True)
        each = max(1.0, *(len(ids) / max(1, len(text)) for ids, text in pairs))  # tokens
        found = complete(
            model,
            prompts,
            most=math.ceil(characters * each),
            controls=Controls(temperature=0.0),
            slots=SLOTS,
        )
        return [one.text for one in found]

    return go_on


def spelled(model: Model) -> list[str]:
    """What each token of a model spells; nothing where its domain has none."""
    tokens = model.domain.spelled() if hasattr(model.domain, "spelled") else ()
    return [token.decode("utf-8", "replace") for token in tokens]


def _prompts(model: Model, prefixes: Sequence[str]) -> list[list[int]]:
    """The tokens of beginnings of texts; unlike a person's prompts, with unknown characters."""
    domain = cast("Text", model.domain)
    words = domain.codec.vocabulary
    before = [words.begin] if domain.codec.whole else []
    if domain.roles:  # an answer of which nothing is known but how it begins
        before = [words.pad]
    return [[*before, *ids.tolist()] for ids in words.encode(list(prefixes))]
