"""The whole way of dialogues: answers to held-out prompts, which stay private, and their end."""

import json
import random

import numpy as np
import pytest
import torch

import likewise as lw
from likewise.core.controls import Controls
from likewise.core.records import split
from likewise.core.rng import Draws
from likewise.core.space import Sequence, space_from_json, space_to_json
from likewise.domains.text import Text
from likewise.nn.decoding import written
from likewise.store.files import read_json
from likewise.tasks.texts import complete
from likewise.workbench.data import Prepared

WORDS = ["river", "stone", "cloud", "amber", "violet", "thunder", "meadow", "copper"]


def write(folder, answer, n=150):
    rng = random.Random(0)
    with (folder / "talk.jsonl").open("w") as file:
        for _ in range(n):
            messages = []
            for _ in range(2):
                asked = " ".join(rng.choices(WORDS, k=3))
                messages += [
                    {"role": "user", "content": f"what of {asked}?"},
                    {"role": "assistant", "content": answer(rng)},
                ]
            file.write(json.dumps({"messages": messages}) + "\n")
    return folder / "talk.jsonl"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dialogues")
    path = write(folder, lambda rng: " and ".join(rng.choices(WORDS, k=rng.randint(3, 6))))
    return lw.run(path, time="6s", families=["ngram"], out=folder / "run")


def test_samples_of_a_run_are_answers_and_their_prompts_are_private(board):
    shown = read_json(board.path / "ngram" / "samples" / "grid.json")["texts"]
    assert sum(any(word in text for word in WORDS) for text in shown) > 50
    assert not any("what of" in text or "USER" in text for text in shown)
    private = read_json(board.path / "private" / "ngram-answers.json")["texts"]
    assert len(private) == len(shown)
    for text, answer in zip(private, shown, strict=True):
        assert text.startswith("USER: what of ")
        assert text.endswith(f"\nASSISTANT: {answer}")
    assert "what of" not in (board.path / "report.html").read_text()
    page = lw.report(board.path, with_train=True).read_text()
    assert "what it answers to held-out dialogues" in page


def test_scores_are_of_answers_alone(board):
    row = next(row for row in board.rows if row["name"] == "ngram")
    assert row["scores"]["bits_per_byte"]["n"] > 40
    assert row["scores"]["bits_per_byte"]["value"] < 1.5  # 8 words: about half a bit a byte


def test_held_out_prompts_are_those_of_test_records(tmp_path):
    prepared = Prepared.of(lw.load(write(tmp_path, lambda rng: rng.choice(WORDS))))
    values, present = prepared.asked(100)["prompt"]
    assert len(values) == 100
    assert bool(present.all())
    source = prepared.source("test")
    _, c = source.batch(torch.arange(len(source)), Draws(0))
    known = {tuple(row) for row in c["prompt"][0].tolist()}
    assert {tuple(row) for row in values.tolist()} == known
    assert Prepared.of(Text.toy()).asked(9) == {}


def test_equal_answers_do_not_bind_dialogues_together(tmp_path):
    records = lw.load(write(tmp_path, lambda rng: rng.choice(["yes", "no"])))
    assert len(set(records.hashes())) == len(records)
    parts = split(records, seed=0)
    assert min(len(parts.valid), len(parts.test)) >= 30
    groups = np.array(records.groups)
    homes = [set(groups[parts.part(name)]) for name in ("train", "valid", "test")]
    assert sum(map(len, homes)) == len(set.union(*homes)) == 150


def test_a_row_is_over_where_another_speaks():
    class Cycle:
        def begin(self, rows, lengths):
            return self.told(rows.gather(1, lengths[:, None] - 1)[:, 0])

        def step(self, tokens):
            return self.told(tokens)

        def told(self, tokens):
            return torch.nn.functional.one_hot((tokens + 1) % 6, 6).float().log()

        def keep(self, rows):
            pass

    space = Sequence(length=6, tokens=8, end=5, pad=7, packed=True, over=(3,))
    rows, one = torch.tensor([[0], [3]]), torch.ones(2, dtype=torch.int64)
    made = written(Cycle(), rows, one, 6 * one, space=space, rng=Draws(0), controls=Controls())
    assert made.tolist() == [[1, 2, 3, 7, 7, 7], [4, 5, 7, 7, 7, 7]]
    assert space_from_json(json.loads(json.dumps(space_to_json(space)))).over == (3,)
    assert space == Sequence(length=6, tokens=8, end=5, pad=7, packed=True)


def test_what_is_completed_is_the_answer_that_is_drawn(board):
    model = lw.open(board.path, "ngram")
    found = complete(model, ["what of river?"] * 9, seed=3)
    drawn = model.sample(9, {"prompt": "what of river?"}, seed=3).items
    over = [one.finish == "stop" for one in found]
    assert sum(over) > 3  # the others are cut where the context is full
    for one, text, stopped in zip(found, drawn, over, strict=True):
        assert text == one.text if stopped else text.startswith(one.text)
