"""Membership of texts: losses that are set against how hard a text is for anybody.

A long or odd text costs much whether it was trained on or not. Three scores of a text, high for
training texts, each in nats:

* by loss: its log mass a byte (Yeom et al., 2018);
* by zlib: its log mass over the bytes that zlib needs for it (Carlini et al., "Extracting training
  data from large language models", 2021);
* by reference: how much likelier it is than under a model that never saw it, a byte (Mireshghallah
  et al., "Quantifying privacy risks of masked language models using membership inference attacks",
  2022).

The effect is, as for all records, how far the area under the ROC curve lies above 0.5.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from likewise.auditing.membership import PLACED
from likewise.auditing.membership import _effect as told_apart
from likewise.auditing.rule import Effect, Rule
from likewise.auditing.texts import Asked, Texts
from likewise.measures.texts_reference import sizes_in_bytes

REFERENCE = 50  # texts at least that a reference model is made of


def by_loss(log_masses: Tensor, texts: Sequence[str]) -> Tensor:
    """(n,) log mass a byte, of (n,) nats of n texts.

    Example:
        >>> by_loss(torch.tensor([-8.0]), ["abc"]).tolist()
        [-2.0]
    """
    return log_masses.double() / torch.from_numpy(sizes_in_bytes(texts))


def by_zlib(log_masses: Tensor, texts: Sequence[str]) -> Tensor:
    """(n,) log mass over the size of the text when zlib has compressed it.

    Example:
        >>> odd, dull = by_zlib(torch.tensor([-9.0, -9.0]), ["qwertyuiop", "aaaaaaaaaa"])
        >>> bool(odd > dull)
        True
    """
    packed = [len(zlib.compress(text.encode("utf-8", "surrogatepass"))) for text in texts]
    return log_masses.double() / torch.tensor(packed, dtype=torch.float64)


def by_reference(log_masses: Tensor, reference: Tensor, texts: Sequence[str]) -> Tensor:
    """(n,) log of how much likelier each text is than under the reference model, a byte.

    Example:
        >>> by_reference(torch.tensor([-8.0]), torch.tensor([-20.0]), ["abc"]).tolist()
        [3.0]
    """
    return by_loss(log_masses.double() - reference.double(), texts)


def _zlib(asked: Asked) -> Tensor:
    return by_zlib(asked.log_masses, asked.texts)


def _reference(asked: Asked) -> Tensor:
    assert asked.reference is not None
    new = ~asked.reference.isnan()
    texts = [text for text, kept in zip(asked.texts, new.tolist(), strict=True) if kept]
    return by_reference(asked.log_masses[new], asked.reference[new], texts)


def _no_losses(texts: Texts) -> str | None:
    return None if texts.losses is not None else "there is no density to ask for a loss"


def _no_reference(texts: Texts) -> str | None:
    why, count = _no_losses(texts), len(texts.reference.held_out)
    if why is not None or all(asked.reference is not None for asked in texts.losses or ()):
        return why
    if count < 3 * REFERENCE:
        return f"there are too few held-out texts ({count}) to make a reference model of a third"
    return "there is no reference model to compare losses with"


def _remembered(texts: Texts) -> Texts:
    """The losses of a model that recites its training texts: none at all."""
    losses = texts.losses
    assert losses is not None
    known = losses.train._replace(log_masses=torch.zeros_like(losses.train.log_masses))
    return replace(texts, losses=losses._replace(train=known))


def _never_seen(texts: Texts) -> Texts:
    """The losses of valid texts as if they had been trained on, against those of test ones."""
    losses = texts.losses
    assert losses is not None
    valid = losses.valid
    kept = None if valid.reference is None else valid.reference[:0]
    none = Asked((), valid.log_masses[:0], kept)
    return replace(texts, losses=losses._replace(train=valid, valid=none))


def _rule(
    name: str, how: str, score: Callable[[Asked], Tensor], applies: Callable[[Texts], str | None]
) -> Rule[Texts]:
    def effect(texts: Texts, level: float) -> Effect:
        assert texts.losses is not None
        members, valid, test = map(score, texts.losses)
        others = torch.cat([valid, test])
        return told_apart(members, others, level, how, len(members) + len(others))

    return Rule(
        name=name,
        effect=effect,
        positive=_remembered,
        negative=_never_seen,
        applies=applies,
        doubt=lambda texts: PLACED if texts.reference.by_place else None,
        shared=False,
    )


BY_ZLIB = _rule("membership by zlib", "By the loss over the size in zlib", _zlib, _no_losses)
BY_REFERENCE = _rule(
    "membership by reference", "By the loss beside a reference model's", _reference, _no_reference
)
