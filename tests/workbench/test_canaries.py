"""Canaries from the command line: planted in train alone, asked of a model, told by the audit."""

import json
import random

import pytest

import likewise as lw
from likewise.cli.main import app, guarded
from likewise.core.errors import StoreError, UsageError
from likewise.store.files import read_json
from likewise.workbench.canaries import canaries_file
from likewise.workbench.data import Prepared, load

RNG = random.Random(0)
WORDS = ["river", "stone", "cloud", "amber", "violet", "thunder", "meadow", "copper", "orchard"]
TEXTS = [" ".join(RNG.choices(WORDS, k=12)) for _ in range(400)]


HELD = 3


def likewise(capsys, *words, code=0):
    found = guarded(lambda: app([*map(str, words)], standalone_mode=False))
    assert found in (code, HELD)
    said = capsys.readouterr()
    return " ".join((said.err if code else said.out).split())


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    path = folder / "texts.jsonl"
    rows = [{"text": text, "label": "ab"[row % 2]} for row, text in enumerate(TEXTS)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path, lw.plant(path, folder / "out", repeats=[1, 16], each=8, seed=1)


def test_canaries_stand_in_train_alone_and_the_split_is_kept(planted):
    path, made = planted
    parts = {
        part: [json.loads(line) for line in (made.data / part / "texts.jsonl").open()]
        for part in ("train", "valid", "test")
    }
    prepared = Prepared.of(load(path))
    for part in ("valid", "test"):
        assert sorted(row["text"] for row in parts[part]) == sorted(prepared.part(part).items)
    assert {row["label"] for row in parts["train"]} == {"a", "b"}
    train = "\n".join(row["text"] for row in parts["train"])
    for canary in made.canaries:
        assert train.count(canary.text) == canary.repeats
    assert sorted({canary.repeats for canary in made.canaries}) == [0, 1, 16]
    assert canaries_file(made.file) == list(made.canaries)


def test_what_a_model_knows_of_them_is_told_and_judged(planted, tmp_path, capsys):
    _, made = planted
    model = lw.fit(made.data, "ngram", steps=1)
    some = made.canaries[8:12] + made.canaries[-4:]  # planted 16 times, and never
    values = [one.value for one in lw.exposures(model, some)]
    assert sum(values[:4]) / 4 > 9 > 5 > sum(values[4:]) / 4
    likewise(capsys, "train", "ngram", made.data, "--out", tmp_path / "run", "-q")
    words = ["audit", tmp_path / "run", "--family", "ngram", "-q", "--json"]
    likewise(capsys, *words, "--canaries", made.file)
    (finding,) = [
        one
        for one in read_json(tmp_path / "run" / "ngram" / "audit.json")["findings"]
        if one["rule"] == "canaries"
    ]
    assert "(8 planted 16 times)" in finding["sentence"]
    assert finding["outcome"] == "fail"
    for file in ("run.json", "ngram/audit.json", "ngram/codec.json"):
        told = (tmp_path / "run" / file).read_text()
        assert not any(one.text in told for one in made.canaries)


def test_what_cannot_be_planted_is_said(planted, tmp_path, capsys):
    path, made = planted
    with pytest.raises(UsageError, match="what is written must be new"):
        lw.plant(path, made.data, repeats=[1], each=1)
    for repeats, each in (([0], 1), ([], 1), ([1], 0)):
        with pytest.raises(UsageError, match="repeats of canaries must be 1 or more"):
            lw.plant(path, tmp_path / "new", repeats=repeats, each=each)
    with pytest.raises(UsageError, match="planted in must be plain texts"):
        lw.plant("digits", tmp_path / "new", repeats=[1], each=1)
    said = likewise(capsys, "plant", path, tmp_path / "new", "--repeats", "1,x", code=2)
    assert "repeats must be whole numbers such as 1,4,16,64; got '1,x'" in said
    assert not (tmp_path / "new").exists()
    (tmp_path / "bad.json").write_text('{"canaries": [[1, 2]]}')
    with pytest.raises(StoreError, match="holds no canaries"):
        canaries_file(tmp_path / "bad.json")
    with pytest.raises(UsageError, match="canaries must be the file that `likewise plant` wrote"):
        canaries_file(tmp_path / "none.json")
