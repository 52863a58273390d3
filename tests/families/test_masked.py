"""Masked diffusion: the bound by brute force over all orders, lengths, infilling, documents."""

import itertools
import math

import pytest
import torch
from torch import nn

from likewise.core.condition import Labels, Tokens
from likewise.core.contract import Controls, Step
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.masked import Config, Masked
from likewise.nn.infilling import ranks, right_aligned, sight, spans, spread

END, PAD = 3, 4
SMALL = Sequence(length=3, tokens=5, end=END, pad=PAD)
WORDS = Sequence(length=8, tokens=5, end=END, pad=PAD)
PACKED = Sequence(length=8, tokens=5, end=END, pad=PAD, packed=True)
PROMPT = Tokens(name="prompt", length=8, tokens=5, pad=PAD)
LABEL = Labels(names=("a", "b"))


def lively(space, conditions=(), seed=0, std=0.4):
    """An untrained family whose zeroed layers are at random too."""
    torch.manual_seed(seed)
    config = Config(width=16, depth=2, heads=2, hidden=32)
    family = Masked(config, space, conditions).eval()
    for name, parameter in family.named_parameters():
        if "gain" not in name:
            nn.init.normal_(parameter, std=std)
    return family


def independent(space, conditions=()):
    """A family whose blocks are silent: each token is drawn by itself, in any order."""
    torch.manual_seed(0)
    family = Masked(Config(width=16, depth=1, heads=2, hidden=32), space, conditions).eval()
    nn.init.normal_(family.head.weight)
    nn.init.normal_(family.sizes.weight)
    return family


def row(text, space=WORDS):
    """ "01E" as tokens, filled up; E is the end, P the padding."""
    tokens = ["012EP".index(letter) for letter in text]
    return torch.tensor(tokens + [PAD] * (space.length - len(tokens)))


def rows(*texts, space=WORDS):
    return torch.stack([row(text, space) for text in texts])


def prompt(*texts):
    size = max(1, max(map(len, texts)))
    values = torch.stack([row(text)[:size] for text in texts])
    return {"prompt": (values, torch.tensor([bool(text) for text in texts]))}


def every(cut, length=3):
    """All texts that end before the cut, and all that are cut there."""
    closed = ["".join(t) + "E" for k in range(cut) for t in itertools.product("012", repeat=k)]
    return [*closed, *("".join(t) for t in itertools.product("012", repeat=cut))]


def parts(text):
    """The letters of a text, and whether it is closed."""
    return text.rstrip("E"), text.endswith("E")


def log_length(family, text, c=None):
    """log p of how long a text is, by p(k) alone."""
    letters, closed = parts(text)
    masses = family.lengths(1, c)[0].double().softmax(dim=0)
    mass = masses[len(letters)] if closed else masses[len(letters) :].sum()
    return float(mass.log())


def orders(family, text, c=None):
    """log p(tokens | how many there are) in each order of appearing."""
    letters, _ = parts(text)
    found = []
    for order in itertools.permutations(range(len(letters))):
        x, total = row(text, family.space)[None].clone(), 0.0
        x[0, : len(letters)] = family.hidden
        for place in order:
            log_probs = family.logits(x, c)[0, place].double().log_softmax(dim=0)
            x[0, place] = int(letters[place])
            total += float(log_probs[x[0, place]])
        found.append(total)
    return torch.tensor(found, dtype=torch.float64)


@torch.no_grad()
def bound(family, text, c=None):
    return float(orders(family, text, c).mean()) + log_length(family, text, c)


@torch.no_grad()
def exact(family, text, c=None):
    found = orders(family, text, c)
    return float(found.logsumexp(dim=0)) - math.log(len(found)) + log_length(family, text, c)


def estimate(family, text, c=None, n=1500):
    """The mean of log_prob over n samples, and the error of that (rows are even: it is less)."""
    told = {k: (v.expand(n, *v.shape[1:]), p.expand(n)) for k, (v, p) in (c or {}).items()}
    values = family.log_prob(row(text, family.space).expand(n, -1), told, rng=Draws(11))
    return float(values.mean()), 4 * float(values.std()) / math.sqrt(n) + 1e-4


# -- the bound ----------------------------------------------------------------------------


def test_log_prob_is_the_mean_over_all_orders_and_below_the_exact_answer():
    family = lively(SMALL)
    gaps = []
    for text in every(3)[::3]:
        value, error = estimate(family, text)
        assert value == pytest.approx(bound(family, text), abs=error)
        gaps.append(exact(family, text) - bound(family, text))
    assert min(gaps) > -1e-6
    assert max(gaps) > 0.01, "with two tokens or more the bound is not tight"


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_texts_that_end_before_a_cut_and_those_cut_there_sum_to_one(cut):
    family = lively(SMALL, seed=1)
    texts = every(cut)
    assert abs(sum(math.exp(exact(family, text)) for text in texts) - 1) < 1e-5
    mass = family.log_prob(rows(*texts, space=SMALL), draws=50).double().exp().sum()
    assert 0.5 < float(mass) < 1 + 1e-3


def test_one_token_at_most_has_an_exact_bound_from_one_draw():
    family = lively(WORDS)
    for text in ("E", "0E", "1E", "2E", "1", "2"):
        value = family.log_prob(rows(text), rng=Draws(9))
        assert float(value) == pytest.approx(exact(family, text), abs=1e-5)


def test_independent_tokens_have_an_exact_bound():
    family = independent(SMALL)
    for text in ("012", "120", "01E"):
        value, error = estimate(family, text)
        assert value == pytest.approx(exact(family, text), abs=error)
    alike = ("000", "11E", "222", "E")  # of one likelihood each, so that nothing is random
    once = family.log_prob(rows(*alike, space=SMALL), rng=Draws(0))
    truth = torch.tensor([exact(family, text) for text in alike])
    torch.testing.assert_close(once, truth, atol=1e-4, rtol=0)


def test_the_loss_is_the_bound_a_token():
    family, n = lively(SMALL), 3000
    texts = ["01E", "2E", "120"]
    x = rows(*texts, space=SMALL).repeat(n, 1)
    with torch.no_grad():
        (loss,) = family.losses(x, {}, step=Step(Draws(0), 0.0))
    truth = -sum(bound(family, text) for text in texts) / sum(map(len, texts))
    error = float(loss.value.std()) / math.sqrt(3 * n)
    assert loss.value.shape == (3 * n,)
    assert float(loss.value.mean()) == pytest.approx(truth, abs=4 * error)


def test_draws_make_the_estimate_less_noisy():
    family = lively(WORDS)
    x = row("0120120E").expand(60, 8)
    few, many = (family.log_prob(x, rng=Draws(0), draws=draws).std() for draws in (1, 16))
    assert many < few / 3


# -- lengths, sampling, infilling ---------------------------------------------------------


def test_samples_have_the_exact_distribution_with_a_round_for_each_token():
    family = lively(SMALL, seed=2)
    n, texts = 20_000, every(3)
    x = family.sample(n, rng=Draws(0))
    SMALL.check(x)
    mass = torch.tensor([math.exp(exact(family, text)) for text in texts])
    shares = (x[:, None] == rows(*texts, space=SMALL)[None]).all(dim=2).double().mean(dim=0)
    assert float(shares.sum()) == 1.0
    chi = float((n * (shares - mass).square() / mass)[n * mass > 5].sum())
    assert chi < 2 * len(texts), (shares, mass)


def test_steps_are_the_rounds_of_the_sampler():
    family = lively(WORDS)
    with torch.no_grad():
        family.sizes.weight.zero_()
    calls = []
    family.head.register_forward_hook(lambda module, given, out: calls.append(len(given[0])))
    for steps, most in ((1, 1), (3, 3), (None, 8), (100, 8)):
        calls.clear()
        WORDS.check(family.sample(30, rng=Draws(1), controls=Controls(steps=steps)))
        assert len(calls) == most
        assert max(calls) - min(calls) <= 30, "shares of the tokens are even"


def test_controls_shape_tokens_and_leave_lengths():
    family = lively(WORDS)
    free = family.sample(64, rng=Draws(1))
    likeliest = family.sample(64, rng=Draws(1), controls=Controls(temperature=0.0))
    assert torch.equal(free == PAD, likeliest == PAD)
    assert not torch.equal(free, likeliest)
    for controls in (Controls(top_k=1), Controls(top_p=1e-6), Controls(min_p=0.999)):
        assert torch.equal(family.sample(64, rng=Draws(1), controls=controls), likeliest)


@pytest.mark.parametrize("space", [WORDS, PACKED])
def test_known_tokens_stay_and_what_is_filled_in_is_of_the_space(space):
    family = lively(space)
    x = rows("0120120E", "01E", "01", "E", "01201201", "", "2E")
    for seed in range(30):
        known = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
        whole = family.complete(x, known, rng=Draws(seed))
        WORDS.check(whole)
        assert torch.equal(whole[known], x[known])
        assert not (whole == family.hidden).any()
    everything = family.complete(x, torch.ones_like(x).bool(), rng=Draws(0))
    assert torch.equal(everything, x)


def test_a_gap_is_filled_by_what_stands_on_both_sides():
    family = lively(WORDS)
    x = rows("0120E").expand(8000, 8)
    known = torch.ones_like(x).bool()
    known[:, 1] = False
    whole = family.complete(x, known, rng=Draws(0))
    gap = rows("0120E")
    gap[0, 1] = family.hidden
    with torch.no_grad():
        mass = family.logits(gap)[0, 1].softmax(dim=0)
    shares = torch.nn.functional.one_hot(whole[:, 1], 5).float().mean(dim=0)
    torch.testing.assert_close(shares, mass, atol=0.02, rtol=0)


def test_the_length_of_what_is_filled_in_is_one_that_is_allowed():
    family = lively(WORDS)
    x = rows("012E").expand(2000, 8)
    known = torch.zeros_like(x).bool()
    known[:, :2] = True  # two letters, and padding from the seventh place
    known[:, 6:] = True
    whole = family.complete(x, known, rng=Draws(0))
    ends = (whole == END).long().argmax(dim=1)
    assert set(ends.tolist()) == {2, 3, 4, 5}
    with torch.no_grad():
        mass = family.lengths(1)[0, 2:6].softmax(dim=0)
    shares = (ends[:, None] == torch.arange(2, 6)).float().mean(dim=0)
    torch.testing.assert_close(shares, mass, atol=0.05, rtol=0)


def test_completing_rows_of_two_texts_is_refused():
    family = lively(PACKED)
    x = rows("0E1E")
    with pytest.raises(UsageError, match=r"x must be one sequence a row; got 'known tokens beh"):
        family.complete(x, torch.ones_like(x).bool(), rng=Draws(0))


def test_a_row_draws_alike_at_any_batch_size():
    family = lively(WORDS, (PROMPT,))
    c = prompt("0", "0120", "", "21", "E", "2")
    whole = family.sample(6, c, rng=Draws(5))
    x = rows("0120120E", "01E", "01", "E", "01201201", "2E")
    value = family.log_prob(x, c, rng=Draws(3), draws=2)
    filled = family.complete(x, x == 0, c, rng=Draws(4))
    for first in (0, 2, 4):
        some = slice(first, first + 2)
        told = {"prompt": tuple(part[some] for part in c["prompt"])}
        assert torch.equal(family.sample(2, told, rng=Draws(5, first)), whole[some])
        again = family.log_prob(x[some], told, rng=Draws(3, first), draws=2)
        torch.testing.assert_close(again, value[some], atol=1e-4, rtol=1e-4)
        some_filled = family.complete(x[some], x[some] == 0, told, rng=Draws(4, first))
        assert torch.equal(some_filled, filled[some])


def test_log_prob_in_chunks_is_the_same(monkeypatch):
    family = lively(WORDS)
    x = rows("0120120E", "01E", "01", "E", "01201201")
    whole = Draws(3)
    value = family.log_prob(x, rng=whole, draws=2)
    monkeypatch.setattr("likewise.families.masked.ROOM", 2 * 5 * 9)
    chunked = Draws(3)
    torch.testing.assert_close(family.log_prob(x, rng=chunked, draws=2), value)
    assert chunked.draw == whole.draw


# -- what stands before -------------------------------------------------------------------


def test_a_prompt_steers_and_its_filling_does_not():
    family = lively(WORDS, (PROMPT,))
    x = rows("01E", "01E", "01E")
    value = family.log_prob(x, prompt("0", "1120", ""), rng=Draws(0))
    assert abs(float(value[0] - value[1])) > 1e-3
    alone = family.log_prob(x[:1], prompt("0"), rng=Draws(0))
    torch.testing.assert_close(alone, value[:1])
    absent = family.log_prob(x, None, rng=Draws(0))
    torch.testing.assert_close(absent[2], value[2])


def test_log_prob_given_a_prompt_agrees_with_brute_force():
    family = lively(SMALL, (PROMPT, LABEL))
    c = prompt("2") | {"label": (torch.tensor([1]), torch.tensor([True]))}
    for text in ("10E", "2E", "10"):
        value, error = estimate(family, text, c)
        assert value == pytest.approx(bound(family, text, c), abs=error)


def test_a_long_prompt_is_cut_on_the_left_however_long_x_is():
    family = lively(WORDS, (PROMPT,))
    for x in (rows("1E"), rows("0120120E")):
        long = family.log_prob(x, prompt("01201201"), rng=Draws(0))
        torch.testing.assert_close(
            family.log_prob(x, prompt("1201"), rng=Draws(0)), long, atol=1e-5, rtol=0
        )
        assert float((family.log_prob(x, prompt("201"), rng=Draws(0)) - long).abs()) > 1e-4
    with torch.no_grad():
        family.sizes.weight.zero_()
    x = family.sample(
        500,
        {k: (v.expand(500, -1), p.expand(500)) for k, (v, p) in prompt("1201").items()},
        rng=Draws(0),
    )
    WORDS.check(x)
    assert int((x != PAD).sum(dim=1).max()) == 5, "prompt and row hold nine tokens at most"


def test_a_source_is_read_whole():
    source = Tokens(name="source", length=8, tokens=5, pad=PAD)
    family = lively(WORDS, (source, PROMPT))
    x, begin = rows("0120120E"), prompt("E")
    values = rows("01201201")
    first = family.log_prob(x, begin | {"source": (values, torch.tensor([True]))}, rng=Draws(0))
    values[0, 0] = 2
    other = family.log_prob(x, begin | {"source": (values, torch.tensor([True]))}, rng=Draws(0))
    assert float((first - other).abs()) > 1e-4
    WORDS.check(family.sample(1, begin | {"source": (values, torch.tensor([True]))}, rng=Draws(0)))


def test_documents_of_a_packed_row_do_not_see_each_other():
    family = lively(PACKED, (PROMPT,))
    hidden = rows("01E12E20")
    hidden[0, [1, 4, 6]] = family.hidden
    with torch.no_grad():
        whole = family.logits(hidden, prompt("E"))
        for low, text in ((0, "01E"), (3, "12E"), (6, "20")):
            alone = rows(text, space=PACKED)
            place = hidden[0, low : low + len(text)] == family.hidden
            alone[0, : len(text)][place] = family.hidden
            apart = family.logits(alone, prompt("E"))[0, : len(text)][place]
            torch.testing.assert_close(apart, whole[0, low : low + len(text)][place])


def test_a_packed_row_has_the_likelihood_of_its_documents():
    family = lively(PACKED, (PROMPT,))
    texts = ("0E", "E", "12E", "2")
    apart = sum(bound(family, text, prompt("E")) for text in texts)
    value, error = estimate(family, "".join(texts), prompt("E"))
    assert value == pytest.approx(apart, abs=error)


def test_a_seam_begins_a_document_of_which_nothing_is_known():
    family = lively(PACKED, (PROMPT,))
    seam, alone = rows("01P20E", space=PACKED), rows("20E", space=PACKED)
    seam[0, 4] = alone[0, 1] = family.hidden
    with torch.no_grad():
        first = family.logits(seam, prompt("2"))[0, 4]
        torch.testing.assert_close(family.logits(alone, None)[0, 1], first)


def test_tokens_that_are_not_scored_are_not_hidden():
    family = lively(WORDS)
    x = rows("0120E")
    scored = torch.zeros_like(x).bool()
    scored[0, 2] = True
    c = {"scored": (scored, torch.tensor([True]))}
    gap = x.clone()
    gap[0, 2] = family.hidden
    with torch.no_grad():
        (loss,) = family.losses(x, c, step=Step(Draws(0), 0.0))
        truth = -family.logits(gap)[0, 2].log_softmax(dim=0)[2]
    assert float(loss.value[0]) == pytest.approx(float(truth), abs=1e-5)


# -- learning -----------------------------------------------------------------------------


def train(family, x, c=None, steps=300):
    optimizer = torch.optim.AdamW(family.parameters(), lr=5e-3)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    for index in range(steps):
        pick = Draws(index, 7).integers(len(x), 64)
        some = {name: (v[pick], p[pick]) for name, (v, p) in (c or {}).items()}
        (loss,) = family.losses(x[pick], some, step=Step(Draws(index), index / steps, index))
        optimizer.zero_grad()
        loss.value.mean().backward()
        optimizer.step()
        falling.step()
    return family.eval()


def fresh(space, conditions=()):
    torch.manual_seed(0)
    return Masked(Config(width=32, depth=2, heads=2, hidden=64), space, conditions)


def test_toy_strings_are_learned_and_their_bound_is_tight():
    texts = ["0120E", "111E", "20202020", "E"]
    x = rows(*texts)
    family = train(fresh(WORDS), x, steps=450)
    mass = family.log_prob(x, rng=Draws(0), draws=64).double().exp()
    assert (mass > 0.2).all()
    assert 0.9 < float(mass.sum()) < 1.001
    drawn = family.sample(400, rng=Draws(0))
    shares = (drawn[:, None] == x[None]).all(dim=2).double().mean(dim=0)
    assert float(shares.sum()) > 0.93
    assert ((shares - 0.25).abs() < 0.1).all()
    gaps = row("0120E").expand(100, 8)
    whole = family.complete(gaps, (gaps == 0) | (gaps == PAD), rng=Draws(1))
    assert float((whole == gaps).all(dim=1).double().mean()) > 0.8


def test_windows_are_learned_and_labels_steer():
    stream = torch.tensor([int("012E"[i]) if "012E"[i] != "E" else END for i in [0, 1, 2, 3] * 8])
    x = torch.stack([stream[start : start + 8] for start in range(8)])
    before = torch.stack([stream[start - 1 + 4 : start + 4] for start in range(8)])
    c = {"prompt": (before, torch.ones(8).bool())}
    family = train(fresh(PACKED, (PROMPT,)), x, c)
    value = family.log_prob(rows("012E", space=PACKED), prompt("E"), rng=Draws(0), draws=8)
    assert float(value) > -0.3
    labels = {"label": (torch.tensor([0, 1]), torch.ones(2).bool())}
    family = train(fresh(WORDS, (LABEL,)), rows("00E", "111E"), labels, steps=150)
    drawn = family.sample(2, labels, rng=Draws(0))
    assert torch.equal(drawn, rows("00E", "111E"))


# -- the bricks ---------------------------------------------------------------------------


def test_who_sees_whom():
    before, lengths = torch.tensor([[PAD, 0]]), torch.tensor([1])
    x = rows("1E2", space=WORDS)[:, :4]  # 1 END 2 PAD
    seen = sight(before, lengths, x, PACKED)[0, 0].long().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],  # the filling sees itself alone
        [0, 1, 0, 0, 0, 0],  # the prompt does not see x
        [0, 1, 1, 1, 0, 0],  # a token: the prompt, its document and the end of that
        [0, 0, 0, 1, 0, 0],  # the end: itself
        [0, 0, 0, 1, 1, 0],  # the next token: the end that opens its document
        [0, 0, 0, 0, 0, 1],
    ]
    ended = sight(torch.tensor([[0, END]]), torch.tensor([2]), x, PACKED)[0, 0]
    assert ended[2].tolist() == [False, True, True, True, False, False]
    assert sight(torch.tensor([[0, END]]), torch.tensor([2]), x, WORDS)[0, 0, 2, 0]


def test_spans_agree_with_a_plain_loop():
    x = Draws(0).integers(5, 40, 7)
    found = spans(x, PACKED)
    for r, tokens in enumerate(x.tolist()):
        for column in range(8):
            opens = column == 0 or tokens[column - 1] in (END, PAD)
            assert bool(found.opens[r, column]) == opens
            size = next((k for k, t in enumerate(tokens[column:]) if t in (END, PAD)), 7 - column)
            assert int(found.sizes[r, column]) == size
            after = tokens[column + size] if column + size < 7 else None
            assert bool(found.closed[r, column]) == (after == END)


def test_ranks_are_a_random_order_of_those_asked_for():
    among = Draws(1).uniform(500, 6) < 0.6
    order = ranks(among, Draws(0))
    for some, rank in zip(among, order, strict=True):
        assert sorted(rank[some].tolist()) == list(range(int(some.sum())))
    whole = ranks(torch.ones(6000, 3).bool(), Draws(2))
    shares = torch.unique(whole, dim=0, return_counts=True)[1] / 6000
    assert len(shares) == 6
    assert ((shares - 1 / 6).abs() < 0.02).all()


def test_spread_numbers_are_even_and_those_of_their_samples():
    rng = Draws(3)
    numbers = spread(100, rng)
    assert torch.equal(spread(40, Draws(3, 60)), numbers[60:])
    assert torch.histc(numbers.float(), 10, 0, 1).min() >= 9
    firsts = torch.stack([spread(1, Draws(seed))[0] for seed in range(400)])
    assert torch.histc(firsts.float(), 4, 0, 1).min() > 70
    assert right_aligned(torch.tensor([[1, 2]]), torch.tensor([2]), 9).tolist() == [[1, 2]]
