"""The text domain as a codec: records and windows, prompts, sizes, what is scored, and back."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core import registry
from likewise.core.condition import Labels
from likewise.core.contract import Domain
from likewise.core.errors import DataError, StoreError, UsageError
from likewise.core.records import Records, split
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.domains.text import Text
from likewise.domains.text.corpus import Passages, Spool, passages_of
from tests.domains.texts import every, fitted, load_chats, load_long, long_text, real, story

U, A = "\ue001", "\ue002"


def test_the_registry_finds_one_domain():
    found = registry.get("domains", "text")
    assert found is Text
    assert issubclass(found, Domain)
    assert found.headline == "bits_per_byte"


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "bpe", "unigram"])
@pytest.mark.parametrize("long", [False, True])
def test_a_record_is_a_row_that_comes_back(tokenizer, long, tmp_path):
    options = {"tokenizer": tokenizer, "vocabulary": 300}
    records = load_long(tmp_path, **options) if long else Text.load(story(), **options)
    domain = fitted(records)
    plain, packed = domain.views()
    for space in (plain, packed):
        x, c = every(domain.source(records, space, train=False))
        space.check(x)
        assert len(x) == len(records)
        assert domain.decode(x, space).items == tuple(records.items)
        assert set(c) == {"prompt"}
        assert bool(c["prompt"][1].all())
    closes = (x == plain.end).any(dim=1)
    assert closes.tolist() == records.items.closes.tolist()


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "bpe"])
def test_the_prompt_is_the_text_before(tokenizer, tmp_path):
    records = load_long(tmp_path, tokenizer=tokenizer, vocabulary=300, context=64)
    domain = fitted(records)
    plain = domain.views()[0]
    words = domain.codec.vocabulary
    _, c = every(domain.source(records, plain, train=False))
    prompt = c["prompt"][0].numpy()
    assert real(prompt[0], plain.pad) == [plain.end]
    whole = records.items.text.tobytes().decode()
    for row in range(1, len(records)):
        ids = np.array(real(prompt[row], plain.pad))
        begun = int(ids[0] == plain.end)  # where all that stands before has room
        before = words.decode(ids[begun:])
        start = len(records.items.text[: records.items.starts[row]].tobytes().decode())
        if tokenizer == "characters":
            assert whole[:start].endswith(before)
            assert len(ids) == min(32, start + 1)
        assert whole[:start].endswith(before.lstrip("\ufffd"))
        assert 0 < len(ids) <= 32  # half the context, however long the record is


def test_prompts_are_absent_for_one_training_row_in_eight():
    records = Text.load(story(), context=256, tokenizer="bytes")
    domain = fitted(records)
    source = domain.source(records, domain.views()[0], train=True)
    _, c = source.batch(torch.arange(40).repeat(50), Draws(0))
    assert 0.1 < float((~c["prompt"][1]).float().mean()) < 0.15


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "bpe"])
@pytest.mark.parametrize("long", [False, True])
def test_sizes_add_up_to_the_corpus(tokenizer, long, tmp_path):
    options = {"tokenizer": tokenizer, "vocabulary": 300}
    records = load_long(tmp_path, **options) if long else Text.load(story(), **options)
    domain = fitted(records)
    found = domain.sizes(records)
    texts = [long_text()] if long else story()
    missing = "" if not long else texts[0]
    for item in records.items if long else ():
        missing = missing.replace(item, "", 1)
    assert list(found.units) == ["byte", "character"]
    total = sum(len(text.encode()) for text in texts) - len(missing.encode())
    assert float(found.units["byte"].sum()) == total + len(texts)
    characters = sum(map(len, texts)) - len(missing)
    assert float(found.units["character"].sum()) == characters + len(texts)
    assert not found.outside.any()


def test_what_a_character_tokeniser_cannot_spell_has_its_price():
    domain = fitted(Text.load(["abc", "bca", "cab"], tokenizer="characters"))
    held_out = Records(domain="text", items=("abc", "xa😀"), ids=("0", "1"))
    found = domain.sizes(held_out)
    assert found.outside.tolist() == [0.0, 2 * math.log(1114112)]
    assert found.units["byte"].tolist() == [4.0, 7.0]
    assert found.units["character"].tolist() == [4.0, 4.0]
    space = domain.views()[0]
    x, _ = every(domain.source(held_out, space, train=False))
    assert domain.decode(x, space).items == ("abc", "\ufffda\ufffd")


def unwanted(code):
    """Controls but tab and line end, and the marks of roles."""
    control = code < 32 and code not in (9, 10)
    return control or 127 <= code < 160 or 0xE000 <= code < 0xE003


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=60).filter(str.strip), min_size=3, max_size=9))
@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "bpe"])
def test_any_text_comes_back_as_it_was_cleaned(tokenizer, texts):
    try:
        records = Text.load(texts, tokenizer=tokenizer, vocabulary=257)
    except DataError:  # too little, or one word over and over: tested apart
        return
    domain = fitted(records)
    space = domain.views()[0]
    x, _ = every(domain.source(records, space, train=False))
    space.check(x)
    assert domain.decode(x, space).items == tuple(records.items)
    ends = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    kept = ["".join(one for one in text if not unwanted(ord(one))) for text in ends]
    assert tuple(records.items) == tuple(text for text in kept if text.strip())


def test_only_train_is_fitted(tmp_path):
    texts = story(60)
    for tokenizer in ("characters", "bpe", "unigram"):
        domains = []
        for tail in ("", " völlig neu: Ω😀"):
            changed = texts[:40] + [text + tail for text in texts[40:]]
            records = Text.load(changed, tokenizer=tokenizer, vocabulary=280, context=64)
            rows = [row for row, name in enumerate(records.ids) if int(name.split("#")[0]) < 40]
            domains.append(fitted(records.take(rows)).state())
        assert domains[0] == domains[1]
        assert fitted(records).state() != domains[0]


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "bpe", "unigram"])
def test_state_is_json_and_comes_back(tokenizer):
    domain = fitted(Text.load((story(), ["a", "b"] * 20), tokenizer=tokenizer, vocabulary=300))
    again = Text.from_state(json.loads(json.dumps(domain.state())))
    assert again.state() == domain.state()
    assert again.views() == domain.views()
    assert again.conditions() == domain.conditions()
    assert [one.name for one in again.conditions()] == ["prompt", "label"]


def test_a_state_of_something_else_is_refused():
    state = fitted(Text.toy()).state()
    for wrong in (
        {"height": 3},
        {**state, "tokeniser": {"kind": "words"}},
        {**state, "tokeniser": {"kind": "subwords", "tokenizer": {"model": 1}}},
        {**state, "context": "many"},
    ):
        with pytest.raises(StoreError):
            Text.from_state(wrong)
    with pytest.raises(UsageError, match="must be fitted before it is used: call fit"):
        Text().views()


def test_labels_and_sources_are_conditions_and_need_no_windows(tmp_path):
    domain = fitted(records := Text.load((story(9), [1, 2, None] * 3)))
    assert [space.packed for space in domain.views()] == [False]
    assert domain.conditions()[1] == Labels(names=("1", "2"))
    x, c = every(domain.source(records, domain.views()[0], train=True))
    assert c["label"][0].tolist() == [0, 1, 0] * 3
    assert c["label"][1].tolist() == [True, True, False] * 3
    assert domain.decode(x, domain.views()[0], c).conditions["label"] == ("1", "2", None) * 3

    path = tmp_path / "pairs.csv"
    path.write_text("source,target\n" + "".join(f"in {t},out {t}\n" for t in story(9)))
    domain = fitted(records := Text.load(path))
    assert [space.packed for space in domain.views()] == [False]
    (_, c) = every(domain.source(records, domain.views()[0], train=False))
    words = domain.codec.vocabulary
    row = c["source"][0][3].numpy()
    assert words.decode(row) == "in " + story(9)[3]
    assert c["source"][0].shape[1] <= domain.conditions()[1].length
    batch = domain.condition({"source": "in one"}, 2)
    assert words.decode(batch["source"][0][1].numpy()) == "in one"
    with pytest.raises(UsageError, match=r"a source must be of at most \d+ tokens; got 9000"):
        domain.condition({"source": "in " * 3000}, 1)
    long = Records(domain="text", items=("a",), ids=("0",), conditions={"source": ("o" * 999,)})
    with pytest.raises(DataError, match=r"at most \d+ tokens, as in training; got '999 tokens'"):
        domain.source(long, domain.views()[0], train=False)


def test_what_is_asked_for_becomes_tokens(tmp_path):
    domain = fitted(load_long(tmp_path, context=64))
    space = domain.views()[0]
    words = domain.codec.vocabulary
    values, present = domain.condition({"prompt": "abc"}, 3)["prompt"]
    assert values.shape == (3, 3)
    assert words.decode(values[2].numpy()) == "abc"
    assert bool(present.all())
    values, present = domain.condition({"prompt": ["", None, "éa"]}, 3)["prompt"]
    assert values.tolist()[0] == [space.end, space.pad]
    assert present.tolist() == [True, False, True]
    assert words.decode(values[2].numpy()) == "éa"
    assert len(domain.condition({"prompt": "a" * 64}, 1)["prompt"][0][0]) == 64


def test_what_cannot_be_asked_for_is_told(tmp_path):
    domain = fitted(load_long(tmp_path, context=64))
    for where, text in (
        ({"prompt": "a" * 65}, "a prompt must be of at most 64 tokens; got 65. Leave out its"),
        (
            {"prompt": "xaé\n"},
            "has characters that the training texts never had: 'x', '\\\\n'.",
        ),
        ({"prompt": 7}, "a prompt must be a text; got 7"),
        ({"prompt": ["a"] * 3}, "a list of prompts must be of 2, one for each example; got 3"),
        ({"prompts": "a"}, "condition 'prompts' is unknown; did you mean 'prompt'"),
        ({"prompt": [{"role": "user", "content": "a"}]}, "not trained on dialogues"),
    ):
        with pytest.raises(UsageError, match=text):
            domain.condition(where, 2)
    labelled = fitted(Text.load((story(9), "abc" * 3)))
    assert labelled.condition({"label": "b"}, 2)["label"][0].tolist() == [1, 1]
    with pytest.raises(UsageError, match="label 'd' is not in the training data"):
        labelled.condition({"label": "d"}, 2)


def test_a_prompt_begins_a_document_where_records_are_whole_or_dialogues(tmp_path):
    names = fitted(Text.load(["emma", "olivia", "ava", "mia"] * 3))
    space = names.views()[0]
    assert names.condition({"prompt": "em"}, 1)["prompt"][0][0, 0] == space.end
    chat = fitted(load_chats(tmp_path, tokenizer="characters", context=64))
    end = chat.views()[0].end
    words = chat.codec.vocabulary
    asked = [{"role": "user", "content": "why"}]
    for prompt in (asked, "USER: why\nASSISTANT:", f"{U}why{A}"):
        values, _ = chat.condition({"prompt": prompt}, 2)["prompt"]
        assert values[0, 0] == end
        assert words.decode(values[0, 1:].numpy()) == f"{U}why{A}"
    with pytest.raises(UsageError, match="the role of a message must be one of"):
        chat.condition({"prompt": [{"role": "judge", "content": "why"}]}, 1)


def test_wrong_spaces_tensors_and_records_are_refused():
    domain = fitted(records := Text.load(story(), context=64, tokenizer="bytes"))
    plain = domain.views()[0]
    other = Sequence(length=3, tokens=5, end=3, pad=4)
    with pytest.raises(UsageError, match="one of the domain's views"):
        domain.decode(torch.zeros(1, 3, dtype=torch.int64), other)
    with pytest.raises(DataError, match="whole numbers of shape"):
        domain.decode(torch.zeros(1, 64), plain)
    with pytest.raises(DataError, match="must be at least one; got 0"):
        domain.source(records.take([]), plain, train=False)
    with pytest.raises(DataError, match="texts must be strings"):
        domain.fit(Records(domain="text", items=np.zeros((2, 3)), ids=("0", "1")))
    long = Records(domain="text", items=("a" * 64,), ids=("0",))
    with pytest.raises(DataError, match=r"at most 33 tokens, its .*'a+' has 65.*context=64"):
        domain.source(long, plain, train=False).batch(torch.tensor([0]), Draws(0))
    noise = torch.randint(0, plain.tokens, (50, 64), generator=torch.manual_seed(0))
    made = domain.decode(noise, plain)
    assert all(isinstance(text, str) and text.encode() is not None for text in made.items)


def test_the_toy_is_a_corpus_of_stories():
    toy = Text.toy(3)
    assert toy.fingerprint() == Text.toy(3).fingerprint()
    assert toy.fingerprint() != Text.toy(4).fingerprint()
    parts = split(toy, seed=0)
    assert min(len(parts.valid), len(parts.test)) > 30
    assert all(text.endswith(".") for text in toy.items)


def test_passages_are_read_where_they_lie(monkeypatch):
    texts = ["to be", "é" * 5, "or not"]
    passages = passages_of(texts)
    assert list(passages) == texts
    assert list(passages[1:]) == texts[1:]
    assert passages[-1] == "or not"
    assert passages.before(1, 5) == ""
    assert passages.pick(np.array([2, 0])).closes.tolist() == [True, True]
    assert passages_of(passages) is passages
    assert passages.fingerprint() != passages_of(texts[:2]).fingerprint()
    spool = Spool(held=4)
    for text in texts:
        spool.write(text.encode())
    assert isinstance(spool.array(), np.memmap)
    assert spool.array().tobytes().decode() == "".join(texts)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60), st.data())
def test_what_stands_before_is_whole_characters(text, data):
    raw = np.frombuffer(text.encode(), dtype=np.uint8)
    cut = data.draw(st.integers(0, len(text)))
    start = np.array([len(text[:cut].encode())])
    ends = np.array([len(raw)])
    passages = Passages(raw, start, ends, np.array([0]), ends, "")
    for count in range(8):
        assert passages.before(0, count) == text[max(0, cut - count) : cut]


def test_what_stands_before_is_as_wide_whichever_records_are_asked(tmp_path):
    records = Text.load([*(text[:20] for text in story(30)), "".join(story(4))], context=64)
    domain = fitted(records)
    long = [row for row, text in enumerate(records.items) if len(text) > 20]
    for rows in ([0, 1], long[-2:]):
        (_, c) = every(domain.source(records.take(rows), domain.views()[0], train=False))
        assert c["prompt"][0].shape == (2, 32)
    path = tmp_path / "pairs.csv"
    pairs = "".join(f"{'in' * (n % 5 + 1)},out {t}\n" for n, t in enumerate(story(9)))
    path.write_text("source,target\n" + pairs)
    records = Text.load(path)
    domain = fitted(records)
    for row in range(5):
        (_, c) = every(domain.source(records.take([row]), domain.views()[0], train=False))
        assert c["source"][0].shape == (1, 10)
