"""Dialogues: a record is an answer, what is scored is what is learned, and what ends it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core.errors import DataError, UsageError
from likewise.core.records import Records, split
from likewise.core.rng import Draws
from likewise.domains.text import Text, stream
from likewise.domains.text.corpus import passages_of
from likewise.families.ngram import Ngram
from likewise.families.transformer import Transformer
from tests.domains.dialogues import A, S, U, answers, every, fitted, load, real, talk, whole


def closed(domain, row):
    """What closes a row of tokens: the last one that is no padding."""
    space = domain.views()[0]
    return real(row, space.pad)[-1]


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "bpe"])
def test_a_record_is_an_answer_after_all_that_was_said(tmp_path, tokenizer):
    dialogues = talk()
    records = load(tmp_path, dialogues, tokenizer=tokenizer, vocabulary=300, context=1024)
    domain = fitted(records)
    expected = list(answers(dialogues))
    assert tuple(records.items) == tuple(text for _, text, _ in expected)
    words = domain.codec.vocabulary
    for space in domain.views():
        x, c = every(domain.source(records, space, train=False))
        space.check(x)
        assert "scored" not in c
        assert domain.decode(x, space).items == tuple(records.items)
        for row, (before, _, closing) in enumerate(expected):
            prompt = real(c["prompt"][0][row], space.pad)
            assert prompt[0] == space.end
            assert words.decode(np.array(prompt[1:])) == before
            mark = words.encode([closing])[0].tolist() or [space.end]
            assert real(x[row], space.pad)[-1:] == mark


def test_what_closes_an_answer_is_what_stops_the_engine(tmp_path):
    records = load(tmp_path, talk())
    domain = fitted(records)
    x, _ = every(domain.source(records, domain.views()[0], train=False))
    closings = {closed(domain, row) for row in x}
    assert closings == {domain.end, domain.roles["user"]}
    assert domain.codec.vocabulary.encode([U + A])[0].tolist() == [
        domain.roles["user"],
        domain.roles["assistant"],
    ]


def scored_by_hand(texts):
    """Which characters of marked texts the assistant says, and the one that closes its turn."""
    for text in texts:
        speaking = False
        for one in [*text, None]:
            yield speaking
            if one in (S, U, A, None):
                speaking = one == A


def ended(dialogues):
    """Dialogues as they are read: up to what closes the last answer."""
    for one in dialogues:
        last = max((i for i, (mark, _) in enumerate(one) if mark == A), default=-1)
        if last >= 0:
            yield whole(one[: last + 1]) + (one[last + 1][0] if last + 1 < len(one) else "")


@pytest.mark.parametrize("context", [1024, 32])
def test_what_is_learned_is_what_is_scored_token_by_token(tmp_path, context):
    dialogues = talk()
    records = load(tmp_path, dialogues, tokenizer="characters", context=context)
    domain = fitted(records)
    plain, packed = domain.views()
    source = domain.source(records, packed, train=True)
    starts = np.arange(len(source)) * packed.length
    x, c = source.windows(starts, np.zeros(len(starts), dtype=bool))
    scored, present = c["scored"]
    assert bool(present.all())
    expected = list(scored_by_hand(ended(dialogues)))[: -1 if dialogues[-1][-1][0] == U else None]
    assert scored[packed.mask(x)].tolist() == expected
    rows, _ = every(domain.source(records, plain, train=False))
    assert x[scored].tolist() == rows[plain.mask(rows)].tolist()
    assert int(scored.sum()) == sum(len(text) + 1 for _, text, _ in answers(dialogues))


def test_shifted_windows_score_the_same_places(tmp_path):
    dialogues = talk()
    records = load(tmp_path, dialogues, tokenizer="characters", context=48)
    domain = fitted(records)
    packed = domain.views()[1]
    source = domain.source(records, packed, train=True)
    expected = list(scored_by_hand(ended(dialogues)))
    tokens = source.stream.tokens.tolist()
    x, c = source.batch(torch.arange(len(source)).repeat(9), Draws(0))
    begun = 0
    for row, said, known in zip(x.tolist(), c["scored"][0].tolist(), c["prompt"][1], strict=True):
        row = [one for one in row if one != packed.pad]
        spots = [i for i in range(len(tokens)) if tokens[i : i + len(row)] == row]
        assert any(expected[i : i + len(row)] == said[: len(row)] for i in spots)
        if not known:  # nothing is known of what stands before: an answer, or a piece, begins
            begun += 1
            assert said[0]
    assert begun > 3


def test_the_likelihood_of_an_answer_is_that_of_its_tokens_after_all_before(tmp_path):
    dialogues = talk(24)
    records = load(tmp_path, dialogues, tokenizer="characters", context=1024)
    domain = fitted(records)
    torch.manual_seed(0)
    view, told = domain.views()[1], domain.conditions()
    model = Transformer(Transformer.preset("xs", view, told), view, told).eval()
    for parameter in model.parameters():  # silent branches would hide what is read
        torch.nn.init.normal_(parameter, std=0.1)
    x, c = every(domain.source(records, view, train=False))
    nats = model.log_prob(x, c)
    place = 0
    for text in ended(dialogues):
        flags = list(scored_by_hand([text]))
        ids = domain.codec.vocabulary.encode([text])[0].tolist()
        ids, flags = ([*ids, view.end], flags) if text[-1] != U else (ids, flags[:-1])
        inputs = torch.tensor([[view.end, *ids[:-1]]])
        told = model.logits(inputs)[0].log_softmax(dim=-1)
        each = told.gather(1, torch.tensor(ids)[:, None])[:, 0]
        count = text.count(A)
        total = each[torch.tensor(flags)].sum()
        torch.testing.assert_close(nats[place : place + count].sum(), total, rtol=1e-4, atol=1e-4)
        place += count
    assert place == len(records)


def test_counts_learn_answers_alone(tmp_path):
    rng = np.random.default_rng(0)
    dialogues = [[(U, "".join(rng.choice(list("xyz"), 9))), (A, "abab")] for _ in range(40)]
    records = load(tmp_path, dialogues, tokenizer="characters")
    domain = fitted(records)
    packed = domain.views()[1]
    model = Ngram(Ngram.preset("xs", packed, domain.conditions()), packed, domain.conditions())
    source = domain.source(records, packed, train=True)
    for _ in model.learn([every(source)], rng=Draws(0)):
        pass
    x, c = every(domain.source(records, packed, train=False))
    assert float(model.log_prob(x, c).mean()) > -1.5  # four letters and the end, nearly certain
    made = model.sample(40, c, rng=Draws(0))
    said = domain.decode(made, packed).items
    assert sum(text == "abab" for text in said) > 30


def test_prompts_are_cut_on_the_left_and_leave_room_for_the_answer(tmp_path):
    dialogues = talk(40, turns=(9, 14))
    records = load(tmp_path, dialogues, tokenizer="characters", context=64)
    domain = fitted(records)
    plain, packed = domain.views()
    x, c = every(domain.source(records, packed, train=False))
    passages = records.items
    assert passages.bytes().max() <= 32
    whole_answers = sum(map(len, (text.encode() for _, text, _ in answers(dialogues))))
    assert passages.bytes().sum() == whole_answers
    for row in range(len(records)):
        prompt = real(c["prompt"][0][row], plain.pad)
        before = passages.before(row, 9999)
        assert len(prompt) == min(32, len(before) + 1)
        kept = [token for token in prompt if token != plain.end]
        assert before.endswith(domain.codec.vocabulary.decode(np.array(kept)))
        assert len(prompt) + len(real(x[row], plain.pad)) <= packed.length + 1
    assert passages.closes.sum() == len(list(answers(dialogues)))


def test_sizes_are_those_of_answers_and_what_closes_them(tmp_path):
    dialogues = talk()
    for context in (1024, 32):
        records = load(tmp_path, dialogues, tokenizer="bpe", vocabulary=300, context=context)
        found = fitted(records).sizes(records)
        said = [text for _, text, _ in answers(dialogues)]
        assert float(found.units["byte"].sum()) == sum(len(t.encode()) + 1 for t in said)
        assert float(found.units["character"].sum()) == sum(len(t) + 1 for t in said)


def test_what_nobody_answers_is_skipped_and_counted(tmp_path):
    dialogues = [*talk(20), [(U, "hello?")], [(S, "be kind"), (U, "hm")]]
    dialogues += [[(U, "a"), (A, ""), (U, "b"), (A, "so it is")]]
    records = load(tmp_path, dialogues)
    assert [(one.what, one.why) for one in records.skipped] == [
        (
            "1 empty turn of the assistant",
            "the assistant says nothing there, so there is nothing to learn",
        ),
        (
            f"{2 + sum(A not in whole(one) for one in talk(20))} dialogues without an answer",
            "a model of dialogues learns the turns of the assistant alone",
        ),
    ]
    assert records.items[-1] == "so it is"
    assert records.items.before(len(records) - 1, 99) == f"{U}a{A}{U}b{A}"
    with pytest.raises(DataError, match=r"answers of an assistant, .* got 20 dialogues in which"):
        load(tmp_path, [[(U, f"hi {i}"), (S, "hm")] for i in range(20)])


def test_plain_texts_beside_dialogues_are_learned_whole(tmp_path):
    for i in range(20):
        (tmp_path / f"plain{i}.txt").write_text(f"just some text {i}, as it is\n" * 3)
    load(tmp_path, talk(20))
    records = Text.load(tmp_path, tokenizer="bytes", context=64)
    assert len(set(records.groups)) == 20 + sum(A in whole(one) for one in talk(20))
    domain = fitted(records)
    text = [row for row, name in enumerate(records.ids) if name.startswith("plain7")]
    joined = "".join(records.items[row] for row in text)
    assert joined == "just some text 7, as it is\n" * 3
    plain, packed = domain.views()
    x, c = every(domain.source(records.take(text), packed, train=True))
    assert torch.equal(c["scored"][0], packed.mask(x))
    rows, _ = every(domain.source(records, plain, train=False))
    assert closed(domain, rows[text[-1]]) == plain.end


def test_a_dialogue_never_straddles_a_split_and_equal_answers_are_no_bond(tmp_path):
    draw = np.random.default_rng(0)
    dialogues = [
        [(U, " ".join(draw.choice(["sun", "sea", "oak"], 6))), (A, "yes"), (U, "so?"), (A, "no")]
        for _ in range(60)
    ]
    records = load(tmp_path, dialogues)
    assert len(set(records.items.contents())) == len({whole(one) for one in dialogues}) * 2
    assert records.facts["pieces"]
    records = load(tmp_path, talk(60))
    parts = split(records, seed=0)
    groups = np.array(records.groups)
    homes = [set(groups[parts.part(name)]) for name in ("train", "valid", "test")]
    assert sum(map(len, homes)) == len(set.union(*homes))
    assert min(map(len, homes)) >= 5


def test_few_long_dialogues_are_split_by_position_with_a_gap(tmp_path):
    dialogues = [
        [(mark, f"{text} {i} {number}") for i, (mark, text) in enumerate(one)]
        for number, one in enumerate(talk(3, turns=(200, 220)))
    ]
    records = load(tmp_path, dialogues, tokenizer="characters", context=64)
    parts = split(records, seed=0)
    assert records.groups is None
    assert "within one context (64 tokens) of the border" in records.skipped[-1].why
    passages = records.items
    for name, next_part in (("train", "valid"), ("valid", "test")):
        last, first = parts.part(name)[-1], parts.part(next_part)[0]
        assert passages.leads[first] - passages.stops[last] >= 64
    domain = fitted(records.take(parts.train))
    tokens = domain.source(records.take(parts.test), domain.views()[1], train=True).stream.tokens
    assert tokens[0] != domain.views()[1].pad


def test_the_stream_is_closed_where_the_user_has_the_last_word_and_at_holes(tmp_path, monkeypatch):
    dialogues = [
        [(U, "a"), (A, "b"), (U, "never read")],
        [(U, "c"), (A, "d"), (U, "e"), (A, "f")],
    ] * 12
    records = load(tmp_path, dialogues, tokenizer="characters")
    domain = fitted(records)
    plain, packed = domain.views()

    def read(rows):
        tokens = domain.source(records.take(rows), packed, train=True).stream.tokens
        spelled = {plain.end: "|", plain.pad: "_"}
        return "".join(spelled.get(t) or domain.text([t]) for t in tokens.tolist())

    assert read([0, 1, 2, 3]) == f"{U}a{A}b{U}|{U}c{A}d{U}e{A}f|{U}a{A}b{U}"
    assert read([0, 2]) == f"{U}a{A}b{U}_{U}e{A}f|"
    assert read([1, 3]) == f"{U}c{A}d{U}|{U}a{A}b{U}"
    held = domain.source(records, packed, train=True).stream
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stream, "HELD", 0)
    for _ in range(2):  # written, and found again
        mapped = domain.source(records, packed, train=True).stream
        assert isinstance(mapped.tokens, np.memmap)
        for name in ("tokens", "starts", "stops"):
            assert np.array_equal(getattr(mapped, name), getattr(held, name))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_answers_learned_are_those_scored(tmp_path_factory, data):
    said = st.text(st.characters(exclude_categories=["Cs", "Cc", "Co"]), max_size=30)
    turn = st.tuples(st.sampled_from([S, U, A]), said)
    dialogues = data.draw(st.lists(st.lists(turn, min_size=1, max_size=6), min_size=3, max_size=8))
    context = data.draw(st.sampled_from([16, 512]))
    kind = data.draw(st.sampled_from(["characters", "bytes"]))
    folder = tmp_path_factory.mktemp("any")
    try:
        records = load(folder, dialogues, tokenizer=kind, context=context)
    except DataError:  # too little, or nobody answers: tested apart
        return
    domain = fitted(records)
    plain, packed = domain.views()
    rows = data.draw(st.lists(st.integers(0, len(records) - 1), min_size=1, unique=True))
    some = records.take(sorted(rows))
    source = domain.source(some, packed, train=True)
    starts = np.arange(len(source)) * packed.length
    x, c = source.windows(starts, np.zeros(len(starts), dtype=bool))
    judged, _ = every(domain.source(some, plain, train=False))
    plain.check(judged)
    assert x[c["scored"][0]].tolist() == judged[plain.mask(judged)].tolist()
    assert domain.decode(judged, plain).items == tuple(some.items)


def test_tokens_of_another_codec_without_marks_score_the_same(tmp_path):
    other = fitted(Text.load([f"plain text {i} of a model" for i in range(30)], tokenizer="bytes"))
    other = Text.from_state({**other.state(), "context": 128, "passage": 128})
    records = load(tmp_path, talk(), tokenizer="bytes", context=128)
    plain, packed = other.views()
    source = other.source(records, packed, train=True)
    starts = np.arange(len(source)) * packed.length
    x, c = source.windows(starts, np.zeros(len(starts), dtype=bool))
    rows, _ = every(other.source(records, plain, train=False))
    assert x[c["scored"][0]].tolist() == rows[plain.mask(rows)].tolist()
    assert other.decode(rows, plain).items == tuple(records.items)


def test_whole_documents_that_are_no_dialogues_are_as_before():
    passages = passages_of(["ab", "c"])
    assert np.array_equal(passages.leads, passages.starts)
    assert list(passages.contents()) == ["ab", "c"]
    records = Text.load([f"text {i} of many" for i in range(30)])
    _, c = every(fitted(records).source(records, fitted(records).views()[1], train=True))
    assert "scored" not in c


def test_records_of_strings_are_refused_where_they_are_too_long(tmp_path):
    domain = fitted(load(tmp_path, talk(), tokenizer="characters"))
    long = Records(domain="text", items=("yes " * 99,), ids=("0",))
    with pytest.raises(DataError, match="a record must have at most"):
        every(domain.source(long, domain.views()[0], train=False))
    with pytest.raises(UsageError, match="a prompt must be of at most"):
        domain.condition({"prompt": "no " * 999}, 1)
