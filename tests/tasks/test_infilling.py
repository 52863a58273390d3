"""Filling gaps: what is known stays, and what is filled in has the family's own distribution."""

import random

import pytest
import torch
from torch import nn

import likewise as lw
from likewise.core.errors import UsageError
from likewise.domains.text import Text
from likewise.families.masked import Config, Masked
from likewise.store.model import Model
from likewise.tasks import infilling
from likewise.tasks.infilling import infill
from tests.serve.standin import standin


def lively(records, std=0.4):
    """An untrained family over some texts, whose zeroed layers are at random too."""
    domain = Text()
    domain.fit(records)
    torch.manual_seed(0)
    small = Config(width=16, depth=2, heads=2, hidden=32)
    family = Masked(small, domain.views()[-1], domain.conditions()).eval()
    for name, parameter in family.named_parameters():
        if "gain" not in name:
            nn.init.normal_(parameter, std=std)
    return Model("masked", family, domain, {}, {})


def words(n, seed=0):
    """Strings of three letters, 3 to 11 long; one has all letters."""
    rng = random.Random(seed)
    return ["abcabcabcab", *("".join(rng.choices("abc", k=rng.randint(3, 11))) for _ in range(n))]


@pytest.fixture(scope="module")
def whole():
    """A model of whole documents."""
    return lively(Text.load(words(60)))


@pytest.fixture(scope="module")
def pieces():
    """A model of pieces of one long text."""
    return lively(Text.load(["".join(words(400))], context=32))


def shares(texts, place):
    return torch.tensor([sum(text[place] == letter for text in texts) for letter in "abc"]) / len(
        texts
    )


# -- what is filled in --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["whole", "pieces"])
def test_what_is_known_stays_and_gaps_have_their_size(kind, request):
    model = request.getfixturevalue(kind)
    texts = ["ab[[3]]ca", "[[2]]bbb[[1]]c", "[[4]]a", "c[[1]]c"]
    found = infill(model, texts, seed=1)
    assert [len(text) for text in found] == [7, 7, 5, 3]
    assert (found[0][:2], found[0][5:]) == ("ab", "ca")
    assert (found[1][2:5], found[1][6]) == ("bbb", "c")
    assert set("".join(found)) <= set("abc\ufffd")
    assert found == infill(model, texts, seed=1)
    assert found != infill(model, texts, seed=2)


@pytest.mark.parametrize("kind", ["whole", "pieces"])
def test_a_gap_has_the_distribution_of_the_family(kind, request):
    """Of whole documents the beginning and the end are known, of pieces neither."""
    model = request.getfixturevalue(kind)
    family, domain, n = model.family, model.domain, 3000
    found = infill(model, ["ab[[1]]c"] * n, seed=3)
    x = torch.full((1, family.space.length), domain.pad)
    x[0, :4] = torch.tensor([*domain.encode("ab"), family.hidden, *domain.encode("c")])
    c = {}
    if kind == "whole":
        x[0, 4] = domain.end
        c = {"prompt": (torch.tensor([[domain.end]]), torch.tensor([True]))}
    with torch.no_grad():
        logits = family.logits(x, c)[0, 2]
    if family.space.unknown is not None:
        logits[family.space.unknown] = -torch.inf  # it is never written
    masses = logits.softmax(dim=0)
    wanted = masses[domain.encode("abc")]
    torch.testing.assert_close(shares(found, 2), wanted, atol=0.03, rtol=0)


def test_a_gap_of_no_size_makes_texts_as_long_as_documents_are(whole):
    n, known = 1500, 4
    found = infill(whole, ["ab[[]]ca"] * n, seed=0)
    assert all(text[:2] == "ab" and text[-2:] == "ca" for text in found)
    begin = (torch.full((1, 1), whole.domain.end), torch.tensor([True]))
    with torch.no_grad():
        masses = whole.family.lengths(1, {"prompt": begin})[0, known:].softmax(dim=0)
    masses[-2] += masses[-1]  # no end at all: the last place is for it
    sizes = torch.tensor([len(text) - known for text in found])
    torch.testing.assert_close(
        sizes.bincount(minlength=len(masses) - 1) / n, masses[:-1], atol=0.04, rtol=0
    )


def test_a_piece_is_not_ended_by_its_last_gap(pieces, monkeypatch):
    monkeypatch.setattr(pieces.family, "lengths", lambda n, c=None: torch.zeros(n, 33))
    sizes = [len(text) for text in infill(pieces, ["abc[[4]]"] * 400)]
    # each of 30 lengths from 3 tokens on is equally likely, and 4 of them end in the gap
    assert sizes.count(7) / 400 == pytest.approx(1 - 4 / 30, abs=0.06)
    assert set(sizes) == {3, 4, 5, 6, 7}


def test_a_text_draws_alone_whatever_the_others_are(whole, monkeypatch):
    texts = ["a[[2]]", "[[3]]b", "ab[[]]", "[[1]]c[[1]]", "[[]]a"]
    together = infill(whole, texts, seed=5)
    monkeypatch.setattr(infilling, "BATCH", 2)
    assert infill(whole, texts, seed=5) == together
    assert infill(whole, texts[:2], seed=5) == together[:2]
    assert infill(whole, []) == []


def test_a_trained_model_fills_in_what_must_stand_there():
    pairs = [(one, other) for one in "abcdefgh" for other in "abcdefgh"]
    small = {"width": "32", "depth": "1", "heads": "1", "hidden": "64", "batch": "32"}
    rows = [one * 3 + other * 3 for one, other in pairs]
    model = lw.fit(rows, "masked", steps=150, settings=small)
    found = infill(model, [f"{one}[[1]]{one}{other}[[1]]{other}" for one, other in pairs])
    assert sum(map(str.__eq__, found, rows)) >= 12, "by chance it is 1 of 64"


# -- what cannot be -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abc", r"a text must be one with a gap; got 'abc'\. Write \[\[5\]\] where 5 tokens are"),
        ("", "a text must be one with a gap; got ''"),
        ("a [5] b", "one with a gap"),
        ("a[[0]]", r"a gap must be of 1 to 11 tokens, for the context.*; got '\[\[0\]\]'"),
        ("a[[12]]", r"a gap must be of 1 to 11 tokens"),
        ("a[[9999999999999999999]]", r"got '\[\[999999999\]\]'"),
        ("aaaaaa[[6]]", r"a text must be of at most 11 tokens, its gaps among them; got 12\. Lea"),
        ("aaaaaaaaaaaa[[]]", r"at most 11 tokens"),
        ("aΩ[[1]]", "characters that the training texts never had: 'Ω'"),
        ("[[]]a[[]]", r"gaps without a size must be one in a text; got 2\. Write \[\[5\]\]"),
    ],
)
def test_texts_that_cannot_be_filled_are_refused(whole, text, said):
    with pytest.raises(UsageError, match=said):
        infill(whole, ["a[[1]]", text])


def test_a_text_may_be_as_long_as_the_context_less_its_end(whole):
    assert whole.family.space.length == 12
    (found,) = infill(whole, ["aaaaa[[6]]"])
    assert len(found) == 11


def test_pieces_have_no_length_of_their_own(pieces):
    with pytest.raises(UsageError, match=r"\[\[\]\] needs a model of whole documents.*\[\[5\]\]"):
        infill(pieces, ["a[[]]b"])


def test_models_that_cannot_fill_gaps_say_which_can():
    with pytest.raises(UsageError, match=r"transformer cannot fill gaps.* such as masked\."):
        infill(standin(), ["a[[1]]"])
    pictures = lw.fit("digits", "independent", steps=1)
    with pytest.raises(UsageError, match="is a model of images, and this needs a model of texts"):
        infill(pictures, ["a[[1]]"])
