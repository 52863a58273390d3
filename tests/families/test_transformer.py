"""The transformer: causal, exact, the same with and without its cache."""

import itertools

import pytest
import torch

from likewise.core.condition import Labels, Tokens
from likewise.core.contract import Controls, Step
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.transformer import Config, Transformer
from likewise.nn.tokens import prefixes

SPACE = Sequence(length=24, tokens=9, end=7, pad=8, packed=True)
PROMPT = Tokens(name="prompt", length=12, tokens=9, pad=8)
KINDS = {
    "plain": {},
    "grouped": {"groups": 1},
    "runs": {"runs": 4, "buckets": 64},
    "window": {"window": 5},
    "wide heads": {"head_dim": 12, "groups": 1, "qkv_biased": True},
    "slower": {"scaling": {"rope_type": "linear", "factor": 4}},
    "gpt2": {
        "norms": "layer",
        "feed": "gelu",
        "places": "learned",
        "biased": True,
        "normed": False,
    },
    "tied": {"tied": True, "feed": "relu2"},
}


def make(kind="plain", space=SPACE, conditions=(PROMPT,), **more):
    torch.manual_seed(3)
    small = {"width": 16, "depth": 2, "heads": 2, "groups": 2, "hidden": 32}
    config = Config(**{**small, **KINDS[kind], **more})
    model = Transformer(config, space, conditions).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def prompts(*rows):
    width = max(map(len, rows))
    values = torch.tensor([row + [8] * (width - len(row)) for row in rows])
    return {"prompt": (values, torch.tensor([bool(row) for row in rows]))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_token_changes_nothing_before_it(kind):
    model = make(kind)
    x = torch.randint(0, 7, (2, 20), generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, 11:] = (other[:, 11:] + 1) % 7
    before, after = model.logits(x)[:, :11], model.logits(other)[:, :11]
    assert torch.equal(before.nan_to_num(neginf=0), after.nan_to_num(neginf=0))
    assert not torch.allclose(model.logits(x)[:, 11, :8], model.logits(other)[:, 11, :8])


@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_a_packed_row_do_not_see_each_other(kind):
    model = make(kind)
    x = torch.randint(0, 7, (1, 20), generator=torch.Generator().manual_seed(1))
    x[0, 9] = 7
    other = x.clone()
    other[0, :9] = (other[0, :9] + 1) % 7
    seen, unseen = model.logits(x)[0, 9:], model.logits(other)[0, 9:]
    assert torch.allclose(seen[:, :8], unseen[:, :8], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_text_is_equal_with_and_without_the_cache(kind):
    model = make(kind)
    c = prompts([1, 2, 3, 4, 5], [6], [])
    x = model.sample(3, c, rng=Draws(0), controls=Controls(temperature=0.0))
    rows, lengths = prefixes(SPACE, (PROMPT,), c, 3, torch.device("cpu"))
    for row, read, length in zip(x.tolist(), rows.tolist(), lengths.tolist(), strict=True):
        known, made = read[:length], []
        while len(known) <= SPACE.length:
            made.append(int(model.logits(torch.tensor([known]))[0, -1].argmax()))
            known.append(made[-1])
            if made[-1] == 7:
                break
        assert row[: len(made)] == made
        assert set(row[len(made) :]) <= {8}


@torch.no_grad()
@pytest.mark.parametrize("kind", ["plain", "runs"])
def test_masses_sum_to_one(kind):
    space = Sequence(length=3, tokens=4, end=2, pad=3)
    model = make(kind, space, conditions=())
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))
    shut = ((every == 3) | space.mask(every)).all(dim=1)
    whole = (every == 2).any(dim=1) | (every != 3).all(dim=1)
    x = every[shut & whole]
    assert float(model.log_prob(x).double().exp().sum()) == pytest.approx(1, abs=1e-6)
    drawn = model.sample(4000, rng=Draws(1))
    same = (drawn[:, None] == x[None]).all(-1).double().mean(0)
    assert torch.allclose(same, model.log_prob(x).double().exp(), atol=0.03)


@torch.no_grad()
def test_a_text_in_two_pieces_with_its_prompt_is_as_likely_as_in_one():
    model = make(space=Sequence(length=24, tokens=9, end=7, pad=8))
    text = torch.randint(0, 7, (1, 20), generator=torch.Generator().manual_seed(2))
    whole = torch.full((1, 24), 8)
    whole[:, :20] = text
    first, second = torch.full((1, 24), 8), torch.full((1, 24), 8)
    first[:, :9], second[:, :11] = text[:, :9], text[:, 9:]
    # what is read before the second piece is the start and the first piece
    start = torch.cat([torch.tensor([[7]]), text[:, :9]], dim=1).tolist()
    begun = prompts([7])
    parts = model.log_prob(first, begun) + model.log_prob(second, prompts(*start))
    assert float(parts) == pytest.approx(float(model.log_prob(whole, begun)), abs=1e-4)


@torch.no_grad()
def test_the_loss_is_the_mean_over_tokens_and_honours_scored():
    model = make()
    x = torch.randint(0, 7, (4, 24), generator=torch.Generator().manual_seed(4))
    step = Step(rng=Draws(0), progress=0.0)
    (loss,) = model.losses(x, {}, step=step)
    assert float(loss.value.mean()) == pytest.approx(
        -float(model.log_prob(x).sum()) / x.numel(), abs=1e-5
    )
    scored = torch.zeros_like(x, dtype=torch.bool)
    scored[:, 5] = True
    c = {"scored": (scored, torch.ones(4, dtype=torch.bool))}
    (some,) = model.losses(x, c, step=step)
    read = torch.cat([torch.full((4, 1), 8), x[:, :5]], dim=1)
    picked = model.logits(read)[:, -1].log_softmax(dim=-1).gather(1, x[:, 5:6])
    assert float(some.value.mean()) == pytest.approx(-float(picked.mean()), abs=1e-5)


def test_checkpointing_changes_no_gradient():
    plain, saving = make(), make(checkpointed=True)
    x = torch.randint(0, 7, (2, 24), generator=torch.Generator().manual_seed(5))
    for model in (plain, saving):
        model.train()
        (loss,) = model.losses(x, {}, step=Step(rng=Draws(0), progress=0.0))
        loss.value.mean().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        if one.grad is not None:
            assert torch.allclose(one.grad, other.grad, atol=1e-6)


def test_runs_are_forgotten_in_training_alone():
    model, same = make("runs", forgotten=0.5), make("runs", forgotten=0.0)
    x = torch.randint(0, 7, (2, 20), generator=torch.Generator().manual_seed(7))
    assert torch.equal(model.logits(x), same.logits(x))
    model.train()
    same.train()
    torch.manual_seed(0)
    first = model.logits(x)
    torch.manual_seed(1)
    assert not torch.equal(first, model.logits(x))
    assert torch.equal(same.logits(x), same.logits(x))


def test_a_window_is_how_far_back_a_place_sees():
    model = make("window", depth=1)
    x = torch.randint(0, 7, (1, 20), generator=torch.Generator().manual_seed(6))
    far, near = x.clone(), x.clone()
    far[0, 14] = (far[0, 14] + 1) % 7
    near[0, 15] = (near[0, 15] + 1) % 7
    last = model.logits(x)[0, 19, :8]
    assert torch.allclose(last, model.logits(far)[0, 19, :8], atol=1e-6)
    assert not torch.allclose(last, model.logits(near)[0, 19, :8], atol=1e-4)


def test_rows_can_leave_and_join_a_reader():
    model = make("runs", conditions=(PROMPT, Labels(names=("a", "b"))))
    c = {"label": (torch.tensor([0, 1, 1]), torch.ones(3, dtype=torch.bool))}
    rows, lengths = torch.tensor([[1, 2, 3], [4, 8, 8], [5, 6, 8]]), torch.tensor([3, 1, 2])
    alone = []
    for i in range(3):
        told = {"label": (c["label"][0][i : i + 1], c["label"][1][i : i + 1])}
        reader = model.reader(told, 1)
        reader.begin(rows[i : i + 1, : lengths[i]], lengths[i : i + 1])
        alone.append(reader.step(torch.tensor([2])))
    first = model.reader({"label": (c["label"][0][:2], c["label"][1][:2])}, 2)
    first.begin(rows[:2], lengths[:2])
    first.keep(torch.tensor([1, 0]))
    last = model.reader({"label": (c["label"][0][2:], c["label"][1][2:])}, 1)
    last.begin(rows[2:, :2], lengths[2:])
    first.join(last)
    together = first.step(torch.tensor([2, 2, 2]))
    for row, i in enumerate((1, 0, 2)):
        assert torch.allclose(together[row, :8], alone[i][0, :8], atol=1e-5)


def test_shapes_that_cannot_be_are_refused_by_name():
    with pytest.raises(UsageError, match="width must be a multiple of twice the heads"):
        make(heads=3)
    with pytest.raises(UsageError, match="groups must be a divisor of the heads"):
        Transformer(Config(width=24, heads=4, groups=3, hidden=8), SPACE)
