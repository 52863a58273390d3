"""Other arithmetic: near the plain one, exact in itself, and gone when the training ends."""

import pytest
import torch
from torch import nn

from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Continuous, Sequence
from likewise.families.transformer import Transformer
from likewise.families.vae import VAE
from likewise.train.arithmetic import Arithmetic
from likewise.train.job import Checked, Job
from likewise.train.loop import Trainer
from tests.toys import ToySource

SPACE = Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=0.125)
WORDS = ["float32", "bfloat16", "float32, channels last", "bfloat16, channels last, compiled"]


class Kill(BaseException):
    pass


def train(words="float32", steps=8, **more):
    torch.manual_seed(0)
    family = VAE(VAE.preset("xs", SPACE, ()), SPACE, ())
    pictures = SPACE.quantise(Draws(1).uniform(64, 1, 8, 8) * 2 - 1)
    job = Job(name="vae", steps=steps, batch=16, ema=0.9, arithmetic=words)
    trainer = Trainer(family, ToySource(pictures, {}, SPACE, ()), job, **more)
    trainer.run()
    return family


def weights(family):
    return torch.cat([t.flatten().double() for t in family.state_dict().values()])


@pytest.mark.parametrize("words", WORDS)
def test_words_are_kept(words):
    assert str(Arithmetic.of(words)) == words


@pytest.mark.parametrize("words", ["float16", "channels last", "float32, compiled, channels last"])
def test_other_words_are_refused(words):
    with pytest.raises(UsageError, match="an arithmetic must be float32 or bfloat16, then"):
        Arithmetic.of(words)


def test_channels_last_is_near_the_plain_one_and_leaves_nothing_behind():
    plain, other = train(), train("float32, channels last")
    torch.testing.assert_close(weights(other), weights(plain), rtol=0.01, atol=0.005)
    assert all(tensor.is_contiguous() for tensor in other.state_dict().values())


def test_weights_and_what_optimizers_remember_lie_as_pictures_do_while_it_lasts(tmp_path):
    seen = []

    def check():
        for parameter in trainer.module.parameters():
            held = [parameter, *trainer.memory("model", parameter).values()]
            seen.extend(t.is_contiguous(memory_format=torch.channels_last)
                        for t in held if t.dim() == 4)  # fmt: skip
        return Checked(1.0, 0.1)

    family = VAE(VAE.preset("xs", SPACE, ()), SPACE, ())
    source = ToySource(torch.zeros(32, 1, 8, 8), {}, SPACE, ())
    job = Job(name="vae", steps=2, batch=16, arithmetic="float32, channels last", validations=1)
    trainer = Trainer(family, source, job, validate=check)
    trainer.run()
    assert len(seen) > 9
    assert all(seen)


def test_a_killed_training_in_channels_last_resumes_to_the_same_bits(tmp_path):
    def kill(progress):
        if progress.step == 5:
            raise Kill

    words, file = "float32, channels last", tmp_path / "state.safetensors"
    with pytest.raises(Kill):
        train(words, file=file, watch=kill)
    assert torch.equal(weights(train(words, file=file)), weights(train(words)))


def test_networks_are_compiled_for_training_alone(monkeypatch):
    calls = {"compiled": 0, "aside": 0}

    def compiled(forward):
        def call(*args, **kwargs):
            calls["compiled"] += 1
            return forward(*args, **kwargs)

        return call

    class Aside:
        def __init__(self, stance):
            assert stance == "force_eager"

        def __enter__(self):
            calls["aside"] += 1

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(torch.compiler, "set_stance", Aside)
    family = train("float32, compiled", steps=4, validate=lambda: Checked(1.0, 0.1))
    assert calls["compiled"] >= 8  # an encoder and a decoder, four times
    assert calls["aside"] >= 1
    before = calls["compiled"]
    family.sample(2, rng=Draws(0))
    assert calls["compiled"] == before
    assert torch.equal(weights(family), weights(train(steps=4)))


@pytest.fixture
def compiled(monkeypatch):
    """The networks that are compiled, which work on as they did."""
    found = []

    def note(forward):
        found.append(forward.__self__)
        return lambda *args, **kwargs: forward(*args, **kwargs)

    monkeypatch.setattr(torch, "compile", note)
    monkeypatch.setattr(torch.compiler, "set_stance", lambda _: torch.no_grad())
    return found


def spell(words, steps=4):
    """A transformer after a short training on texts."""
    torch.manual_seed(0)
    space = Sequence(length=8, tokens=6, end=4, pad=5)
    family = Transformer(Transformer.preset("xs", space, ()), space)
    x = Draws(1).integers(4, 32, 8)
    job = Job(name="transformer", steps=steps, batch=8, arithmetic=words)
    Trainer(family, ToySource(x, {}, space, ()), job).run()
    return family


def test_the_blocks_of_a_list_are_compiled_and_as_they_were_afterwards(compiled):
    family = spell("float32, compiled")
    assert set(family.blocks) <= set(compiled)
    assert family.blocks not in compiled, "nobody calls a list"
    assert len(set(compiled)) == len(compiled)
    assert not any("forward" in vars(net) for net in family.modules())
    assert torch.equal(weights(family), weights(spell("float32")))


def test_a_network_that_stands_twice_is_compiled_once(compiled):
    one, other, last = (nn.Linear(2, 2) for _ in range(3))
    whole = nn.Module()
    whole.first, whole.some = one, nn.ModuleList([one, nn.ModuleList([other, one])])
    whole.named = nn.ModuleDict({"other": other, "last": last})
    whole.read = nn.Sequential(nn.GRU(2, 2))  # a kernel of its own
    Arithmetic(compiled=True).begin(whole)
    assert compiled == [one, other, last]
    Arithmetic(compiled=True).end(whole)
    assert not any("forward" in vars(net) for net in whole.modules())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those inside the compiler are its own
def test_a_compiled_training_is_near_a_plain_one():
    plain, other = train(steps=3), train("float32, compiled", steps=3)
    torch.testing.assert_close(weights(other), weights(plain), rtol=0.01, atol=0.005)
