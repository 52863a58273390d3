"""Counted runs of tokens: Kneser-Ney by dictionaries, brute force, and what stands before."""

import itertools
import math
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch

from likewise.core.condition import Tokens
from likewise.core.contract import Controls
from likewise.core.errors import DataError
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.ngram import Config, Ngram
from likewise.nn.counts import KneserNey
from likewise.store.files import read_tensors, write_tensors

END, PAD = 3, 4
WORDS = Sequence(length=4, tokens=5, end=END, pad=PAD)
STREAM = Sequence(length=12, tokens=5, end=END, pad=PAD, packed=True)
PROMPT = (Tokens(name="prompt", length=12, tokens=5, pad=PAD),)


class Batches(list):
    """Rows and conditions in batches of 5."""

    def __init__(self, x, c=None):
        starts = range(0, len(x), 5)
        c = c or {}
        super().__init__(
            (x[i : i + 5], {k: (v[i : i + 5], p[i : i + 5]) for k, (v, p) in c.items()})
            for i in starts
        )
        self.n = len(x)

    def __len__(self):
        return self.n


def learned(x, space, c=None, conditions=PROMPT, **settings):
    model = Ngram(Config(**settings), space, conditions)
    (objective,) = model.learn(Batches(x, c), rng=Draws(0))
    return model, objective


def prompts(values, absent=()):
    """Prompts of unequal length as a condition."""
    rows = torch.full((len(values), max(len(v) for v in values)), PAD)
    for row, value in zip(rows, values, strict=True):
        row[: len(value)] = torch.tensor(value)
    present = torch.ones(len(values), dtype=torch.bool)
    present[list(absent)] = False
    return {"prompt": (rows, present)}


def texts(n, longest=6, seed=0, tokens=3):
    """Tokens that lean on the one before, closed by an end."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        row = [int(rng.integers(tokens))]
        while len(row) < longest and rng.random() < 0.8:
            row.append((row[-1] + int(rng.random() < 0.3)) % tokens)
        rows.append([*row, END])
    return rows


def stream(rows, width=12):
    """Windows of texts that stand one after another, and the token before each."""
    flat = [END, *itertools.chain(*rows)]
    x = torch.full((-(-(len(flat) - 1) // width), width), PAD)
    before = []
    for i in range(len(x)):
        part = flat[1 + i * width : 1 + (i + 1) * width]
        x[i, : len(part)] = torch.tensor(part)
        before.append([flat[i * width]])
    return x, prompts(before)


def filled(rows, length):
    x = torch.full((len(rows), length), PAD)
    for into, row in zip(x, rows, strict=True):
        into[: len(row)] = torch.tensor(row)
    return x


def every(space):
    """All rows of a small Space that no other goes on from."""
    x = torch.tensor(list(itertools.product(range(space.tokens), repeat=space.length)))
    x = x[((x == space.pad) | space.mask(x)).all(dim=1)]
    return x[(x == space.end).any(dim=1) | (x != space.pad).all(dim=1)]


class Plain:
    """Modified Kneser-Ney by dictionaries, one run at a time.

    Args:
        events: (context newest last, next token); a context that is shorter than order - 1 and
            does not begin with one of `starts` was cut off.
    """

    def __init__(self, events, order, choices, starts):
        self.choices, self.order = choices, order
        raw = [Counter() for _ in range(order + 1)]  # by length of the run
        before = [defaultdict(set) for _ in range(order + 1)]
        for context, token in events:
            run = (*context[len(context) - min(order - 1, len(context)) :], token)
            for m in range(1, len(run) + 1):
                part = run[len(run) - m :]
                raw[m][part] += 1
                before[m][part].add(run[-m - 1] if m < len(run) else "unknown")
        self.counts = [{} for _ in range(order + 1)]
        for m in range(1, order + 1):
            for part, count in raw[m].items():
                own = m == order or (m > 1 and part[0] in starts)
                self.counts[m][part] = count if own else len(before[m][part])
        self.followers = [defaultdict(dict) for _ in range(order + 1)]
        self.cuts = [None] * (order + 1)
        for m in range(1, order + 1):
            for part, count in self.counts[m].items():
                self.followers[m][part[:-1]][part[-1]] = count
            self.cuts[m] = self.discounts(list(self.counts[m].values()))

    @staticmethod
    def discounts(counts):
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        if n1 * n2 * n3 * n4:
            y = n1 / (n1 + 2 * n2)
            found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
            if all(0 < d < k for k, d in enumerate(found, 1)):
                return found
        return (0.5, 1.0, 1.5)

    def mass(self, context, token):
        return self._mass(tuple(context[max(0, len(context) - self.order + 1) :]), token)

    def _mass(self, context, token):
        shorter = self._mass(context[1:], token) if context else 1 / self.choices
        followers = self.followers[len(context) + 1].get(context)
        if not followers:
            return shorter
        cut = self.cuts[len(context) + 1]
        total = sum(followers.values())
        rest = sum(cut[min(count, 3) - 1] for count in followers.values()) / total
        count = followers.get(token, 0)
        own = (count - cut[min(count, 3) - 1]) / total if count else 0.0
        return own + rest * shorter


def events_of(x, c, starts=(END, PAD)):
    """(context, next token) of every place that counts, by a loop."""
    found = []
    for row, before, known in zip(
        x.tolist(), *(part.tolist() for part in c["prompt"]), strict=True
    ):
        read = [token for token in before if token != PAD] if known else [PAD]
        for token in row:
            if token != PAD:
                last = max((i for i, t in enumerate(read) if t in starts), default=0)
                found.append((tuple(read[last:]), token))
            read.append(token)
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("seed", [0, 1])
def test_masses_are_those_of_kneser_ney_by_dictionaries(order, seed):
    x, c = stream(texts(60, seed=seed))
    c["prompt"][1][::8] = False
    x[3, 5] = PAD  # a seam
    plain = Plain(events_of(x, c), order, 4, (END, PAD))
    model, _ = learned(x, STREAM, c, order=order)
    reader = model.reader(None, 1)
    rng = np.random.default_rng(9)
    for _ in range(60):
        context = [int(rng.integers(5)), *rng.integers(3, size=rng.integers(0, 6)).tolist()]
        logits = reader.begin(torch.tensor([context]), torch.tensor([len(context)]))
        want = [plain.mass(context, token) for token in range(4)]
        assert logits[0, :4].exp().tolist() == pytest.approx(want, rel=1e-4)
        assert sum(want) == pytest.approx(1)
        assert logits[0, PAD] == -math.inf


def test_many_tokens_and_long_runs_do_not_collide():
    rng = np.random.default_rng(0)
    pattern = rng.integers(50_000, size=40)
    runs = rng.integers(50_000, size=(12, 400)).astype(np.int32)
    runs[:, 100:300] = np.lib.stride_tricks.sliding_window_view(np.tile(pattern, 6), 12).T[
        ::-1, :200
    ]
    table = KneserNey(50_000, never=None, starts=())
    table.learn(runs)
    events = [(tuple(runs[:0:-1, i].tolist()), int(runs[0, i])) for i in range(runs.shape[1])]
    plain = Plain(events, 12, 50_000, ())
    want = [plain.mass(context, token) for context, token in events]
    assert table.masses(torch.from_numpy(runs).long()).tolist() == pytest.approx(want, rel=1e-5)
    assert 50_000.0**12 > 2.0**63


def test_masses_sum_to_one_and_samples_have_them():
    rows = texts(40, longest=3)
    model, objective = learned(filled(rows, 4), WORDS, order=3)
    states = every(WORDS)
    mass = model.log_prob(states).double().exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-6)
    x = filled(rows, 4)
    assert objective == pytest.approx(-float(model.log_prob(x).mean()), abs=1e-5)
    drawn = model.sample(4000, rng=Draws(3))
    same = (drawn[:, None] == states[None]).all(-1).double().mean(0)
    assert torch.allclose(same, mass, atol=0.03)


def test_an_end_that_is_the_padding_too_is_a_token_like_others():
    space = Sequence(length=3, tokens=4, end=3, pad=3)
    x = torch.tensor([[0, 1, 3], [0, 3, 3], [2, 2, 2]])
    model, _ = learned(x, space, conditions=(), order=2)
    states = every(space).unique(dim=0)
    assert float(model.log_prob(states).double().exp().sum()) == pytest.approx(1, abs=1e-6)


def test_each_context_sums_to_one():
    x, c = stream(texts(60))
    model, _ = learned(x, STREAM, c, order=4)
    contexts = torch.tensor(list(itertools.product(range(-1, 5), repeat=3))).T
    mass = model.counts.every(contexts)
    assert torch.allclose(mass.sum(1), torch.ones(len(mass), dtype=torch.float64), atol=1e-6)
    for token in range(4):
        runs = torch.cat([torch.full((1, mass.shape[0]), token), contexts])
        assert torch.allclose(model.counts.masses(runs), mass[:, token], atol=1e-12)


def test_packed_texts_do_not_see_each_other():
    rows = [row for row in texts(90) if len(row) == 4][:9]
    x, c = stream(rows)  # three to a window
    packed, _ = learned(x, STREAM, c, order=6)
    alone = packed.log_prob(filled(rows, 12), prompts([[END]] * len(rows)))
    torch.testing.assert_close(packed.log_prob(x, c), alone.view(-1, 3).sum(dim=1))


def test_texts_that_windows_do_not_cut_are_counted_alike_packed_or_alone():
    rows = [row for row in texts(90) if len(row) == 4][:9]
    x, c = stream(rows)  # three to a window
    packed, _ = learned(x, STREAM, c, order=3)
    plain, _ = learned(filled(rows, 12), WORDS, prompts([[END]] * len(rows)), order=3)
    for name, tensor in plain.counts.state_dict().items():
        torch.testing.assert_close(packed.counts.state_dict()[name], tensor)


def test_a_text_in_two_windows_is_as_likely_as_in_one():
    x, c = stream(texts(60))
    model, _ = learned(x, STREAM, c, order=6)
    longer = Ngram(Config(), replace(STREAM, length=24), PROMPT)
    longer.load_state_dict(model.state_dict())
    whole = torch.tensor(
        [[0, 0, 1, 1, 2, 0, 0, 1, 2, 2, 2, 0, 0, 1, 1, 1, 1, 2, 2, 0, 0, 1, 1, END]]
    )
    first, second = whole[:, :12], whole[:, 12:]
    begin, further = prompts([[END]]), prompts([[END, *first[0].tolist()]])
    parts = model.log_prob(first, begin) + model.log_prob(second, further)
    torch.testing.assert_close(parts, longer.log_prob(whole, begin))


def test_a_row_left_open_is_the_beginning_of_all_that_go_on():
    model, _ = learned(filled(texts(40, longest=3), 4), WORDS, order=4)
    states = every(WORDS)
    open_row = torch.tensor([[0, 1, PAD, PAD]])
    begun = states[(states[:, 0] == 0) & (states[:, 1] == 1)]
    total = model.log_prob(begun).double().exp().sum()
    assert float(model.log_prob(open_row).exp()) == pytest.approx(float(total), rel=1e-5)


def test_padding_that_was_never_a_start_tells_nothing():
    x, c = stream(texts(60))
    model, _ = learned(x, STREAM, c, order=4)
    unknown = model.counts.every(torch.full((3, 1), -1))
    start = model.reader(None, 1).begin(torch.tensor([[PAD]]), torch.tensor([1]))
    torch.testing.assert_close(start.exp(), unknown.float())


def test_prompts_of_unequal_length_are_read_as_if_alone():
    x, c = stream(texts(60))
    model, _ = learned(x, STREAM, c, order=4)
    values = [[END], [0, 1, 1, 2], [2, 2], [1, END, 0], [0]]
    told = prompts(values, absent=(4,))
    drawn = model.sample(5, told, rng=Draws(2))
    scores = model.log_prob(drawn, told)
    for row, value in enumerate(values):
        one = prompts([value], absent=(0,) if row == 4 else ())
        alone = model.sample(1, one, rng=Draws(2, row))
        assert torch.equal(alone[0], drawn[row])
        assert float(model.log_prob(alone, one)) == pytest.approx(float(scores[row]), abs=1e-5)


def test_greedy_is_the_likeliest_token_step_by_step():
    x, c = stream(texts(60))
    model, _ = learned(x, STREAM, c, order=4)
    told = prompts([[0, 1]])
    drawn = model.sample(1, told, rng=Draws(0), controls=Controls(temperature=0.0))[0]
    row = torch.full((1, 12), PAD)
    for place, token in enumerate(drawn.tolist()):
        tries = row.repeat(4, 1)
        tries[:, place] = torch.arange(4)
        best = int(
            model.log_prob(
                tries, {k: (v.repeat(4, 1), p.repeat(4)) for k, (v, p) in told.items()}
            ).argmax()
        )
        assert token == best
        row[0, place] = token
        if token == END:
            break


def test_readers_drop_and_join_rows():
    x, c = stream(texts(60))
    model, _ = learned(x, STREAM, c, order=4)
    rows, lengths = torch.tensor([[0, 1, 1], [2, 0, PAD], [1, PAD, PAD]]), torch.tensor([3, 2, 1])
    reader, other = model.reader(None, 3), model.reader(None, 1)
    before = reader.begin(rows, lengths)
    other.begin(rows[1:2, :2], lengths[1:2])
    reader.keep(torch.tensor([2, 0]))
    reader.join(other)
    after = reader.step(torch.tensor([0, END, 0]))
    longer = torch.tensor([[1, 0, PAD], [END, PAD, PAD], [2, 0, 0]])
    fresh = model.reader(None, 3)
    torch.testing.assert_close(after, fresh.begin(longer, torch.tensor([2, 1, 3])))
    assert torch.equal(before[1], fresh.begin(rows, lengths)[1])


def test_only_the_tokens_that_are_scored_are_counted():
    x = torch.tensor([[0, 1, 2, END] + [PAD] * 8, [0, 1, 1, END] + [PAD] * 8])
    scored = x.new_zeros(2, 12).bool()
    scored[:, 2:] = True
    c = {**prompts([[END], [END]]), "scored": (scored, torch.tensor([True, False]))}
    model, _ = learned(x, STREAM, c, order=2)
    runs = model.counts["runs"][model.counts["sizes"][0, 1] :]
    contexts = model.counts["contexts"][1:]
    found = {(int(contexts[run // 5]), int(run % 5)) for run in runs}
    # of the first row what comes after 1 and 2; of the second, where the flags are absent, all
    assert found == {(END, 0), (0, 1), (1, 1), (1, 2), (1, END), (2, END)}


def test_the_order_is_the_one_that_held_out_tokens_ask_for():
    rng = np.random.default_rng(0)
    space = Sequence(length=50, tokens=5, end=END, pad=PAD)
    one_back = np.zeros((60, 50), dtype=np.int64)
    two_back = rng.integers(3, size=(60, 50))
    for t in range(1, 50):
        one_back[:, t] = (one_back[:, t - 1] + (rng.random(60) < 0.2)) % 3
        if t > 1:
            same = rng.random(60) < 0.9
            two_back[:, t] = np.where(same, two_back[:, t - 2], two_back[:, t])
    for rows, order in ((one_back, 2), (two_back, 3)):
        model, _ = learned(torch.from_numpy(rows), space, conditions=())
        assert model.counts.order == order


def test_of_too_many_tokens_rows_are_taken_evenly():
    x = torch.arange(12)[:, None] % 3 + torch.zeros(12, 4, dtype=torch.int64)
    model, _ = learned(x[:, :4], WORDS, conditions=(), order=1, most=16)  # every third row
    mass = model.counts.every(torch.zeros(0, 1, dtype=torch.int64))
    assert float(mass[0, 0]) > 0.8
    assert float(mass[0, 1]) == pytest.approx(float(mass[0, 2]))


def test_what_was_learned_comes_back_from_a_file(tmp_path):
    x, c = stream(texts(60))
    model, _ = learned(x, STREAM, c, order=4)
    write_tensors(tmp_path / "model.safetensors", model.state_dict(), {})
    again = Ngram(Config(), STREAM, PROMPT)
    again.load_state_dict(read_tensors(tmp_path / "model.safetensors")[0])
    assert torch.equal(again.log_prob(x, c), model.log_prob(x, c))
    assert torch.equal(again.sample(4, rng=Draws(1)), model.sample(4, rng=Draws(1)))


def test_presets_look_back_less_far_over_many_tokens():
    many = Sequence(length=8, tokens=8192, end=0, pad=1)
    assert [Ngram.preset(size, WORDS, ()).order for size in ("xs", "s", "m", "l")] == [6, 7, 7, 8]
    assert [Ngram.preset(size, many, ()).order for size in ("xs", "s", "m", "l")] == [3, 3, 4, 4]


def test_nothing_to_count_is_said_in_words():
    with pytest.raises(DataError, match=r"training tokens must be at least 1; got 0\."):
        learned(torch.full((2, 4), PAD), WORDS, conditions=(), order=2)
