"""Rotary angles that are scaled, and heads of a size of their own."""

import math

import pytest
import torch

from likewise.core.config import from_json, override, to_json
from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.transformer import Config, Transformer
from likewise.nn import reading
from likewise.nn.attention import Shape, rates

SPACE = Sequence(length=24, tokens=9, end=7, pad=8)
SMALL = {"width": 16, "depth": 2, "heads": 2, "groups": 1, "hidden": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_llama3_slows_pair_by_pair_as_published():
    """The rule of the Llama 3.1 release, one pair at a time: by its wavelength."""
    wanted = []
    for i in range(64):
        rate = 500_000.0 ** (-i / 64)
        wavelength = 2 * math.pi / rate
        if wavelength > 8192 / 1.0:
            rate /= 8
        elif wavelength >= 8192 / 4.0:
            share = (8192 / wavelength - 1.0) / (4.0 - 1.0)
            rate = (1 - share) * rate / 8 + share * rate
        wanted.append(rate)
    plain, got = rates(128, 500_000.0), rates(128, 500_000.0, LLAMA3)
    assert torch.allclose(got, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12)
    share = got / plain
    assert share[0] == 1
    assert share[-1] == 1 / 8
    assert bool(((share > 0.13) & (share < 0.99)).any())


def test_linear_is_more_places_between_the_old_ones():
    slow, plain = Transformer(slower(), SPACE), Transformer(Config(**SMALL), SPACE)
    at = torch.arange(6)
    for one, other in zip(slow.rotary.at(4 * at), plain.rotary.at(at), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("scaling", [None, {}, {"rope_type": "default"}, {"type": "default"}])
def test_without_a_scaling_nothing_is_slower(scaling):
    assert torch.equal(rates(8, 10.0, scaling), rates(8, 10.0))


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        ("llama3", "scaling must be of the rope_type default or linear or llama3; got 'llama3'."),
        ({"rope_type": "yarn"}, "llama3; got {'rope_type': 'yarn'}."),
        ({"rope_type": ["linear"]}, "llama3; got {'rope_type': ['linear']}."),
        ({"rope_type": "linear"}, "factor of scaling linear must be a number above 0; got None."),
        ({"rope_type": "linear", "factor": 0}, "must be a number above 0; got 0."),
        ({"rope_type": "linear", "factor": True}, "must be a number above 0; got True."),
        ({"rope_type": "linear", "factor": math.nan}, "must be a number above 0; got nan."),
        ({**LLAMA3, "high_freq_factor": 1}, "high_freq_factor must be above low_freq_factor "
         "(1.0); got 1."),
    ],
)  # fmt: skip
def test_a_scaling_that_cannot_be_is_named(scaling, words):
    with pytest.raises(UsageError) as caught:
        Transformer(Config(**SMALL, scaling=scaling), SPACE)
    assert words in str(caught.value)


def test_a_scaling_is_a_setting_and_survives_json():
    config = override(Config(**SMALL), {"scaling": '{"rope_type": "linear", "factor": 4}'})
    assert config == slower()
    assert from_json(Config, to_json(config)) == config
    assert override(config, {"scaling.factor": "8"}).scaling["factor"] == 8


def test_older_models_have_none_of_it():
    new = ("head_dim", "qkv_biased", "scaling")
    older = {name: value for name, value in to_json(Config(**SMALL)).items() if name not in new}
    assert from_json(Config, older) == Config(**SMALL)


def test_a_head_must_be_even():
    with pytest.raises(UsageError, match="head_dim must be even; got 7"):
        Shape(width=16, heads=2, groups=2, hidden=8, head_dim=7)
    assert Shape(width=15, heads=2, groups=2, hidden=8, head_dim=6).size == 6


@pytest.mark.parametrize("more", [{"head_dim": 12}, {"qkv_biased": True}, {"head_dim": 4}])
def test_greedy_text_is_equal_with_and_without_compiled_steps(monkeypatch, more):
    torch.manual_seed(3)
    model = Transformer(Config(**SMALL, **more), SPACE).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    cold = Controls(temperature=0)
    known = model.sample(3, rng=Draws(0), controls=cold)
    model.train().eval()  # forgets the weights that were laid out
    monkeypatch.setattr(reading, "fits", lambda weight: False)
    assert torch.equal(model.sample(3, rng=Draws(0), controls=cold), known)


def slower():
    return Config(**SMALL, scaling={"rope_type": "linear", "factor": 4})
