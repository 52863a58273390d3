"""Tokenisers: every text comes back, each is learned the same way twice, misfits are named."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tokenizers as kit
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core.errors import DataError, LikewiseError, UsageError
from likewise.core.records import Records
from likewise.domains.text import Text, spelling, tokenise
from likewise.domains.text.sizes import OUTSIDE
from likewise.domains.text.tokenise import Characters, Subwords, learn, tokeniser_from
from likewise.domains.text.vocabulary import Vocabulary

TEXTS = [f"the cat number {i} sees the sea and the sun, naïve 😀\n" for i in range(80)]
KINDS = ["bytes", "bpe", "unigram"]
LEARN = """
import json, sys
from likewise.domains.text.tokenise import learn
texts = json.loads(sys.argv[2])
print(json.dumps(learn(sys.argv[1], texts, 4000, 320).state(), sort_keys=True))
"""


def learned(kind):
    return learn(kind, TEXTS, sum(len(text.encode()) for text in TEXTS), 320)


TOKENISERS = {kind: learned(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40))
def test_every_text_comes_back_and_has_no_more_tokens_than_bytes(kind, text):
    tokeniser = TOKENISERS[kind]
    (ids,) = tokeniser.encode([text])
    assert tokeniser.decode(ids) == text
    assert len(ids) <= len(text.encode())
    assert not len(ids) or 0 <= ids.min() <= ids.max() < tokeniser.size


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=40))
def test_what_tokens_spell_is_the_text(kind, text):
    tokeniser = TOKENISERS[kind]
    pieces = tokeniser.spelled()
    assert len(pieces) == tokeniser.size
    assert b"".join(pieces[i] for i in tokeniser.encode([text])[0]) == text.encode()


def elsewhere(name):
    """A tokeniser as others make them, and the bytes that its tokens spell in a text."""
    decoders, models = kit.decoders, kit.models
    names = ["<unk>", "</s>", "a", "\u2581b", "\u2581", "<0xC3>", "<0x20>", "é"]
    wanted = [b"", b"", b"a", b" b", b" ", b"\xc3", b" ", "é".encode()]
    if name == "pieces of words":
        names[3] = "##b"
    numbers = {n: i for i, n in enumerate(names)}
    if name == "bytes for what is rare":  # as Llama 2 has it
        made = kit.Tokenizer(models.BPE(numbers, [], unk_token="<unk>"))
        parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
        made.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)])
    elif name == "metaspace":
        made = kit.Tokenizer(models.Unigram([(n, -1.0) for n in names], 0, False))
        made.decoder = decoders.Metaspace()
        wanted[5:7] = b"<0xC3>", b"<0x20>"
    else:
        made = kit.Tokenizer(models.WordPiece(numbers, unk_token="<unk>"))
        made.decoder = decoders.WordPiece()
        words = ["a", "b", "\u2581", "<0xC3>", "<0x20>", "é"]
        wanted[2:] = [word.encode() if word == "b" else f" {word}".encode() for word in words]
    made.add_special_tokens(["</s>"])
    made.add_tokens(["<think>"])
    before = b" " if name == "pieces of words" else b""
    return Subwords(json.loads(made.to_str())), [*wanted, before + b"<think>"]


@pytest.mark.parametrize("name", ["bytes for what is rare", "metaspace", "pieces of words"])
def test_what_tokens_of_others_spell_in_the_middle_of_a_text(name):
    tokeniser, wanted = elsewhere(name)
    assert tokeniser.spelled() == wanted


def test_the_tokens_of_a_checkpoint_that_are_no_text_spell_nothing():
    given = {"begin": 97, "end": 98, "pad": 300, "tokens": 310}
    pieces = Vocabulary(TOKENISERS["bytes"], roles=False, given=given).spelled()
    assert len(pieces) == 310
    assert [i for i, piece in enumerate(pieces) if piece] == [*range(97), *range(99, 256)]
    roles = Vocabulary(TOKENISERS["bytes"], roles=True)
    assert roles.spelled()[256:] == [b""] * 5


@settings(max_examples=100, deadline=None)
@given(known=st.text(min_size=1, max_size=20), text=st.text(max_size=20))
def test_characters_have_a_token_each_and_others_none(known, text):
    tokeniser = Characters("".join(sorted(set(known))))
    (ids,) = tokeniser.encode([text])
    assert [i >= 0 for i in ids.tolist()] == [one in known for one in text]
    assert tokeniser.decode(ids[ids >= 0]) == "".join(one for one in text if one in known)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_learning_twice_gives_the_same_also_in_another_process(kind):
    ours = json.dumps(learned(kind).state(), sort_keys=True)
    assert json.dumps(learned(kind).state(), sort_keys=True) == ours
    command = [sys.executable, "-c", LEARN, kind, json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == ours


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_what_is_frequent_is_one_token(kind):
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(["ka", "ro", "mi", "ten", "su"], 3)) for _ in range(60)]
    text = " ".join(draw.choice(words, 4000, p=np.arange(60, 0, -1) / 1830))
    tokeniser = learn(kind, [text[i : i + 500] for i in range(0, len(text), 500)], 0, 330)
    assert 256 < tokeniser.size <= 330
    assert len(tokeniser.encode([text])[0]) < len(text) / 3


def test_a_small_text_has_a_small_vocabulary():
    assert learn("bpe", TEXTS, 256 * 20, None).size <= 276
    many = " ".join(f"w{i * 7919 % 100003}" for i in range(60000))
    assert learn("bpe", [many], len(many), None).size <= min(4096, 256 + len(many) // 256)


@pytest.mark.parametrize("kind", ["characters", *KINDS])
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.sampled_from(["\ue000", "\ue001", "\ue002", "the", " sea", "é"])))
def test_marks_of_roles_are_one_token_each(kind, parts):
    tokeniser = Characters("aehst é") if kind == "characters" else TOKENISERS[kind]
    words = Vocabulary(tokeniser, roles=True)
    text = "".join(parts)
    (ids,) = words.encode([text])
    assert words.decode(ids) == text
    marks = [i - tokeniser.size for i in ids.tolist() if tokeniser.size <= i < tokeniser.size + 3]
    assert marks == ["\ue000\ue001\ue002".index(one) for one in text if one >= "\ue000"]


def test_tokens_stand_in_their_order():
    words = Vocabulary(Characters("ab"), roles=True)
    assert (words.tokeniser.size, words.assistant, words.unknown, words.end, words.pad) == (
        *(2, 4, 5, 6),
        7,
    )
    plain = Vocabulary(TOKENISERS["bpe"], roles=False)
    assert (plain.assistant, plain.unknown, plain.end, plain.pad) == (None, None, 320, 321)
    assert plain.size == 322
    assert words.decode(np.array([0, 6, 1])) == "a"
    assert words.decode(np.array([0, 7, 1])) == "a"
    assert words.strange("abxa😀x") == ["x", "😀"]
    assert plain.strange("😀") == []


def ready(tmp_path, **changes):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**TOKENISERS["bpe"].state()["tokenizer"], **changes}))
    return path


def test_a_ready_tokeniser_is_taken_as_it_is(tmp_path):
    path = ready(tmp_path)
    records = Text.load(TEXTS, tokenizer=str(path))
    domain = Text()
    domain.fit(records)
    assert domain.views()[0].end == 320
    path.unlink()
    again = Text.from_state(json.loads(json.dumps(domain.state())))
    assert again.codec.vocabulary.encode(TEXTS[:1])[0].tolist() == (
        TOKENISERS["bpe"].encode(TEXTS[:1])[0].tolist()
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"normalizer": {"type": "Lowercase"}}, r"'ALL caps \d+' came back as 'all caps \d+'"),
        ({"pre_tokenizer": {"type": "Whitespace"}, "decoder": None}, "came back as"),
    ],
)
def test_a_tokeniser_that_does_not_fit_is_refused_with_an_example(tmp_path, changes, text):
    records = Text.load(
        [f"ALL caps {i}" for i in range(20)], tokenizer=str(ready(tmp_path, **changes))
    )
    with pytest.raises(DataError, match="must give every text back; .*" + text):
        Text().fit(records)


def test_what_is_no_tokenizer_json_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    for content, text in (("{}", "no tokenizer.json that can be read"), ("{", "is damaged")):
        path.write_text(content)
        with pytest.raises(DataError, match=text):
            Text().fit(Text.load(TEXTS, tokenizer=str(path)))
    path.unlink()
    with pytest.raises(DataError, match=r"tokeniser cannot be read: .* does not exist"):
        Text().fit(Text.load(TEXTS, tokenizer=str(path)))


def test_a_missing_library_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(LikewiseError, match=r"pip install 'likewise\[text\]'"):
        learned("bpe")
    with pytest.raises(LikewiseError, match=r"pip install 'likewise\[text\]'"):
        tokeniser_from(TOKENISERS["bpe"].state())
    assert learned("bytes").size == 256


def test_padding_and_truncation_of_a_ready_tokeniser_are_off(tmp_path):
    data = TOKENISERS["bpe"].state()["tokenizer"]
    cut = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    (ids,) = Subwords({**data, "truncation": cut}).encode(TEXTS[:1])
    assert ids.tolist() == TOKENISERS["bpe"].encode(TEXTS[:1])[0].tolist()


def test_scores_of_a_unigram_do_not_depend_on_the_order_of_sums():
    one = [["a", -1.00000001], ["b", -2.0], ["Ā", -9.1], ["ā", -9.2]]
    other = [["b", -2.00000001], ["a", -1.0], ["ā", -9.1], ["Ā", -9.2]]
    assert tokenise._settled(one, {"a", "b"}) == tokenise._settled(other, {"a", "b"})


def test_dialogues_are_read_in_pairs_of_bytes_sooner(monkeypatch, tmp_path):
    from likewise.domains.text import passages

    path = tmp_path / "talk.jsonl"
    turns = [{"role": "assistant", "content": one} for one in TEXTS]
    path.write_text("\n".join(json.dumps({"messages": [turn]}) for turn in turns))
    assert Text.load(path).facts["tokenizer"] == "characters"
    monkeypatch.setattr(passages, "SMALL_TALK", 100)
    assert Text.load(path).facts["tokenizer"] == "bpe"


def lossy(**changes):
    """A tokeniser of characters, such as others make, that drops what it has no token for."""
    made = kit.Tokenizer(kit.models.BPE({one: i for i, one in enumerate("abc <>unk")}, []))
    made.decoder = kit.decoders.Fuse()
    return {**json.loads(made.to_str()), **changes}


def of_lossy(tmp_path, **changes):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(lossy(**changes)))
    domain = Text()
    domain.fit(Text.load(["abc", "bca", "cab", "ab c"], tokenizer=str(path)))
    return domain


def test_what_a_ready_tokeniser_drops_has_its_price(tmp_path):
    domain = of_lossy(tmp_path)
    held_out = Records(domain="text", items=("ab c", "xa яя", "nku"), ids=("0", "1", "2"))
    found = domain.sizes(held_out)
    assert found.outside.tolist() == [0.0, 3 * OUTSIDE, 0.0]
    assert found.units["byte"].tolist() == [5.0, 8.0, 4.0]


def test_what_a_ready_tokeniser_writes_as_unknown_or_otherwise_has_its_price():
    model = {**lossy()["model"], "vocab": {one: i for i, one in enumerate(["<unk>", *"abcx"])}}
    unknown = Subwords(lossy(model={**model, "unk_token": "<unk>"}))
    assert unknown.decode(unknown.encode(["aun"])[0]) == "a<unk><unk>"
    assert [unknown.lost(text) for text in ("abc", "aun", "<unk>")] == [0, 2, 5]
    lower = Subwords(
        {**TOKENISERS["bpe"].state()["tokenizer"], "normalizer": {"type": "Lowercase"}}
    )
    assert [lower.lost(text) for text in ("abc", "Abc Я")] == [0, 2]
    assert Vocabulary(lower, roles=False).strange("Abc Я") == []


def test_a_prompt_with_characters_that_are_dropped_is_refused(tmp_path):
    domain = of_lossy(tmp_path)
    assert domain.encode("ab c")
    text = r"has characters that the tokenizer has no tokens for: 'я', '\\n'\. Leave them out"
    for ask in (domain.encode, lambda text: domain.condition({"prompt": text}, 1)):
        with pytest.raises(UsageError, match=text):
            ask("a яb\nя")


@pytest.mark.parametrize("changes", [{}, {"normalizer": {"type": "NFC"}}])
def test_a_byte_level_tokeniser_is_known_to_lose_nothing_without_a_look(changes, monkeypatch):
    tokeniser = Subwords({**TOKENISERS["bpe"].state()["tokenizer"], **changes})
    looked = []
    monkeypatch.setattr(Subwords, "encode", lambda self, texts: looked.append(texts))
    assert tokeniser.lost("any text, é😀\n") == 0
    assert Vocabulary(tokeniser, roles=True).strange("\ue001дядя") == []
    assert looked == []


def test_what_a_form_of_unicode_changes_is_lost():
    tokeniser = Subwords({**TOKENISERS["bpe"].state()["tokenizer"], "normalizer": {"type": "NFC"}})
    assert tokeniser.lost("caf\u00e9") == 0
    assert tokeniser.lost("cafe\u0301") == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}},
        {"decoder": {"type": "Fuse"}},
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": []}},
        {"added_tokens": [{"content": "<m>", "lstrip": True}]},
        {"model": {"type": "BPE", "end_of_word_suffix": "</w>"}},
        {"model": {"type": "WordLevel"}},
    ],
)
def test_a_tokeniser_that_may_lose_something_is_not_taken_at_its_word(changes):
    data = TOKENISERS["bpe"].state()["tokenizer"]
    assert spelling.form(data, spelling.letters()) == spelling.ANY
    assert spelling.form({**data, **changes}, spelling.letters()) == ""
    assert spelling.form(data, list(spelling.letters())[1:]) == ""


def test_steps_that_keep_all_are_known():
    cut = {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False}
    data = TOKENISERS["bpe"].state()["tokenizer"]
    for behavior, found in (("Isolated", spelling.ANY), ("Removed", "")):
        steps = [{**cut, "behavior": behavior}, data["pre_tokenizer"]]
        changed = {**data, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
        assert spelling.form(changed, spelling.letters()) == found
