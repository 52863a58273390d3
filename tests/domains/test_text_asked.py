"""What a model of dialogues is asked and answers: prompts, samples, files."""

import json

import pytest
import torch

import likewise as lw
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.domains.text import Text
from likewise.workbench.samples import sample_to_files
from tests.domains.dialogues import A, S, U, fitted, load, talk


def test_an_answer_that_is_drawn_ends_where_another_speaks(tmp_path):
    records = load(tmp_path, talk(), tokenizer="characters")
    domain = fitted(records)
    space = domain.views()[1]
    ids = domain.codec.vocabulary.encode([f"why{U}no{A}well"])[0]
    x = torch.full((2, space.length), space.pad)
    x[0, : len(ids)] = torch.from_numpy(ids)
    c = domain.condition({"prompt": ["no", None]}, 2)
    made = domain.decode(x, space, c)
    assert made.items == ("why", "")
    assert made.conditions["prompt"] == (f"{U}no{A}", None)
    assert domain.texts(made) == ("USER: no\nASSISTANT: why", "")
    (path,) = domain.save(made.take([0]), tmp_path / "made.jsonl", {"seed": "0"})
    assert json.loads(path.read_text())["messages"] == [
        {"role": "user", "content": "no"},
        {"role": "assistant", "content": "why"},
    ]
    assert b"ASSISTANT: why" in domain.show(made)


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("why", f"{U}why{A}"),
        ("USER: why", f"{U}why{A}"),
        ("USER: why\nASSISTANT:", f"{U}why{A}"),
        ("USER: why\nASSISTANT: we", f"{U}why{A}we"),
        (f"{U}why", f"{U}why{A}"),
        ([{"role": "user", "content": "why"}], f"{U}why{A}"),
        (
            [{"role": "user", "content": "why"}, {"role": "assistant", "content": "we"}],
            f"{U}why{A}we",
        ),
        ("", ""),
    ],
)
def test_a_prompt_is_what_the_model_is_to_answer(tmp_path, prompt, read):
    domain = fitted(load(tmp_path, talk(), tokenizer="characters"))
    values, _ = domain.condition({"prompt": [prompt]}, 1)["prompt"]
    assert values[0, 0] == domain.end
    assert domain.codec.vocabulary.decode(values[0, 1:].numpy()) == read


def test_samples_of_dialogues_are_answers_and_need_a_question(tmp_path):
    load(tmp_path, talk())
    model = lw.fit(tmp_path / "talk.jsonl", "ngram", steps=1)
    made = model.sample(9, {"prompt": "why"})
    assert not any(mark in text for text in made.items for mark in (S, U, A))
    saved = model.save(tmp_path / "model")
    wishes = {"numbers": [range(3)], "family": None, "seed": 0, "controls": {}}
    out = tmp_path / "out.jsonl"
    with pytest.raises(
        UsageError, match=r"was asked nothing. Talk with it: likewise chat .*model"
    ):
        sample_to_files(saved, where={}, out=out, **wishes)
    sample_to_files(saved, where={"prompt": "USER: why"}, out=out, **wishes)
    rows = [json.loads(line)["messages"] for line in out.read_text().splitlines()]
    assert [[one["role"] for one in row] for row in rows] == [["user", "assistant"]] * 3


def test_a_target_comes_with_its_source(tmp_path):
    rows = [{"source": f"day {i}", "target": f"the {i}th"} for i in range(40)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    records = Text.load(tmp_path / "pairs.jsonl")
    domain = fitted(records)
    asked = domain.asks(records.take([3, 5]))
    assert list(asked) == ["source"]
    x, _ = domain.source(records.take([3, 5]), domain.views()[0], train=False).batch(
        torch.arange(2), Draws(0)
    )
    made = domain.decode(x, domain.views()[0], asked)
    assert made.conditions["source"] == ("day 3", "day 5")
    assert domain.texts(made) == ("day 3\n→ the 3th", "day 5\n→ the 5th")
    (path,) = domain.save(made.take([0]), tmp_path / "made.jsonl", {"seed": "0"})
    assert json.loads(path.read_text()) == {"target": "the 3th", "source": "day 3"}


def test_plain_texts_answer_nothing():
    assert fitted(Text.toy()).asks(Text.toy().take([0])) == {}
