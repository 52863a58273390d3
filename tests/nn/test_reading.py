"""Weights laid out for reading: the same products, and never those of weights that changed."""

import copy

import pytest
import torch
import torch.nn.functional as F

from likewise.core.config import override
from likewise.core.space import Sequence
from likewise.families.transformer import Transformer
from likewise.nn import reading
from likewise.nn.adapters import adapt
from likewise.nn.compiled import library
from likewise.nn.reading import FOLLOWING, Product

SPACE = Sequence(length=12, tokens=9, end=7, pad=8)
SHAPES = [
    {},
    {"feed": "relu2", "normed": "false"},
    {"feed": "gelu", "norms": "layer", "biased": "true", "places": "learned"},
    {"groups": "1", "heads": "2", "window": "3"},
]


@pytest.fixture(autouse=True, params=["compiled", "laid out"])
def _way(request, monkeypatch):
    """Both ways to read; the first where there is a compiler."""
    if request.param == "laid out":
        monkeypatch.setattr(reading, "fits", lambda weight: False)
    elif library() is None:
        pytest.skip("no C compiler")


def lively(**changes):
    """A tiny transformer with weights that are all in use."""
    config = override(Transformer.preset("xs", SPACE, ()), {"width": "16", "hidden": "32",
                      "heads": "2", "groups": "2", **changes})  # fmt: skip
    torch.manual_seed(0)
    family = Transformer(config, SPACE)
    for parameter in family.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return family.eval()


def rows(n=3, w=6):
    return torch.randint(7, (n, w), generator=torch.Generator().manual_seed(1))


def read(family, x, lengths, more):
    reader = family.reader(None, len(x))
    first = reader.begin(x, lengths)
    return reader, first, reader.extend(more)


@pytest.mark.parametrize("feed", FOLLOWING)
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_the_plain_one_with_what_follows(feed, bias):
    weight, b, x, other = (torch.randn(s) for s in ((5, 8), (5,), (2, 3, 8), (2, 3, 5)))
    b = b if bias else None
    plain = F.linear(x, weight, b)
    act = {"swiglu": F.silu, "relu2": F.relu, "gelu": lambda y: F.gelu(y, approximate="tanh")}
    for one in (Product(weight, b), Product(weight.double(), None if b is None else b.double())):
        as_one = one.weight.dtype == torch.float64
        x_, o_ = (x.double(), other.double()) if as_one else (x, other)
        assert torch.allclose(one(x_).float(), plain, atol=1e-5)
        assert torch.allclose(one(x_[1, 2]).float(), plain[1, 2], atol=1e-5)
        assert torch.allclose(one.then(x_, feed).float(), act[feed](plain), atol=1e-5)
        assert torch.allclose(one.plus(x_, o_).float(), plain + other, atol=1e-5)
        assert torch.allclose(one.times(x_, o_).float(), plain * other, atol=1e-5)


@pytest.mark.parametrize("changes", SHAPES, ids=lambda c: " ".join(c) or "plain")
@pytest.mark.parametrize("lengths", [[6, 6, 6], [6, 2, 4]])
def test_reading_piece_by_piece_is_reading_at_once(changes, lengths):
    family, x, lengths = lively(**changes), rows(), torch.tensor(lengths)
    more = rows(3, 4)
    _, first, then = read(family, x, lengths, more)
    for i, size in enumerate(lengths.tolist()):
        whole = family.logits(torch.cat([x[i, :size], more[i]])[None])[0]
        assert torch.allclose(first[i], whole[size - 1], atol=1e-4)
        assert torch.allclose(then[i], whole[size:], atol=1e-4)


@pytest.mark.parametrize("runs", ["0", "3"])
def test_what_was_taken_back_was_never_read(runs):
    family, x = lively(runs=runs, buckets="50"), rows()
    lengths, more = torch.tensor([6, 3, 5]), rows(3, 4)
    reader, _, _ = read(family, x, lengths, more)
    back = torch.tensor([0, 2, 4])
    reader.forget(back)
    found = reader.step(torch.tensor([1, 2, 3]))
    for i, (size, gone) in enumerate(zip(lengths.tolist(), back.tolist(), strict=True)):
        kept = torch.cat([x[i, :size], more[i, : 4 - gone], torch.tensor([i + 1])])
        assert torch.allclose(found[i], family.logits(kept[None])[0, -1], atol=1e-4)


def test_changed_weights_are_laid_out_anew():
    family, x = lively(), rows(1)
    lengths, more = torch.tensor([6]), rows(1, 1)
    before = read(family, x, lengths, more)[2]
    assert family.laid() is family.laid()
    family.train()
    adam = torch.optim.AdamW(family.parameters(), lr=0.1, fused=True)
    family.logits(x).exp().mean().backward()
    adam.step()
    family.eval()
    after = read(family, x, lengths, more)[2]
    assert not torch.allclose(before, after, atol=1e-3)
    assert torch.allclose(after[0], family.logits(torch.cat([x, more], 1))[0, -1:], atol=1e-4)


def test_a_model_that_has_read_can_be_copied():
    family, x = lively(), rows(1)
    one = read(family, x, torch.tensor([6]), rows(1, 1))[1]
    other = copy.deepcopy(family)
    assert torch.equal(one, read(other, x, torch.tensor([6]), rows(1, 1))[1])
    torch.nn.init.zeros_(other.table.weight)
    assert not torch.equal(one, read(other, x, torch.tensor([6]), rows(1, 1))[1])


def test_adapters_are_read_too():
    family, x = lively(), rows(1)
    adapt(family, rank=2, alpha=4)
    for name, parameter in family.named_parameters():
        if name.endswith("up"):
            torch.nn.init.normal_(parameter)
    found = read(family, x, torch.tensor([6]), rows(1, 1))[1]
    assert torch.allclose(found, family.logits(x)[:, -1], atol=1e-4)


def test_what_is_not_filled_does_not_matter(monkeypatch):
    plain = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda x, *s: plain(x, *s).fill_(torch.nan))
    monkeypatch.setattr(torch, "empty_like", lambda x: torch.full_like(x, torch.nan))
    family, short, long = lively(), rows(2, 3), rows(2, 6)
    reader, other = family.reader(None, 2), family.reader(None, 2)
    reader.begin(short, torch.tensor([1, 3]))
    other.begin(long, torch.tensor([6, 2]))
    reader.join(other)
    reader.keep(torch.tensor([3, 0, 2]))
    for step in range(4):
        found = reader.step(torch.tensor([1, 2, step]))
    told = [(long[1, :2], [1] * 4), (short[0, :1], [2] * 4), (long[0], [0, 1, 2, 3])]
    for i, (begun, then) in enumerate(told):
        whole = family.logits(torch.cat([begun, torch.tensor(then)])[None])
        assert torch.allclose(found[i], whole[0, -1], atol=1e-4)
