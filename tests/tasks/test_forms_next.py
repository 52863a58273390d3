"""What may come next in a text of a form: nothing that could match is forbidden."""

import itertools
import re

import numpy as np
import pytest
import torch

from likewise.tasks import forms
from likewise.tasks.engine import Engine
from likewise.tasks.forms import Form, course
from likewise.tasks.rows import Request
from likewise.tasks.texts import complete
from tests.serve.standin import END, ROLES, SIZE, standin
from tests.tasks.formed import DATE, KINDS, MODEL, NESTED, few_characters, made, model_of


@pytest.fixture(scope="module")
def models():
    return {kind: model_of(kind) for kind in KINDS}


ONE = "ab|a[bc]d|é[xy]{0,2}z?|café|bxa"
SMALL = Form("regex", f"({ONE}){{1,2}}")


def language(letters):
    """The UTF-8 of every text of some letters that matches `SMALL`, found by trying all."""
    known = sorted(set("abcdefxyzé") & set(letters))
    every = ("".join(one) for n in range(5) for one in itertools.product(known, repeat=n))
    once = [text.encode() for text in every if re.fullmatch(ONE, text)]
    return {*once, *(one + other for one in once for other in once)}


def check_walk(domain, texts, draw):
    """Go on at random to the end; what may come must be what brute force finds at each place."""
    pieces = domain.spelled()
    found = course(domain, SMALL, len(pieces))
    begun = {text[:size] for text in texts for size in range(len(text) + 1)}
    read = b""
    while True:
        wanted = [bool(piece) and read + piece in begun for piece in pieces]
        assert found.matches == (read in texts)
        assert found.over == (not any(wanted))
        wanted[domain.end] = read in texts
        assert found.allowed.tolist() == wanted
        if found.over:
            return read
        token = draw.choice([i for i, piece in enumerate(pieces) if piece and wanted[i]])
        found.take(int(token))
        read += pieces[token]


@pytest.mark.parametrize("kind", [*KINDS, "few characters"])
def test_a_token_may_come_where_a_text_that_matches_goes_on_with_it(models, kind):
    few = kind == "few characters"  # without x, y and z: no text may lead to where one is needed
    domain = few_characters() if few else models[kind].domain
    texts, draw = language("abcdefé" if few else "abcdefxyzé"), np.random.default_rng(0)
    assert len({check_walk(domain, texts, draw) for _ in range(60)}) > 10


def test_more_tokens_than_those_of_the_tokeniser_never_come():
    found = course(MODEL.domain, DATE, SIZE + 40)
    assert found.allowed.nonzero()[:, 0].tolist() == list(b"0123456789")


class Muted:
    """A reader for which some tokens cannot be."""

    def __init__(self, reader, tokens):
        self.reader, self.tokens, self.keep = reader, tokens, reader.keep

    def quiet(self, logits):
        return logits.index_fill(1, torch.tensor(self.tokens), -torch.inf)

    def begin(self, rows, lengths):
        return self.quiet(self.reader.begin(rows, lengths))

    def step(self, tokens):
        return self.quiet(self.reader.step(tokens))


def test_a_form_that_allows_everything_changes_nothing(monkeypatch):
    model = model_of("characters")
    silent = [i for i, piece in enumerate(model.domain.spelled()) if not piece]
    silent.remove(model.domain.end)
    plain = model.family.reader
    monkeypatch.setattr(model.family, "reader", lambda c, n: Muted(plain(c, n), silent))
    free, bound = made(model, None, most=60), made(model, Form("regex", r"(?s:.*)"), most=60)
    assert free == bound
    assert {one.finish for one in free} == {"stop", "length"}


def test_tokens_are_drawn_by_the_family_s_own_masses():
    n, letters = 1500, "aeé"
    asked = Form("regex", "[aeé]")
    found = complete(MODEL, ["ab"] * n, form=asked, most=2, slots=500)
    first = MODEL.family.logits(torch.tensor([list(b"ab")]))[0, -1].double()
    share = first[[97, 101, 0xC3]].softmax(0).tolist()
    for letter, wanted in zip(letters, share, strict=True):
        count = sum(one.text == letter for one in found)
        assert abs(count - n * wanted) < 5 * (n * wanted * (1 - wanted)) ** 0.5 + 1


def test_log_probabilities_are_those_of_the_family_itself():
    (found,) = complete(MODEL, ["ab"], form=DATE, logprobs=2)
    row = torch.tensor([[*b"ab", *found.tokens]])
    nats = MODEL.family.logits(row)[0].log_softmax(-1)[1:-1]
    wanted = nats[range(len(found.tokens)), list(found.tokens)].tolist()
    assert found.log_probs == pytest.approx(wanted, abs=1e-4)
    assert [top[0][0] for top in found.top] == nats.argmax(-1).tolist()


def test_a_token_that_closes_an_answer_comes_where_the_form_is_complete():
    user = ROLES["user"]
    found = course(MODEL.domain, Form("regex", "ab?"), SIZE, over={user})
    assert not found.allowed[[END, user]].any()
    found.take(97)
    assert found.allowed.nonzero()[:, 0].tolist() == [98, user, END]
    found.take(98)
    assert (found.over, found.matches) == (True, True)


def test_what_the_family_holds_for_impossible_is_written_where_nothing_else_may_come():
    """The stand-in never ends a text by itself."""
    (found,) = complete(MODEL, ["ab"], form=Form("regex", ""))
    assert (found.text, found.finish) == ("", "stop")
    assert found.tokens[0] in {END, *MODEL.domain.roles.values()}


def test_a_text_that_cannot_go_on_is_not_said_to_be_whole(models):
    (found,) = made(models["characters"], Form("grammar", 'start: "a" "ñ"'), n=1)
    assert (found.text, found.finish) == ("a", "length")


def test_a_text_that_is_cut_off_is_not_said_to_be_whole():
    (found,) = complete(MODEL, ["ab"], form=DATE, most=4)
    assert (len(found.tokens), found.finish) == (4, "length")


def test_json_without_end_cannot_be_spaces_alone():
    found = course(MODEL.domain, Form("json", '{"type": "object"}'), SIZE)
    for token in b"{ ":
        found.take(token)
    assert found.allowed.nonzero()[:, 0].tolist() == list(b'"}')
    own = course(
        MODEL.domain, Form("json", '{"x-guidance": {"whitespace_flexible": false}}'), SIZE
    )
    own.take(ord("["))
    assert not own.allowed[ord(" ")]


# -- what is read once --------------------------------------------------------------------------


def test_the_tokens_of_a_model_are_read_once(monkeypatch):
    model, calls = standin(), []
    spelled = model.domain.spelled
    monkeypatch.setattr(model.domain, "spelled", lambda: calls.append(1) or spelled())
    for form in (DATE, NESTED, DATE):
        made(model, form, n=2, most=3)
    assert calls == [1]


def test_a_form_is_read_once_and_followed_once_for_each_text(monkeypatch):
    read, followed = [], []
    making, looking = forms._Words._made, forms.Course._look
    monkeypatch.setattr(forms._Words, "_made", lambda s, f: read.append(f) or making(s, f))
    monkeypatch.setattr(forms.Course, "take", lambda self, token: None)
    monkeypatch.setattr(forms.Course, "_look", lambda self: followed.append(1) or looking(self))
    engine = Engine(standin(length=20))
    for number in range(5):
        engine.submit(Request(tokens=[97], form=DATE, sample=number))
    assert (len(read), len(followed)) == (1, 1)
    engine.advance()
    assert (len(read), len(followed)) == (1, 6)


def test_texts_of_one_form_do_not_disturb_each_other():
    first, second = (course(MODEL.domain, DATE, SIZE) for _ in range(2))
    first.take(ord("1"))
    assert first.allowed[ord(" ")]
    assert not second.allowed[ord(" ")]


def test_many_forms_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(forms, "KEPT", 3)
    model = standin()
    for n in range(1, 9):
        assert course(model.domain, Form("regex", f"a{{{n}}}"), SIZE).allowed[97]
    assert len(forms._KNOWN[model.domain]._read) <= 3
