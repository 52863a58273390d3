"""Going on from a trained model."""

import random

import pytest
import torch

import likewise as lw
from likewise.core.errors import UsageError
from likewise.workbench.data import load

WORDS = ["river", "stone", "cloud", "amber", "violet", "thunder", "meadow", "copper", "orchard"]
RNG = random.Random(0)
TEXTS = [" ".join(RNG.choices(WORDS, k=9)) for _ in range(120)]
MORE = [" ".join(RNG.choices(WORDS, k=9)) for _ in range(120)]
NEW = [" ".join(RNG.choices([word[::-1] for word in WORDS], k=9)) for _ in range(120)]
SMALL = {"width": "32", "depth": "1", "heads": "2", "groups": "2", "hidden": "32", "batch": "16"}


@pytest.fixture(scope="module")
def model():
    return lw.fit(TEXTS, "transformer", steps=60, settings=SMALL)


def cost(model, texts):
    records = load(texts, **model.domain.alike())
    source = model.domain.source(records, model.family.space, train=False)
    x, c = source.batch(torch.arange(len(source)), None)
    return -float(model.log_mass(x, c).mean())


def test_training_goes_on_with_the_same_codec_and_learns_the_new_data(model):
    later = lw.fit(NEW, "transformer", steps=40, start=model)
    assert later.domain.state() == model.domain.state()
    assert later.family.config == model.family.config
    assert cost(later, NEW) < cost(model, NEW)
    fresh = lw.fit(MORE, "transformer", steps=2, settings=SMALL)
    short = lw.fit(MORE, "transformer", steps=2, start=model)
    assert cost(short, MORE) < cost(fresh, MORE)


def test_adapters_move_little_and_leave_a_plain_model(model):
    later = lw.fit(NEW, "transformer", steps=40, start=model, lora=2)
    assert set(later.family.state_dict()) == set(model.family.state_dict())
    assert torch.equal(later.family.table.weight, model.family.table.weight)
    assert cost(later, NEW) < cost(model, NEW)


@pytest.mark.parametrize(
    ("family", "changes", "says"),
    [
        ("rnn", {}, "the family must be that of the model"),
        ("transformer", {"settings": {"width": "64"}}, "do not fit the settings that were"),
        ("transformer", {"lora": 0}, "lora must be a rank of at least 1"),
    ],
)
def test_what_cannot_go_on_is_said(model, family, changes, says):
    with pytest.raises(UsageError, match=says):
        lw.fit(NEW, family, steps=1, start=model, **changes)


def test_adapters_need_a_model():
    with pytest.raises(UsageError, match="lora needs a model to go on from"):
        lw.fit(NEW, "transformer", steps=1, lora=4)
