"""The whole way of texts: run, scores, audit, samples, the verbs of texts."""

import io
import json
import random
import sys

import pytest
import torch

import likewise as lw
from likewise.auditing.material import Losses
from likewise.cli.texts import chat_job, complete_job
from likewise.core.contract import Controls
from likewise.core.errors import DataError, UsageError
from likewise.store.files import read_json
from likewise.workbench.data import Prepared, load
from likewise.workbench.texts import RunTexts, continuing, joined, spelled

SMALL = {"width": "16", "depth": "1", "heads": "1", "groups": "1", "hidden": "32", "batch": "8"}
WORDS = ["river", "stone", "cloud", "amber", "violet", "thunder", "meadow", "copper", "orchard"]


def story(n, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(4, 9))) + "." for _ in range(n)]


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    out = tmp_path_factory.mktemp("texts") / "run"
    return lw.run(story(500), time="6s", families=["ngram"], out=out)


def test_texts_are_ranked_by_bits_per_byte(board):
    assert board.headline == "bits_per_byte"
    rows = {row["name"]: row["scores"] for row in board.rows}
    assert rows["ngram"]["bits_per_byte"]["value"] < rows["independent"]["bits_per_byte"]["value"]
    for name in ("bits_per_character", "perplexity", "distinct_2", "verbatim"):
        assert rows["ngram"][name]["value"] is not None, name
    assert rows["real vs real"]["distinct_2"]["value"] is not None


def test_the_audit_reads_texts_too(board):
    audit = read_json(board.path / "ngram" / "audit.json")
    said = {finding["rule"] for finding in audit["findings"]} | set(audit["left_out"])
    for rule in ("recitation", "extraction", "membership by zlib", "personal data", "copying"):
        assert rule in said, rule
    copier = read_json(board.path / "copier" / "audit.json")
    assert copier["verdict"] == "hold"


def test_the_page_shows_what_was_written(board):
    samples = read_json(board.path / "ngram" / "samples" / "grid.json")["texts"]
    assert sum(any(word in text for word in WORDS) for text in samples[:20]) > 15
    assert "Bits per byte" in (board.path / "report.html").read_text()


def test_passages_that_follow_one_another_are_one_text():
    text = "".join(story(300))
    records = load([text], tokenizer="characters", context=64)
    prepared = Prepared.of(records)
    train = RunTexts.of(prepared, 0).train
    assert len(train) == 1
    assert text.startswith(train[0])
    assert joined(("a", "b")) == ["a", "b"]


def test_data_that_is_no_text_has_none():
    assert RunTexts.of(Prepared.of(load("digits")), 0) is None


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = lw.fit(story(60), "transformer", steps=3, settings=SMALL)
    return model.save(tmp_path_factory.mktemp("texts") / "model")


def test_what_writes_on_is_the_likeliest(saved):
    go_on = continuing(lw.open(saved))
    first = go_on(["the"], 5)
    assert len(first[0]) >= 5 or first[0].endswith(".")
    assert first == go_on(["the"], 5)
    assert continuing(lw.fit(story(60), "independent", steps=1)) is None


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    rng, folder = random.Random(1), tmp_path_factory.mktemp("talks")
    with (folder / "talks.jsonl").open("w") as file:
        for _ in range(80):
            said = {"role": "user", "content": f"tell me of the {rng.choice(WORDS)}"}
            answer = {"role": "assistant", "content": " ".join(rng.choices(WORDS, k=4))}
            file.write(json.dumps({"messages": [said, answer]}) + "\n")
    model = lw.fit(folder / "talks.jsonl", "transformer", steps=3, settings=SMALL)
    return model.save(folder / "model")


def test_a_conversation_goes_line_by_line_until_an_empty_one(talker, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("tell me\nof the river\n\nnever read\n"))
    chat_job(talker, None, device="cpu", system=None, most=6, controls=controls(), seed=0)
    said = capsys.readouterr().out
    assert said.count("you ") == 3
    assert "million parameters" in said


def controls():
    return Controls(temperature=0.9)


def test_complete_says_the_prompt_and_goes_on(saved, capsys):
    complete_job(saved, "the", None, device="cpu", most=8, controls=controls(), stop=[], seed=0)
    said = capsys.readouterr().out
    assert said.startswith("the")
    assert len(said) > len("the\n")


def test_complete_names_what_it_cannot_spell(saved):
    with pytest.raises(UsageError, match="characters that the training texts never had: 'Ω'"):
        complete_job(saved, "Ω", None, device="cpu", most=8, controls=controls(), stop=[], seed=0)


def test_chat_needs_dialogues_and_says_so(saved, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n\n"))
    with pytest.raises(UsageError, match="dialogue"):
        chat_job(saved, None, device="cpu", system=None, most=8, controls=controls(), seed=0)


def test_likelihoods_of_test_texts_read_all_of_them(board):
    row = next(row for row in board.rows if row["name"] == "independent")
    assert row["scores"]["bits_per_byte"]["n"] == 75
    assert torch.isfinite(torch.tensor(row["scores"]["bits_per_byte"]["value"]))


@pytest.mark.parametrize("tokenizer", ["characters", "bytes"])
def test_a_text_known_by_heart_is_extracted_in_any_tokens(tokenizer):
    rng = random.Random(1)
    texts = ["".join(rng.choices("абвгдежзик ", k=110)) for _ in range(60)]
    model = lw.fit(texts, "ngram", tokenizer=tokenizer, settings={"order": "16"})
    written = continuing(model)([text[:50] for text in texts], 50)
    known = sum(one[:50] == text[50:100] for one, text in zip(written, texts, strict=True))
    assert known > 30  # 70 % of them train


@pytest.mark.parametrize(
    ("count", "asked", "aside"), [(900, 500, 90), (900, 60, 210), (400, 500, 0)]
)
def test_a_third_of_few_held_out_texts_makes_the_reference(count, asked, aside):
    """Although the model is asked about all of them."""
    real = RunTexts.of(Prepared.of(load(story(count))), 0)
    rows = [(part, torch.arange(n)) for part, n in sizes(real, asked)]
    losses = Losses(*(torch.zeros(len(some)) for _, some in rows))
    train, valid, test = real._losses(losses, rows)
    if not aside:
        assert {part.reference for part in (train, valid, test)} == {None}
        return
    seen = [part.reference.isnan() for part in (train, valid, test)]
    assert not seen[0].any()
    met = int(seen[1].sum() + seen[2].sum())
    assert met == max(0, aside - 2 * max(0, 135 - asked // 2))


def sizes(real, asked):
    """How many texts of each part are asked about."""
    held_out = [(part, min(asked // 2, len(real._all(part)))) for part in ("valid", "test")]
    return [("train", min(asked, len(real._all("train")))), *held_out]


def test_an_address_that_became_a_token_fails(monkeypatch):
    rows = [f"{row} a{i}@post.org" if i % 4 else row for i, row in enumerate(story(400))]
    model = lw.fit(rows, "ngram", steps=1)
    assert "@" in spelled(model)
    told = RunTexts.of(Prepared.of(load(rows)), 0).train
    token = next(text.split()[-1] for text in told if "@" in text)
    monkeypatch.setattr("likewise.workbench.texts.spelled", lambda model: [token])
    found = {finding.rule: finding for finding in lw.audit(model, rows).findings}
    assert found["personal data"].outcome == "fail"
    assert found["personal data"].sentence.count("that leave with the model: 1.") == 1


def test_characters_that_train_never_had_do_not_stop_the_audit(saved):
    (one,) = continuing(lw.open(saved))(["river \u263a stone"], 5)
    assert isinstance(one, str)


def test_one_long_text_is_asked_for_too():
    records = load([" ".join(story(4000))], tokenizer="characters", context=256)
    real = RunTexts.of(Prepared.of(records), 0)._real
    assert len(real.train) == 1
    assert sum(len(piece) >= 100 for piece in real.pieces) >= 50


def test_texts_that_the_tokens_cannot_spell_are_refused(saved, tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("\n".join(text.replace("river", "река") for text in story(200)))
    with pytest.raises(DataError, match=r"% of the characters of the data have no token in"):
        lw.fit(path, "transformer", steps=2, start=lw.open(saved))


def test_a_refused_line_does_not_end_a_chat(monkeypatch, capsys, tmp_path):
    rows = [{"messages": [{"role": "user", "content": "hi"},
                          {"role": "assistant", "content": f"{text}"}]}
            for text in story(60)]  # fmt: skip
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    model = lw.fit(path, "transformer", steps=2, settings=SMALL).save(tmp_path / "talk")
    monkeypatch.setattr(sys, "stdin", io.StringIO("Ж?\nhi\n\n"))
    chat_job(model, None, device="cpu", system=None, most=5, controls=controls(), seed=0)
    said = capsys.readouterr().out
    assert "error" in said
    assert "'Ж'" in said
    assert said.count("you") >= 3


def test_pieces_are_told_from_what_they_are_pieces_of(talker):
    facts = Prepared.of(
        load([" ".join(story(40, seed)) for seed in range(30)], context=64)
    ).facts()
    assert facts["documents"] == 30
    assert facts["amount"] == f"30 documents in {facts['records']:,} passages"
    talks = Prepared.of(load(talker.parent / "talks.jsonl")).facts()
    assert "amount" not in talks  # a dialogue of one answer is one record
    assert "amount" not in Prepared.of(load(story(60))).facts()
