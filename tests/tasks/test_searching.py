"""Beams: the likeliest text by brute force, what it tells, and what goes with it."""

import itertools

import pytest
import torch

from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.tasks.forms import Form
from likewise.tasks.texts import complete
from tests.serve.standin import END, ROLES, standin

GREEDY = Controls(temperature=0.0)
MODEL = standin(length=24, endless=False)


@torch.no_grad()
def likeliest(model, prompt, letters, most):
    """Of all texts of some letters: the end token comes once, or the text is cut off."""
    every = []
    for size in range(most + 1):
        for text in itertools.product(letters, repeat=size):
            tokens = [*text, END] if size < most else [*text]
            row = torch.tensor([[*prompt, *tokens]])
            logits = model.family.logits(row)[0].double()
            nats = logits.log_softmax(-1)[len(prompt) - 1 : -1]
            score = nats.gather(1, torch.tensor(tokens)[:, None]).sum()
            every.append((float(score) / len(tokens), tokens, float(score)))
    return max(every)


def few_letters():
    """A stand-in that writes two letters and the end alone."""
    model = standin(length=24, endless=False)
    model.family.silent[:] = -torch.inf
    model.family.silent[[97, 98, END]] = 0.0
    return model


@pytest.mark.parametrize("prompt", ["ba", "abba", "b"])
def test_the_search_finds_the_likeliest_text(prompt):
    model = few_letters()
    _, tokens, nats = likeliest(model, prompt.encode(), b"ab", 5)
    (found,) = complete(model, [prompt], most=5, beams=100)
    assert list(found.tokens) == tokens
    assert sum(found.log_probs) == pytest.approx(nats, abs=1e-4)
    assert found.finish == ("stop" if tokens[-1] == END else "length")


def test_more_beams_find_nothing_less_likely_than_greedy_text():
    prompts = ["ab", "what", "x"]
    greedy = complete(standin(length=60), prompts, most=12, controls=GREEDY)
    found = complete(standin(length=60), prompts, most=12, beams=6)
    for one, other in zip(found, greedy, strict=True):
        assert sum(one.log_probs) >= sum(other.log_probs) - 1e-4
    assert [one.tokens for one in found] != [one.tokens for one in greedy]


def test_an_answer_ends_where_another_speaks():
    """Its tokens and their nats are those that the model has for this answer."""
    model, user = standin(length=24), ROLES["user"]
    model.family.silent[user] += 17.0
    (found,) = complete(model, ["ab"], most=12, beams=4)
    assert found.finish == "stop"
    assert found.tokens[-1] == user
    assert not set(found.tokens[:-1]) & set(ROLES.values())
    row = torch.tensor([[*b"ab", *found.tokens]])
    nats = model.family.logits(row)[0].log_softmax(-1)[1:-1]
    wanted = nats.gather(1, torch.tensor(found.tokens)[:, None])[:, 0]
    assert torch.allclose(torch.tensor(found.log_probs), wanted, atol=1e-4)


def test_log_probabilities_and_the_likeliest_tokens_are_told():
    (found,) = complete(MODEL, ["ab"], most=6, beams=3, logprobs=2)
    row = torch.tensor([[*b"ab", *found.tokens]])
    nats = MODEL.family.logits(row)[0].log_softmax(-1)[1:-1]
    wanted = nats[range(len(found.tokens)), list(found.tokens)].tolist()
    assert found.log_probs == pytest.approx(wanted, abs=1e-4)
    assert [top[0][0] for top in found.top] == nats.argmax(-1).tolist()
    assert [len(top) for top in found.top] == [2] * len(found.tokens)


def test_a_search_goes_beyond_the_context():
    model = standin(length=9)
    (found,) = complete(model, ["abcdef"], most=30, beams=2)
    assert (len(found.tokens), found.finish) == (30, "length")
    (short,) = complete(model, ["abcdef"], beams=2)
    assert len(short.tokens) == 4


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"beams": 0}, "the number of beams must be 1 or more; got 0"),
        ({"beams": 2, "controls": GREEDY}, "temperature shapes draws, and beams draw nothing. T"),
        ({"beams": 2, "controls": Controls(top_k=3, repetition=2.0)}, "repetition, top_k shapes"),
        ({"beams": 2, "stop": ["x"]}, "stop strings and beams do not go together yet: leave one"),
        ({"beams": 2, "form": Form("regex", "a")}, "a form and beams do not go together yet"),
        ({"beams": 2, "draft": MODEL}, "a draft and beams do not go together: leave one of them"),
        ({"beams": 2, "most": 0}, "the most new tokens must be from 1"),
    ],
)
def test_what_does_not_go_with_beams_is_refused(wishes, said):
    with pytest.raises(UsageError, match=said):
        complete(MODEL, ["ab"], **wishes)
