"""Masked diffusion: what stands before, other documents, and tokens that are not scored."""

import pytest
import torch

from likewise.core.condition import Tokens
from likewise.core.contract import Step
from likewise.core.rng import Draws
from tests.families.masking import (
    LABEL,
    PACKED,
    PAD,
    PROMPT,
    SMALL,
    WORDS,
    bound,
    estimate,
    lively,
    prompt,
    rows,
)


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
