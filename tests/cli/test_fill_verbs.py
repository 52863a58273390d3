"""The verbs infill and translate, and words for an audit, as a person meets them."""

import io
import json
import random
import sys

import pytest

import likewise as lw
from likewise.cli.main import app, guarded
from likewise.store.files import read_json

SMALL = {"width": "16", "depth": "1", "heads": "1", "hidden": "32", "batch": "8"}


def likewise(capsys, *words, code=0):
    """What the command says; the exit code is what it should be."""
    found = guarded(lambda: app([*map(str, words)], standalone_mode=False))
    said = capsys.readouterr()
    held = words[0] == "audit" and found == 3
    assert held or found == code, said.err
    return said.out if code == 0 else " ".join(said.err.split())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two small saved models of strings, and one of pairs."""
    folder = tmp_path_factory.mktemp("models")
    rng = random.Random(0)
    strings = ["".join(rng.choices("abc", k=8)) for _ in range(60)]
    lw.fit(strings, "masked", steps=2, settings=SMALL).save(folder / "masked")
    with (folder / "pairs.jsonl").open("w") as file:
        for text in strings:
            file.write(json.dumps({"source": text, "target": text[::-1]}) + "\n")
    pairs = {**SMALL, "groups": "1"}
    lw.fit(folder / "pairs.jsonl", "transformer", steps=2, settings=pairs).save(folder / "pairs")
    return folder


def test_infill_says_the_whole_text(models, capsys, monkeypatch):
    said = likewise(capsys, "infill", models / "masked", "ab[[3]]ca", "--seed", 1)
    assert (said[:2], said[5:]) == ("ab", "ca\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("ab[[3]]ca"))
    assert likewise(capsys, "infill", models / "masked", "-", "--seed", 1) == said


def test_translate_says_a_line_for_each_source(models, capsys, monkeypatch):
    words = ["translate", models / "pairs"]
    said = likewise(capsys, *words, "abcabcab", "ccccaaaa")
    assert len(said.splitlines()) == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO("abcabcab\nccccaaaa\n"))
    assert likewise(capsys, *words, "-") == said
    monkeypatch.setattr(sys, "stdin", io.StringIO("abcabcab\n\nccccaaaa\n"))
    assert likewise(capsys, *words, "-").splitlines() == [said.split()[0], "", said.split()[1]]
    drawn = likewise(capsys, *words, "abcabcab", "--beams", 1, "--seed", 3, "--temperature", 0.5)
    again = likewise(capsys, *words, "abcabcab", "--beams", 1, "--seed", 3, "--temperature", 0.5)
    assert drawn == again


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["infill", "masked", "abc"], 2, "a text must be one with a gap; got 'abc'"),
        (["infill", "masked", "a[[99]]"], 2, "a gap must be of 1 to"),
        (["infill", "masked", "Ω[[1]]"], 2, "characters that the training texts never had: 'Ω'"),
        (["infill", "pairs", "a[[1]]"], 2, "Take a family that does, such as masked."),
        (["infill", "nowhere", "a[[1]]"], 1, "nowhere"),
        (["translate", "masked", "abc"], 2, "was not trained on pairs of texts"),
        (["translate", "pairs", ""], 2, "a source must be a text; got ''"),
        (["translate", "pairs", "abc", "--beams", "0"], 2, "beams must be 1 or more; got 0"),
        (["translate", "pairs", "abc", "--top-k", "3"], 2, "top_k shapes draws"),
        (["translate", "pairs"], 2, "Missing argument"),
    ],
)
def test_mistakes_are_said_in_words(models, capsys, monkeypatch, words, code, sentence):
    monkeypatch.chdir(models)
    assert sentence in likewise(capsys, *words, code=code)


# -- words of groups ----------------------------------------------------------------------


def said_of(n, seed):
    """Short texts of women and men, with a word that praises or blames."""
    rng, names = random.Random(seed), ["She", "He"]
    praise = ["good", "bad"]
    place = ["river", "stone", "cloud", "meadow", "harbour", "garden", "valley", "forest"]
    return [
        " ".join(
            f"{rng.choice(names)} was {rng.choice(praise)} by the {rng.choice(place)}."
            for _ in range(3)
        )
        for _ in range(n)
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of texts that speak of women and men alike."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "texts.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in said_of(1200, 0))
    )
    lw.run(folder / "texts.jsonl", time="20s", families=["ngram"], out=folder / "run")
    return folder / "run"


def rules(audit):
    return {finding["rule"] for finding in audit["findings"]} | set(audit["left_out"])


def test_an_audit_looks_at_the_words_it_is_given_and_keeps_them(run, capsys, tmp_path):
    words = tmp_path / "words.json"
    groups = {"women": ["she", "her"], "men": ["he", "him"]}
    words.write_text(json.dumps(groups))
    name, file = "balance of women and men", run / "ngram" / "audit.json"
    assert name not in rules(read_json(file))
    audits = json.loads(
        likewise(capsys, "audit", run, "--family", "ngram", "--words", words, "--json")
    )
    found = next(f for f in audits["ngram"]["findings"] if f["rule"] == name)
    assert found["controls"] == {"positive": "fail", "negative": "pass"}
    assert read_json(run / "run.json")["words"] == groups
    assert name in rules(read_json(file))
    likewise(capsys, "audit", run, "--family", "ngram", "--json")
    assert name in rules(read_json(file)), "the run keeps its words in mind"
    likewise(capsys, "report", run)
    assert name in (run / "report.html").read_text()
    words.write_text(json.dumps({"cats": ["cat"], "dogs": ["dog"]}))
    likewise(capsys, "audit", run, "--family", "ngram", "--words", words)
    assert "balance of cats and dogs" in read_json(file)["left_out"]


def test_words_that_cannot_be_are_refused_and_change_nothing(run, capsys, tmp_path):
    words, before = tmp_path / "words.json", (run / "run.json").read_bytes()
    words.write_text('{"women": ["she"]}')
    for place, code, sentence in (
        (words, 2, "groups must be at least two lists of words; got ['women']"),
        (tmp_path / "nowhere.json", 2, "words must be a file of JSON"),
        (run / "report.html", 2, "a file of words must be of at most 64 KiB"),
    ):
        said = likewise(capsys, "audit", run, "--words", place, code=code)
        assert sentence in said
    assert (run / "run.json").read_bytes() == before


def test_pictures_have_no_words(capsys, tmp_path):
    lw_run = tmp_path / "run"
    likewise(capsys, "train", "gmm", "digits", "--steps", 1, "--out", lw_run, "-q")
    words = tmp_path / "words.json"
    words.write_text('{"women": ["she"], "men": ["he"]}')
    said = likewise(capsys, "audit", lw_run, "--words", words, code=2)
    assert "words of groups are looked for in texts, and these are images" in said
