"""Translating: the likeliest text by brute force, draws, and what a person can do wrong."""

import itertools
import json

import pytest
import torch
from torch import nn

import likewise as lw
from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.domains.text import Text
from likewise.families import masked, ngram, rnn, transformer
from likewise.store.model import Model
from likewise.tasks.translating import translate
from likewise.workbench.data import Prepared
from tests.serve.standin import standin

PAIRS = [("".join(word), "".join(word)[::-1][:3])
         for word in itertools.product("ab", repeat=5)]  # fmt: skip
SIZES = {"width": "48", "depth": "2", "heads": "2", "groups": "2", "hidden": "96", "batch": "64"}


def rows(folder, pairs):
    path = folder / "pairs.jsonl"
    lines = (json.dumps({"source": source, "target": target}) for source, target in pairs)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return Text.load(rows(tmp_path_factory.mktemp("pairs"), PAIRS))


def lively(records, module, name, std=0.5, **config):
    """An untrained family over pairs, whose zeroed layers are at random too."""
    domain = Text()
    domain.fit(records)
    torch.manual_seed(0)
    (space,), kind = domain.views(), getattr(module, name)
    family = kind(module.Config(**config), space, domain.conditions()).eval()
    for key, parameter in family.named_parameters():
        if "gain" not in key:
            nn.init.normal_(parameter, std=std)
    return Model(name.lower(), family, domain, {}, {})


def of_transformer(records):
    sizes = {"width": 16, "depth": 2, "heads": 2, "groups": 2, "hidden": 32}
    return lively(records, transformer, "Transformer", **sizes)


MAKERS = {
    "transformer": of_transformer,
    "rnn": lambda records: lively(records, rnn, "Rnn", std=1.2, width=12, depth=1),
}


def every(domain, length):
    """All rows of a Space that may be written: texts that end in it, and those cut there."""
    codes = domain.encode("ab")
    for size in range(length + 1):
        for word in itertools.product(codes, repeat=size):
            row = [*word, domain.end][:length]
            yield row + [domain.pad] * (length - len(row))


@pytest.mark.parametrize("name", list(MAKERS))
def test_the_search_finds_the_likeliest_of_all_texts(name, records):
    """By brute force with `log_prob`, divided by the number of tokens with the end."""
    model = MAKERS[name](records)
    domain, space = model.domain, model.family.space
    table = torch.tensor(list(every(domain, space.length)))
    assert len(table) == 1 + 2 + 4 + 8 + 16
    sizes = (table != domain.pad).sum(dim=1)
    sources, wanted = ["abbab", "bbbbb", "aabaa", "babab"], []
    for source in sources:
        where = {"source": [source] * len(table), "prompt": [""] * len(table)}
        with torch.no_grad():
            nats = model.family.log_prob(table, domain.condition(where, len(table)))
        best = table[(nats.double() / sizes).argmax()].tolist()
        wanted.append(domain.text([t for t in best if t not in (domain.end, domain.pad)]))
    assert len(set(wanted)) > 1, "the source is read"
    assert translate(model, sources, beams=200) == wanted
    assert translate(model, sources[:1], beams=3) == translate(model, sources, beams=3)[:1]


def test_a_draw_is_the_sample_of_the_model(records):
    model = of_transformer(records)
    sources = ["abbab", "bbbbb"]
    where = {"source": sources, "prompt": ["", ""]}
    drawn = model.sample(2, where, seed=4, controls=Controls(temperature=0.7))
    found = translate(model, sources, beams=1, seed=4, controls=Controls(temperature=0.7))
    assert found == list(drawn.items)


def test_families_that_do_not_read_from_left_to_right_draw(records):
    model = lively(records, masked, "Masked", width=16, depth=1, heads=2, hidden=32)
    (found,) = translate(model, ["abbab"], beams=1)
    assert set(found) <= set("ab\ufffd")
    with pytest.raises(UsageError, match=r"masked does not write from left to right.*Take 1 beam"):
        translate(model, ["abbab"])


def test_counts_read_a_source_too(records):
    domain = Text()
    domain.fit(records)
    family = ngram.Ngram(ngram.Config(order=3), domain.views()[0], domain.conditions())
    x, c = domain.source(records, domain.views()[0], train=True).batch(
        torch.arange(len(records)), Draws(0)
    )
    list(family.learn([(x, c)], rng=Draws(0)))
    (found,) = translate(Model("ngram", family, domain, {}, {}), ["abbab"])
    assert set(found) <= set("ab")


def test_a_trained_transformer_translates_what_it_never_saw(tmp_path):
    words = ["".join(word) for word in itertools.product("abc", repeat=5)]
    path = rows(tmp_path, [(word, word[::-1]) for word in words])
    records = Text.load(path)
    model = lw.fit(records, "transformer", steps=200, settings={**SIZES, "runs": "0"})
    held_out = Prepared.of(records).part("test").conditions["source"]
    found = translate(model, list(held_out), beams=2)
    right = sum(one == source[::-1] for one, source in zip(found, held_out, strict=True))
    assert right >= 0.8 * len(held_out), "by chance it is 1 of 243"


def test_what_cannot_be_translated_is_refused(records):
    model = of_transformer(records)
    for sources, said in (
        ([""], r"a source must be a text; got ''"),
        (["abbab", " "], r"a source must be a text; got ' '"),
        (["abbabbb"], r"a source must be of at most 5 tokens; got 7"),
        (["aΩ"], "the source has characters that the training texts never had: 'Ω'"),
    ):
        for width in (1, 4):
            with pytest.raises(UsageError, match=said):
                translate(model, sources, beams=width)
    with pytest.raises(UsageError, match="the number of beams must be 1 or more; got 0"):
        translate(model, ["ab"], beams=0)
    with pytest.raises(UsageError, match=r"temperature shapes draws, and beams draw nothing"):
        translate(model, ["ab"], controls=Controls(temperature=0.5))
    assert translate(model, []) == []


def test_models_without_pairs_say_what_to_train_on():
    with pytest.raises(UsageError, match=r'transformer was not trained on pairs.*"target"'):
        translate(standin(), ["ab"])
    pictures = lw.fit("digits", "independent", steps=1)
    with pytest.raises(UsageError, match="is a model of images, and this needs a model of texts"):
        translate(pictures, ["ab"])
