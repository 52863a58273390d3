"""Drafts: greedy texts equal, others of the distribution, misfits refused."""

import collections

import pytest
import torch

from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.tasks.drafting import drafted
from likewise.tasks.forms import Form
from likewise.tasks.rows import Request
from likewise.tasks.texts import complete, stream
from tests.serve.standin import standin

GREEDY = Controls(temperature=0.0)


@pytest.fixture(scope="module")
def pair():
    large, small = standin(length=48), standin(length=48, depth=1)
    large.name, small.name = "large", "small"
    return large, small


def test_greedy_texts_are_those_without_a_draft(pair):
    large, small = pair
    prompts = ["one", "another one", "x"]
    told = [complete(large, prompts, most=20, controls=GREEDY, draft=one) for one in (None, small)]
    assert [one.text for one in told[0]] == [one.text for one in told[1]]
    assert [one.finish for one in told[0]] == [one.finish for one in told[1]]
    for one, other in zip(*told, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


@pytest.mark.parametrize(("context", "drafts"), [(48, 9), (48, 1), (20, 48), (15, 11)])
def test_a_text_is_as_long_as_without_a_draft_whatever_the_contexts(context, drafts):
    large, small = standin(length=context), standin(length=drafts, depth=1)
    prompts, asked = ["one", "another one", "x"], {"most": 70, "controls": GREEDY}
    plain, told = (complete(large, prompts, **asked, draft=one) for one in (None, small))
    assert [one.tokens for one in told] == [one.tokens for one in plain]
    assert {len(one.tokens) for one in told} == {70}
    short = complete(large, prompts, controls=GREEDY, draft=small)
    assert [len(one.tokens) for one in short] == [context + 1 - len(p) for p in prompts]


def test_a_prompt_may_be_longer_than_the_context_of_the_draft(pair):
    large, _ = pair
    small = standin(length=6, depth=1)
    plain, told = (
        complete(large, ["a prompt of 24 letters.."], most=12, controls=GREEDY, draft=one)
        for one in (None, small)
    )
    assert told[0].tokens == plain[0].tokens


def test_texts_have_the_distribution_of_the_model(pair):
    large, small = pair
    cold = Controls(temperature=0.5, top_k=3)
    shares = []
    for draft in (None, small):
        every = complete(large, ["a"] * 3000, most=2, controls=cold, slots=3000, draft=draft)
        shares.append(collections.Counter(one.tokens for one in every))
    expected, found = shares
    often = [tokens for tokens, count in expected.items() if count > 60]
    assert often
    for tokens in often:
        n, m = expected[tokens], found[tokens]
        assert abs(n - m) < 5 * (n + m) ** 0.5


def test_a_text_streams_and_stops(pair):
    large, small = pair
    plain = "".join(stream(large, "one", most=30, controls=GREEDY))
    stop = plain[6:8]
    texts = [
        "".join(stream(large, "one", most=30, controls=GREEDY, stop=[stop], draft=draft))
        for draft in (None, small)
    ]
    assert texts[0] == texts[1]
    assert stop not in texts[0]


def test_the_likeliest_tokens_are_told(pair):
    large, small = pair
    (one,) = complete(large, ["one"], most=5, controls=GREEDY, logprobs=2, draft=small)
    assert [len(top) for top in one.top] == [2] * len(one.tokens)
    assert [top[0][0] for top in one.top] == list(one.tokens)


def test_more_prompts_than_slots(pair):
    large, small = pair
    prompts = list("abcdefg")
    few = complete(large, prompts, most=6, controls=GREEDY, slots=3, draft=small)
    assert [one.text for one in few] == [
        one.text for one in complete(large, prompts, most=6, controls=GREEDY)
    ]


def test_drafts_that_do_not_fit_are_refused(pair):
    large, small = pair
    with pytest.raises(UsageError, match="must have the tokens of large; they differ"):
        complete(large, ["a"], draft=standin(length=48, roles=False))
    with pytest.raises(UsageError, match="a form and a draft do not go together"):
        complete(large, ["a"], draft=small, form=Form("regex", "a+"))
    with pytest.raises(UsageError, match="a repetition penalty and a draft"):
        complete(large, ["a"], draft=small, controls=Controls(repetition=1.2))
    with pytest.raises(UsageError, match="a prompt must be of 1 to 48 tokens"):
        drafted(large, small, [Request(tokens=[97] * 99)])


def test_a_family_that_cannot_take_back_is_refused(pair):
    class Forgetless:
        def reader(self, c, n):
            return object()

    large, _ = pair
    other = standin(length=48)
    other.name, other.family = "rnn", Forgetless()
    with pytest.raises(UsageError, match="rnn cannot take back what it read"):
        complete(large, ["a"], draft=other)


def test_equal_seeds_give_equal_texts(pair):
    large, small = pair
    one, other, third = (
        complete(large, ["a", "b"], most=12, seed=seed, draft=small) for seed in (1, 1, 2)
    )
    assert [x.tokens for x in one] == [x.tokens for x in other] != [x.tokens for x in third]
    assert torch.tensor([len(x.tokens) for x in one]).max() <= 12


def test_texts_may_stop_in_the_middle_of_a_round(pair):
    """A model that is its own draft guesses right, so a stop falls on every place of a round."""
    large, _ = pair
    asked, prompts = {"most": 16, "controls": GREEDY}, ["one", "another one", "x"]
    for stop in set("".join(one.text for one in complete(large, prompts, **asked))):
        plain, told = (
            complete(large, prompts, **asked, stop=[stop], draft=one) for one in (None, large)
        )
        assert [(one.text, one.finish) for one in told] == [
            (one.text, one.finish) for one in plain
        ]
