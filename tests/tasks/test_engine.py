"""The engine: what a request gets does not depend on who else is in the batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.tasks.engine import Engine
from likewise.tasks.rows import Request
from likewise.tasks.texts import gathered
from tests.serve.standin import END, PAD, SIZE, Paused, standin

GREEDY = Controls(temperature=0.0)
MODEL = standin(length=48)


def ask(tokens, **more):
    return Request(tokens=list(tokens), **{"controls": GREEDY, "most": 12, **more})


def alone(request, model=MODEL):
    return together([request], model)[0]


def together(requests, model=MODEL, **more):
    engine = Engine(model, **more)
    heard = {request: [] for request in requests}
    for request in requests:
        engine.submit(request)
    while engine.busy:
        for event in engine.advance():
            heard[event.request].append(event)
    return [gathered(events) for events in heard.values()]


def naive(request, model=MODEL):
    """Greedy tokens without a cache: the whole window is read anew for each."""
    known, made, room = list(request.tokens), [], model.family.space.length + 1
    while len(made) < request.most and END not in made:
        made.append(int(model.family.logits(torch.tensor([known]))[0, -1].argmax()))
        known.append(made[-1])
        if len(known) == room:
            known = known[-(room // 2) :]
    return tuple(made)


def test_greedy_tokens_are_those_of_a_loop_without_a_cache():
    requests = [ask(b"ab"), ask(b"a longer prompt than the other"), ask([END]), ask(b"x" * 47)]
    found = together(requests, slots=3)
    assert [one.tokens for one in found] == [naive(request) for request in requests]
    assert [one.finish for one in found] == ["length"] * 4


@pytest.mark.parametrize(
    "config", [{}, {"runs": 3}, {"window": 5}, {"places": "learned"}], ids=lambda c: "".join(c)
)
def test_a_text_goes_on_beyond_the_context(config):
    """By the stated rule: of a full context the latest half is read anew."""
    model = standin(length=15, **config)
    requests = [ask(b"ab", most=70), ask(b"a longer one", most=40), ask([END], most=33)]
    found = together(requests, model, slots=2)
    assert [one.tokens for one in found] == [naive(request, model) for request in requests]
    assert [len(one.tokens) for one in found] == [70, 40, 33]
    assert {one.finish for one in found} == {"length"}


@pytest.mark.parametrize("config", [{"runs": 3}, {"window": 5}, {"places": "learned"}])
def test_greedy_tokens_are_those_of_a_loop_for_other_readers(config):
    model = standin(length=48, **config)
    requests = [ask(b"ab"), ask(b"a longer prompt"), ask(b"abc", most=3), ask([END])]
    found = together(requests, model, slots=2)
    assert [one.tokens for one in found] == [naive(request, model) for request in requests]


def test_draws_are_those_of_the_model_s_own_samples():
    model = standin(length=48, endless=False)
    rows, _ = model.draw(3, {"prompt": ["ab"] * 3}, seed=5)
    space = model.family.space
    wanted = [tuple(row[mask].tolist()) for row, mask in zip(rows, space.mask(rows), strict=True)]
    requests = [
        ask(b"ab", most=None, controls=Controls(), seed=5, sample=number) for number in range(3)
    ]
    assert [one.tokens for one in together(requests, model)] == wanted
    assert {one.finish for one in together(requests, model)} == {"stop"}
    assert len(set(wanted)) == 3


def test_a_penalty_for_repetition_is_that_of_the_model_s_own_samples():
    controls = Controls(temperature=0.0, repetition=3.0)
    rows, _ = MODEL.draw(1, {"prompt": ["ab"]}, controls=controls)
    found = alone(ask(b"ab", most=None, controls=controls))
    assert list(found.tokens) == rows[0, :47].tolist()
    assert found.tokens != alone(ask(b"ab", most=None)).tokens


def test_padding_is_never_written_though_it_is_the_likeliest():
    model = standin(length=48)
    plain = model.family.reader

    class Padded(Paused):
        def step(self, tokens):
            return super().step(tokens).index_fill(1, torch.tensor([PAD]), 1e4)

    model.family.reader = lambda c, n: Padded(plain(c, n), 0.0)
    assert PAD not in alone(ask(b"ab"), model).tokens


@given(
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 14)), min_size=2, max_size=7),
    order=st.lists(st.integers(0, 3), max_size=30),
    slots=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None)
def test_joining_and_leaving_at_any_time_changes_nothing(sizes, order, slots):
    requests = [
        ask(
            [97 + (i * 7 + j) % 26 for j in range(size)],
            most=most,
            seed=i,
            controls=[GREEDY, Controls(temperature=0.8, top_k=5), Controls(repetition=1.5)][i % 3],
        )
        for i, (size, most) in enumerate(sizes)
    ]
    engine, heard = Engine(MODEL, slots=slots), {request: [] for request in requests}
    coming = list(requests)
    steps = iter([*order, *[0] * 1000])
    while coming or engine.busy:
        for _ in range(max(next(steps), 0 if engine.busy else 1)):
            if coming:
                engine.submit(coming.pop(0))
        events = engine.advance()
        assert engine.running <= slots
        assert len({event.request for event in events}) == len(events)
        for event in events:
            heard[event.request].append(event)
    for request, events in heard.items():
        same = alone(request)
        assert gathered(events).tokens == same.tokens
        assert gathered(events).text == same.text
        assert gathered(events).log_probs == pytest.approx(same.log_probs, abs=1e-4)


def test_log_probs_are_those_of_the_family():
    request = ask(b"ab", most=9, controls=Controls(temperature=0.7), top=3)
    found = alone(request)
    known = [*request.tokens, *found.tokens]
    nats = MODEL.family.logits(torch.tensor([known])).log_softmax(-1)[0, 1:-1]
    wanted = nats.gather(1, torch.tensor(found.tokens)[:, None])[:, 0]
    assert found.log_probs == pytest.approx(wanted.tolist(), abs=1e-4)
    for place, top in zip(nats, found.top, strict=True):
        values, tokens = place.topk(3)
        assert [token for token, _ in top] == tokens.tolist()
        assert [nat for _, nat in top] == pytest.approx(values.tolist(), abs=1e-4)


def test_a_stop_string_ends_a_text_though_no_token_is_one():
    whole = alone(ask(b"ab", most=30)).text
    stop = whole[10:13]
    short = alone(ask(b"ab", most=30, stop=("never", stop)))
    assert short.text == whole[: whole.index(stop)]
    assert short.finish == "stop"


def test_a_token_of_over_ends_a_text_and_is_not_shown():
    whole = alone(ask(b"ab"))
    found = alone(ask(b"ab", over=frozenset({whole.tokens[4]})))
    place = whole.tokens.index(whole.tokens[4])
    assert found.tokens == whole.tokens[: place + 1]
    assert found.finish == "stop"
    assert found.text == bytes(found.tokens[:-1]).decode(errors="replace")


def test_what_stands_before_an_end_is_not_known_after_it():
    assert alone(ask([*b"other", END, *b"ab"])).tokens == alone(ask([END, *b"ab"])).tokens
    assert alone(ask([END, *b"ab"])).tokens != alone(ask(b"ab")).tokens


def test_a_full_context_is_the_end_where_no_number_is_asked_for():
    found = alone(ask(b"ab", most=None))
    assert (len(found.tokens), found.finish) == (47, "length")
    assert len(alone(ask(b"x" * 48, most=None)).tokens) == 1


def test_cancelling_frees_the_slot_and_disturbs_nobody():
    first, second, third = ask(b"abc"), ask(b"de"), ask(b"fgh")
    engine = Engine(MODEL, slots=2)
    for request in (first, second, third):
        engine.submit(request)
    engine.advance()
    assert (engine.running, engine.waiting) == (2, 1)
    engine.cancel(first)
    assert engine.running == 1
    heard = [event for _ in range(40) for event in engine.advance()]
    assert not any(event.request is first for event in heard)
    told = tuple(event.token for event in heard if event.request is third)
    assert told == alone(third).tokens
    engine.submit(first)
    engine.cancel(first)
    engine.cancel(first)
    assert not engine.busy


def test_clearing_forgets_everything():
    engine = Engine(MODEL, slots=1)
    for request in (ask(b"a"), ask(b"b")):
        engine.submit(request)
    engine.advance()
    engine.clear()
    assert not engine.busy
    assert engine.advance() == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ask(b""), "a prompt must be of 1 to 48 tokens, for the context of this model; got 0"),
        (ask(b"a" * 49), "got 49. Leave out its beginning"),
        (ask([3, SIZE]), f"tokens of a prompt must be from 0 to {SIZE - 1}; got {SIZE}"),
        (ask([-1]), "got -1"),
        (ask(b"a", most=0), "the most new tokens must be from 1 to 1048576; got 0"),
        (ask(b"a", most=2**21), "the most new tokens must be from 1 to 1048576; got 2097152"),
        (ask(b"a", stop="END"), "stop strings must be a list of texts; got 'END'"),
        (ask(b"a", stop=("",)), "stop strings must be of 1 character or more"),
        (ask(b"a", top=SIZE), f"must be from 0 to {SIZE - 1}"),
        (ask(b"a", controls=Controls(guidance=2.0)), "transformer does not honour guidance"),
    ],
)
def test_what_cannot_be_served_is_refused_and_says_why(request_, words):
    engine = Engine(MODEL)
    with pytest.raises(UsageError, match=words):
        engine.submit(request_)
    assert not engine.busy


def test_a_model_of_something_else_is_refused():
    class Pictures:
        name = "images"

    other = standin()
    other.domain = Pictures()
    with pytest.raises(UsageError, match="a model of images, and this needs a model of texts"):
        Engine(other)
    with pytest.raises(UsageError, match="slots must be 1"):
        Engine(MODEL, slots=0)


def test_padding_is_never_made():
    assert PAD not in alone(ask(b"ab", most=None, controls=Controls(temperature=50.0))).tokens
