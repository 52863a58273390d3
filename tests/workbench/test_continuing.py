"""Going on from a trained model."""

import json
import random
import shutil

import numpy as np
import pytest
import torch

import likewise as lw
from likewise.core.errors import DataError, StoreError, UsageError
from likewise.store.files import tensors_digest
from likewise.workbench.continuing import widened
from likewise.workbench.data import Prepared, load
from likewise.workbench.listen import Listener
from likewise.workbench.repeat import train_run
from likewise.workbench.wishes import Wishes
from tests.domains.dialogues import A, U
from tests.domains.dialogues import load as load_dialogues

WORDS = ["river", "stone", "cloud", "amber", "violet", "thunder", "meadow", "copper", "orchard"]
RNG = random.Random(0)
TEXTS = [" ".join(RNG.choices(WORDS, k=9)) for _ in range(120)]
MORE = [" ".join(RNG.choices(WORDS, k=9)) for _ in range(120)]
NEW = [" ".join(RNG.choices([word[::-1] for word in WORDS], k=9)) for _ in range(120)]
DIALOGUES = [[(U, text[:20].strip()), (A, text[20:].strip())] for text in MORE]
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
        (
            "transformer",
            {"settings": {"width": "64"}},
            "changed: table.weight must be .*; got .*Change only how",
        ),
        ("transformer", {"lora": 0}, "lora must be a rank of at least 1"),
        ("transformer", {"lora": 999}, "rank must be 1 to 32 for a layer of"),
    ],
)
def test_what_cannot_go_on_is_said(model, family, changes, says):
    with pytest.raises(UsageError, match=says):
        lw.fit(NEW, family, steps=1, start=model, **changes)


def test_what_cannot_go_on_leaves_no_run_behind(model, tmp_path):
    words = (tmp_path / "words.txt").absolute()
    words.write_text("\n".join(NEW))
    start = model.save(tmp_path / "model")
    for wishes, lora, says in (
        (Wishes(steps=1), 999, "rank must be"),
        (Wishes(steps=1, settings={"width": "64"}), None, "do not fit the settings"),
    ):
        given = {"out": tmp_path / "run", "options": {}, "listener": Listener()}
        with pytest.raises(UsageError, match=says):
            train_run("transformer", words, wishes, start=start, lora=lora, **given)
        assert not (tmp_path / "run").exists()


def test_labels_that_nothing_reads_are_told(model):
    records = load((NEW, ["a", "b"] * 60), **model.domain.alike())
    notes = Prepared.of(records, model.domain).facts()["notes"]
    assert sum("the labels of the data steer nothing" in note for note in notes) == 1
    known = Prepared.of(records)
    assert Prepared.of(records, known.domain).facts()["notes"] == known.facts()["notes"]


def test_adapters_begin_alike_for_equal_seeds(model):
    torch.manual_seed(1)
    one = lw.fit(NEW, "transformer", steps=3, start=model, lora=2, seed=5)
    torch.manual_seed(2)
    other = lw.fit(NEW, "transformer", steps=3, start=model, lora=2, seed=5)
    third = lw.fit(NEW, "transformer", steps=3, start=model, lora=2, seed=6)
    for name, weight in one.family.state_dict().items():
        assert torch.equal(weight, other.family.state_dict()[name])
    assert not all(
        torch.equal(weight, third.family.state_dict()[name])
        for name, weight in one.family.state_dict().items()
    )


def test_a_model_says_whose_weights_it_went_on_from(model, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("\n".join(NEW))
    given = {"options": {}, "listener": Listener(), "out": tmp_path / "run"}
    start = model.save(tmp_path / "model")
    train_run("transformer", words, Wishes(steps=1), start=start, **given)
    later = lw.open(tmp_path / "run")
    assert later.facts["from"] == tensors_digest(model.family.state_dict())
    shutil.rmtree(start)
    lw.fit(TEXTS, "transformer", steps=2, settings=SMALL).save(start)
    with pytest.raises(StoreError, match="other data or options"):
        train_run("transformer", words, Wishes(steps=1), start=start, **given)


@pytest.mark.parametrize("option", ["tokenizer", "vocabulary", "context"])
def test_what_the_model_has_settled_cannot_be_asked_for(model, option):
    given = {option: {"tokenizer": "bytes"}.get(option, 300)}
    with pytest.raises(UsageError, match=f"{option} is settled by the model that training goes"):
        lw.fit(NEW, "transformer", steps=1, start=model, **given)


def test_data_of_another_kind_are_named(model):
    with pytest.raises(DataError, match="the data must be text, as before; got 'images'"):
        lw.fit("digits", "transformer", steps=1, start=model)


def test_adapters_want_linear_layers():
    begun = lw.fit(TEXTS, "rnn", steps=1, settings={"width": "32"})
    with pytest.raises(UsageError, match="rnn has no linear layers that adapters could"):
        lw.fit(NEW, "rnn", steps=1, start=begun, lora=2)


def test_settings_that_cannot_be_are_refused_before_a_run_begins(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("\n".join(NEW))
    given = {"options": {}, "listener": Listener(), "out": tmp_path / "run"}
    for settings in ({"heads": "5"}, {"head_dim": "7"}, {"scaling": '{"rope_type": "yarn"}'}):
        for length in ({"steps": 1}, {"time": "1s"}):
            with pytest.raises(UsageError):
                train_run("transformer", words, Wishes(settings=settings, **length), **given)
            assert not (tmp_path / "run").exists()


def test_names_of_control_tokens_are_plain_text_in_a_dialogue(tmp_path):
    """What a person types ends no turn and erases nothing, whatever it is."""
    pytest.importorskip("tokenizers")
    load_dialogues(tmp_path, DIALOGUES)
    begun = lw.fit(TEXTS, "transformer", steps=1, settings={**SMALL, "runs": "0"}, tokenizer="bpe")
    hf = lw.export(begun, tmp_path / "hf")
    (hf / "likewise.json").unlink()  # as a checkpoint from elsewhere, whose tokens have names
    talks = lw.fit(tmp_path / "talk.jsonl", "transformer", steps=1, start=lw.open(hf))
    names = [
        one["content"] for one in json.loads((hf / "tokenizer.json").read_text())["added_tokens"]
    ]
    assert names
    special = {talks.domain.end, talks.domain.pad, *talks.domain.roles.values()}
    for name in names:
        assert not special & set(talks.domain.encode(f"river {name} stone"))
        messages = [
            {"role": "system", "content": "cloud"},
            {"role": "user", "content": f"river {name} stone"},
        ]
        values, _ = talks.domain.condition({"prompt": messages}, 1)["prompt"]
        assert values[0, 1:].tolist().count(talks.domain.end) == 0


def test_half_a_character_is_refused(model):
    broken = b"ri\xffver".decode("utf-8", "surrogateescape")
    with pytest.raises(
        UsageError, match="a prompt must be text; got 'half a character at place 2"
    ):
        lw.complete(model, [broken])


def test_adapters_need_a_model():
    with pytest.raises(UsageError, match="lora needs a model to go on from"):
        lw.fit(NEW, "transformer", steps=1, lora=4)


FAMILIES = {
    "transformer": SMALL,
    "rnn": {"width": "32", "batch": "16"},
    "masked": {"width": "32", "depth": "1", "heads": "2", "hidden": "32", "batch": "16"},
}


@pytest.fixture(scope="module", params=FAMILIES)
def taught(request, tmp_path_factory):
    """A model of plain texts, and the same after dialogues."""
    folder = tmp_path_factory.mktemp("taught")
    begun = lw.fit(TEXTS, request.param, steps=20, settings=FAMILIES[request.param])
    load_dialogues(folder, DIALOGUES)
    return begun, lw.fit(folder / "talk.jsonl", request.param, steps=30, start=begun)


def test_a_model_of_plain_texts_learns_to_take_turns(taught, tmp_path):
    begun, talks = taught
    before, now = begun.domain, talks.domain
    assert talks.family.space.tokens == begun.family.space.tokens + 3
    assert list(now.roles.values()) == list(range(*np.array([0, 3]) + begun.family.space.tokens))
    assert now.encode(TEXTS[0]) == before.encode(TEXTS[0])
    assert (now.end, now.pad, now.codec.vocabulary.unknown) == (
        before.end, before.pad, before.codec.vocabulary.unknown,
    )  # fmt: skip
    again = lw.open(talks.save(tmp_path / "model"))
    assert again.domain.state() == now.state()
    read = again.domain.codec.vocabulary.encode([f"{U}river{A}stone"])[0]
    assert again.domain.codec.vocabulary.decode(read) == f"{U}river{A}stone"
    for other in (again, talks):
        if "temperature" in other.family.claims.controls and other.name != "masked":
            said = "".join(lw.Conversation(other, seed=1).say("river stone"))
            assert set(said) <= set(" ".join(WORDS))


def test_rows_of_new_tokens_stand_behind_those_that_were_there():
    old = {"table": torch.arange(8.0).view(4, 2), "other": torch.ones(3), "whole": torch.ones(4)}
    new = {"table": torch.zeros(7, 2), "other": torch.zeros(3), "whole": torch.zeros(5)}
    weights, grown = widened(old, new, 3, 6)
    assert grown == {"table"}
    mean = [2.0, 3.0]
    assert weights["table"].tolist() == [[0, 1], [2, 3], [4, 5], mean, mean, mean, [6, 7]]
    assert weights["other"] is old["other"]
    assert weights["whole"] is old["whole"]


def test_adapters_learn_new_tokens_in_full(model, tmp_path):
    load_dialogues(tmp_path, DIALOGUES)
    later = lw.fit(tmp_path / "talk.jsonl", "transformer", steps=10, start=model, lora=2)
    marks = later.family.table.weight[-3:]
    assert not torch.allclose(marks[0], marks[1])
    assert all(p.requires_grad for p in later.family.parameters())


def test_a_model_of_plain_texts_learns_pairs(model, tmp_path):
    rows = [{"source": text, "target": " ".join(reversed(text.split()))} for text in TEXTS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    later = lw.fit(tmp_path / "pairs.jsonl", "transformer", steps=5, start=model)
    assert [one.name for one in later.domain.conditions()] == ["prompt", "source"]
    (found,) = lw.translate(later, ["river stone"])
    assert set(found) <= set(" ".join(WORDS))


def test_what_learned_turns_later_exports_with_its_marks(model, tmp_path):
    hf = pytest.importorskip("transformers")
    load_dialogues(tmp_path, DIALOGUES)
    begun = lw.fit(TEXTS, "transformer", steps=2, settings={**SMALL, "runs": "0"})
    talks = lw.fit(tmp_path / "talk.jsonl", "transformer", steps=2, start=begun)
    lw.export(talks, tmp_path / "hf")
    theirs = hf.AutoTokenizer.from_pretrained(tmp_path / "hf")
    messages = [{"role": "user", "content": "river"}]
    prompt, _ = talks.domain.condition({"prompt": messages}, 1)["prompt"]
    found = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert found == prompt[0].tolist()
    closing = json.loads((tmp_path / "hf" / "generation_config.json").read_text())
    roles = talks.domain.roles
    assert closing["eos_token_id"] == [talks.domain.end, roles["system"], roles["user"]]
