"""Recurrent networks over sequences: cell by cell, by enumeration, and across windows."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from likewise.core.condition import Labels, Tokens
from likewise.core.config import Optimizer, from_json
from likewise.core.contract import Controls, Step
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.rnn import Config, Rnn
from likewise.store.files import read_tensors, write_tensors
from likewise.train.job import Job
from likewise.train.loop import Trainer

END, PAD = 3, 4
WORDS = Sequence(length=3, tokens=5, end=END, pad=PAD)
STREAM = Sequence(length=12, tokens=5, end=END, pad=PAD, packed=True)
PROMPT = (Tokens(name="prompt", length=12, tokens=5, pad=PAD),)
CELLS = ("vanilla", "lstm", "gru")
CONTROLS = Controls(temperature=0.0)


def random(space=STREAM, conditions=PROMPT, seed=0, **settings):
    """A network whose next tokens are far from even."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = Config(**{"width": 8, "depth": 2, "cell": "gru", **settings})
        model = Rnn(config, space, conditions)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.6)
    return model.eval()


def prompts(values, absent=()):
    """Prompts of unequal length as a condition."""
    rows = torch.full((len(values), max(len(v) for v in values)), PAD)
    for row, value in zip(rows, values, strict=True):
        row[: len(value)] = torch.tensor(value)
    present = torch.ones(len(values), dtype=torch.bool)
    present[list(absent)] = False
    return {"prompt": (rows, present)}


def every(space):
    """All rows of a small Space that no other goes on from."""
    x = torch.tensor(list(itertools.product(range(space.tokens), repeat=space.length)))
    x = x[((x == space.pad) | space.mask(x)).all(dim=1)]
    return x[(x == space.end).any(dim=1) | (x != space.pad).all(dim=1)]


def packed_rows():
    return torch.tensor(
        [
            [0, 1, END, 2, 2, 0, 1, END, 1, END, 0, 2],
            [2, 1, 0, 0, 1, 1, 2, 0, 0, 1, 2, 1],
            [1, END, END, 0, 1, PAD, 2, 1, 0, END, PAD, PAD],
        ]
    )


def by_cells(model, inputs):
    """Logits (w, tokens) of one row (w,), a cell at a time."""
    kinds = {"vanilla": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
    width, depth = model.config.width, model.config.depth
    head = model.table if model.config.tied else model.head
    cells = [kinds[model.config.cell](width, width) for _ in range(depth)]
    for number, cell in enumerate(cells):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).data = getattr(model.recurrent.layers, f"{name}_l{number}").data
    lstm = model.config.cell == "lstm"
    states, found = [None] * depth, []
    for token in inputs.tolist():
        if token == END:
            states = [None] * depth
        h = model.table.weight[token][None] * model.scale
        for number, cell in enumerate(cells):
            states[number] = cell(h, states[number])
            h = states[number][0] if lstm else states[number]
        found.append((h @ head.weight.T)[0])
    return torch.stack(found)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_logits_are_those_of_cells_that_begin_anew_at_an_end(cell, tied):
    model, inputs = random(cell=cell, tied=tied), packed_rows()
    logits = model.logits(inputs)
    for row, values in zip(inputs, logits, strict=True):
        torch.testing.assert_close(values[:, :PAD], by_cells(model, row)[:, :PAD])
    assert (logits[..., PAD] == -math.inf).all()


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_later_tokens_change_nothing_earlier(cell):
    model, inputs = random(cell=cell), packed_rows()
    changed = inputs.clone()
    changed[:, 6:] = torch.tensor([1, 0, END, 2, 0, 0])
    torch.testing.assert_close(model.logits(changed)[:, :6], model.logits(inputs)[:, :6])


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_masses_sum_to_one_and_samples_have_them(cell):
    model, states = random(WORDS, cell=cell), every(WORDS)
    told = prompts([[2, 1]])
    for c in (None, told):
        many = c and {
            k: (v.expand(len(states), -1), p.expand(len(states))) for k, (v, p) in c.items()
        }
        mass = model.log_prob(states, many).double().exp()
        assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
        many = c and {k: (v.expand(4000, -1), p.expand(4000)) for k, (v, p) in c.items()}
        drawn = model.sample(4000, many, rng=Draws(3))
        same = (drawn[:, None] == states[None]).all(-1).double().mean(0)
        assert torch.allclose(same, mass, atol=0.03)


@torch.no_grad()
def test_an_end_that_is_the_padding_too_is_a_token_like_others():
    space = Sequence(length=3, tokens=4, end=3, pad=3)
    states = every(space).unique(dim=0)
    mass = random(space, ()).log_prob(states).double().exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_packed_texts_do_not_see_each_other():
    model = random()
    row = torch.tensor([[0, 1, 1, END, 2, 2, 0, END, 1, 0, 2, END]])
    texts = torch.full((3, 12), PAD)
    texts[:, :4] = row.view(3, 4)
    whole = model.log_prob(row, prompts([[END]]))
    alone = model.log_prob(texts, prompts([[END]] * 3))
    torch.testing.assert_close(alone.sum(), whole[0])


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_a_state_is_carried_over_windows_by_the_prompt(cell):
    short = random(cell=cell)
    longer = random(replace(STREAM, length=36), cell=cell)
    whole = Draws(0).integers(3, 1, 36)
    begin = prompts([[END]])
    parts = [
        short.log_prob(whole[:, at : at + 12], prompts([[END, *whole[0, :at].tolist()]]))
        for at in (0, 12, 24)
    ]
    torch.testing.assert_close(sum(parts), longer.log_prob(whole, begin))
    unknown = short.log_prob(whole[:, 24:], prompts([whole[0, 23:24].tolist()]))
    assert abs(float(unknown - parts[2])) > 1e-3  # what stands before does matter


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_prompts_of_unequal_length_are_read_as_if_alone(cell, packed):
    model = random(replace(STREAM, packed=packed), cell=cell)
    values = [[END], [0, 1, 1, 2], [2, 2], [1, END, 0], [0]]
    told = prompts(values, absent=(4,))
    drawn = model.sample(5, told, rng=Draws(2))
    scores = model.log_prob(drawn, told)
    for row, value in enumerate(values):
        one = prompts([value], absent=(0,) if row == 4 else ())
        alone = model.sample(1, one, rng=Draws(2, row))
        assert torch.equal(alone[0], drawn[row])
        assert float(model.log_prob(alone, one)) == pytest.approx(float(scores[row]), abs=1e-4)


@torch.no_grad()
def test_greedy_is_the_likeliest_token_step_by_step():
    model, told = random(seed=4), prompts([[0, 1]])
    drawn = model.sample(1, told, rng=Draws(0), controls=CONTROLS)[0]
    read = [0, 1]
    for token in drawn.tolist():
        if read[-1] == END:
            assert token == PAD
            continue
        assert token == int(model.logits(torch.tensor([read]))[0, -1].argmax())
        read.append(token)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("conditions", [PROMPT, (*PROMPT, Labels(names=("a", "b")))])
@torch.no_grad()
def test_readers_go_on_drop_and_join_rows(cell, conditions):
    model = random(conditions=conditions, cell=cell)
    c = {"label": (torch.tensor([0, 1, 1]), torch.tensor([True, True, False]))}
    rows, lengths = (
        torch.tensor([[0, 1, 1], [2, END, PAD], [1, PAD, PAD]]),
        torch.tensor([3, 2, 1]),
    )
    reader = model.reader(c, 3)
    began = reader.begin(rows, lengths)
    other = model.reader({"label": (c["label"][0][1:2], c["label"][1][1:2])}, 1)
    other.begin(rows[1:2, :2], lengths[1:2])
    reader.keep(torch.tensor([2, 0]))
    reader.join(other)
    after = reader.step(torch.tensor([0, END, 0]))
    order = torch.tensor([2, 0, 1])
    told = {"label": (c["label"][0][order], c["label"][1][order])}
    longer = torch.tensor([[1, 0, PAD], [END, PAD, PAD], [2, END, 0]])
    for row, size in enumerate((2, 1, 3)):
        one = {"label": (told["label"][0][row : row + 1], told["label"][1][row : row + 1])}
        want = model.logits(longer[row : row + 1, :size], one)[0, -1]
        torch.testing.assert_close(after[row], want)
    torch.testing.assert_close(began[0], model.logits(rows[:1], c and {
        "label": (c["label"][0][:1], c["label"][1][:1])})[0, -1])  # fmt: skip


@torch.no_grad()
def test_the_loss_is_the_mean_over_the_tokens_that_are_scored():
    model, x = random(), packed_rows()
    c = prompts([[END], [0], [2]])
    (loss,) = model.losses(x, c, step=Step(Draws(0), 0.5))
    tokens = int(STREAM.mask(x).sum())
    want = -float(model.log_prob(x, c).sum()) / tokens
    assert float(loss.value.mean()) == pytest.approx(want, rel=1e-5)
    scored = torch.zeros_like(x, dtype=torch.bool)
    scored[:, 2] = True
    c["scored"] = (scored, torch.ones(3, dtype=torch.bool))
    (loss,) = model.losses(x, c, step=Step(Draws(0), 0.5))
    logits = model.logits(torch.cat([c["prompt"][0], x[:, :2]], dim=1))[:, -1]
    nats = nn.functional.cross_entropy(logits, x[:, 2])
    assert float(loss.value.mean()) == pytest.approx(float(nats), rel=1e-5)


class Rows:
    """Texts "0 1 2 0 1 2 ..." of the first label and "2 1 0 ..." of the other, cut anywhere."""

    space = STREAM
    conditions = (*PROMPT, Labels(names=("up", "down")))

    def __len__(self):
        return 64

    def batch(self, index, rng):
        n = len(index)
        down = rng.integers(2, n)
        place = torch.arange(13) + rng.integers(3, n)[:, None]
        row = torch.where(down[:, None] == 1, 2 - place % 3, place % 3)
        known = torch.ones(n, dtype=torch.bool)
        return row[:, 1:], {"prompt": (row[:, :1], known), "label": (down, known)}


@pytest.mark.parametrize("cell", CELLS)
def test_it_learns_what_labels_tell(cell):
    source = Rows()
    torch.manual_seed(0)
    settings = Config(cell=cell, width=32, optimizer=Optimizer(learning_rate=1e-2))
    model = Rnn(settings, STREAM, source.conditions)
    Trainer(model, source, Job(name="rnn", steps=100, batch=16)).run()
    x, c = source.batch(torch.arange(32), Draws(5))
    with torch.no_grad():
        assert float(-model.log_prob(x, c).mean()) / 12 < 0.2
    down = {"label": (torch.ones(4).long(), torch.ones(4).bool()), **prompts([[2]] * 4)}
    drawn = model.sample(4, down, rng=Draws(0), controls=CONTROLS)
    assert drawn[:, :6].tolist() == [[1, 0, 2, 1, 0, 2]] * 4


@pytest.mark.parametrize("cell", CELLS)
def test_what_was_learned_comes_back_from_a_file(cell, tmp_path):
    model = random(cell=cell)
    write_tensors(tmp_path / "model.safetensors", model.state_dict(), {})
    again = random(cell=cell, seed=9)
    again.load_state_dict(read_tensors(tmp_path / "model.safetensors")[0])
    x = packed_rows()
    assert torch.equal(again.log_prob(x), model.log_prob(x))
    assert torch.equal(again.sample(4, rng=Draws(1)), model.sample(4, rng=Draws(1)))


def test_a_tied_matrix_is_one_parameter():
    tied, untied = random(tied=True), random(tied=False)
    counts = [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
    assert counts[1] - counts[0] == 5 * 8


@pytest.mark.parametrize("cell", CELLS)
def test_it_trains_in_bfloat16(cell):
    model = random(cell=cell).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (loss,) = model.losses(packed_rows(), {}, step=Step(Draws(0), 0.5))
    loss.value.mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_an_unknown_cell_is_said_in_words():
    with pytest.raises(UsageError, match="did you mean 'lstm'"):
        from_json(Config, {"cell": "lsmt"})


@pytest.mark.parametrize("cell", CELLS)
def test_a_window_is_learned_with_the_state_after_what_stands_before_it(cell):
    """Windows side by side cost what the whole text costs, and no text looks into another."""
    model = random(cell=cell)
    text = torch.tensor([[0, 1, 2, 0, 2, END, 1, 1, 0, 2, 1, 0, 0, 2, 1, END, 2, 0]])
    with torch.no_grad():
        whole = model.logits(text)[0]
        for first in (3, 6, 7, 12):
            before, known = text[:, :first], torch.tensor([True])
            state = model._carried({"earlier": (before, known)})
            found = model.logits(text[:, first:], state=state)[0]
            torch.testing.assert_close(found, whole[first:])
            alone = model.logits(text[:, first:])[0]
            assert not torch.allclose(alone[0], found[0])
        assert model._carried({}) == ()


def test_rows_without_a_text_before_them_begin_at_zero():
    model, x = random(), torch.tensor([[0, 1, 2], [2, 1, 0]])
    known = torch.tensor([False, True])
    state = model._carried({"earlier": (torch.tensor([[PAD, PAD], [1, PAD]]), known)})
    with torch.no_grad():
        found = model.logits(x, state=state)
        torch.testing.assert_close(found[:1], model.logits(x[:1]))
        torch.testing.assert_close(found[1:], model.logits(torch.tensor([[1, 2, 1, 0]]))[:, 1:])


def test_what_stands_before_a_window_changes_its_loss_and_gets_no_gradient():
    model = random().train()
    x, known = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, END]]), torch.tensor([True])
    c = {"prompt": (torch.tensor([[2]]), known)}
    (alone,) = model.losses(x, c, step=Step(Draws(0), 0.5))
    (told,) = model.losses(
        x, {**c, "earlier": (torch.tensor([[0, 2, 1, PAD]]), known)}, step=Step(Draws(0), 0.5)
    )
    assert not torch.isclose(alone.value, told.value).any()
    told.value.sum().backward()
    assert model.table.weight.grad is not None
