"""Texts by their label: those of the same sample, honoured by families that know it alone."""

import json

import pytest
import torch

from likewise.core.errors import UsageError
from likewise.domains.text import Text
from likewise.families.ngram import Ngram
from likewise.families.transformer import Config, Transformer
from likewise.store.model import Model
from likewise.tasks.codec import unknown
from likewise.tasks.texts import complete
from tests.tasks.test_drafting import GREEDY


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("classes") / "texts.jsonl"
    rows = [{"text": f"text {n} of {name * 4}", "label": name} for n in range(30) for name in "ab"]
    path.write_text("\n".join(map(json.dumps, rows)))
    domain = Text()
    domain.fit(Text.load(path, tokenizer="characters"))
    torch.manual_seed(0)
    config = Config(width=16, depth=1, heads=2, groups=2, hidden=32, batch=8)
    family = Transformer(config, domain.views()[0], domain.conditions())
    for parameter in family.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    family.silent[domain.codec.vocabulary.unknown] = -torch.inf  # as if trained: never met
    return Model("transformer", family.eval(), domain, {}, {})


def test_a_label_changes_the_text_as_it_does_that_of_a_sample(model):
    told = {}
    for label in ("a", "b"):
        wish = {"label": label}
        one, other = complete(model, ["te", "of"], seed=3, where=wish)
        drawn = model.sample(2, {**wish, "prompt": ["te", "of"]}, seed=3)
        assert [one.text, other.text] == list(drawn.items)
        told[label] = one.text
    assert told["a"] != told["b"]


def test_a_label_is_known_beyond_the_context(model):
    size = model.family.space.length
    told = []
    for label in ("a", "b"):
        (one,) = complete(model, ["te"], most=5 * size, controls=GREEDY, where={"label": label})
        (first,) = complete(model, ["te"], controls=GREEDY, where={"label": label})
        assert one.text.startswith(first.text)
        told.append(one.text)
    assert told[0] != told[1]


def test_labels_of_one_batch_are_kept_apart(model):
    from likewise.tasks.engine import Engine
    from likewise.tasks.rows import Request
    from likewise.tasks.texts import gathered, tokens_of

    (tokens,) = tokens_of(model, ["te"])
    engine, heard = Engine(model), {}
    for label in ("a", "b", None):
        where = {} if label is None else {"label": label}
        request = Request(tokens=tokens, most=8, controls=GREEDY, where=where)
        heard[request] = []
        engine.submit(request)
    while engine.busy:
        for event in engine.advance():
            heard[event.request].append(event)
    alone = [
        complete(model, ["te"], most=8, controls=GREEDY, where=where)[0].text
        for where in ({"label": "a"}, {"label": "b"}, {})
    ]
    assert [gathered(events).text for events in heard.values()] == alone
    assert alone[0] != alone[1]


def test_what_is_not_known_is_refused(model):
    with pytest.raises(UsageError, match="does not write by 'colour'; it can by: label"):
        complete(model, ["te"], where={"colour": "red"})
    with pytest.raises(UsageError, match="does not write by 'prompt'; it can by: label"):
        complete(model, ["te"], where={"prompt": "red"})
    with pytest.raises(UsageError, match="label"):
        complete(model, ["te"], where={"label": "c"})
    with pytest.raises(UsageError, match="leave one of them out"):
        complete(model, ["te"], where={"label": "a"}, draft=model)
    texts = tuple(one for one in model.domain.conditions() if one.name == "prompt")
    space = model.domain.views()[0]
    counted = Model("ngram", Ngram(Ngram.preset("xs", space, texts), space, texts), model.domain,
                    {}, {})  # fmt: skip
    with pytest.raises(UsageError, match="it can by: nothing but the prompt"):
        complete(counted, ["te"], where={"label": "a"})


def test_characters_without_a_token_are_read_and_never_written(model):
    words = model.domain.codec.vocabulary
    (barred,) = unknown(model.domain)
    assert barred == words.unknown
    model.family.silent[barred] = 100.0
    try:
        (one,) = complete(model, ["te"], most=30)
        assert barred not in one.tokens
    finally:
        model.family.silent[barred] = -torch.inf


def test_a_search_goes_by_a_label_and_never_writes_the_unknown(model):
    (barred,) = unknown(model.domain)
    model.family.silent[barred] = 100.0
    try:
        one, other = (
            complete(model, ["te"], most=20, beams=3, where={"label": label})[0] for label in "ab"
        )
        assert one.text != other.text
        assert barred not in (*one.tokens, *other.tokens)
    finally:
        model.family.silent[barred] = -torch.inf
