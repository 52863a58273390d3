"""The feature nets of a run: what there is, what is kept, what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from likewise.core.condition import Labels
from likewise.core.contract import Step
from likewise.core.errors import StoreError, UsageError
from likewise.core.rng import Draws, fold, generator
from likewise.core.space import Categorical, Column, Continuous, Mixed, Sequence
from likewise.evaluation.features import FeatureSet

LABELS = Labels(names=("low", "high"))
SPACES = {
    "continuous": Continuous(shape=(1, 6, 6), low=-1.0, high=1.0, step=0.125),
    "categorical": Categorical(shape=(5,), categories=3),
    "sequence": Sequence(length=6, tokens=5, end=3, pad=4),
    "mixed": Mixed(columns=(Column(name="a"), Column(name="b", kind="category", categories=3))),
}


def examples(space, n, seed=0):
    draw, y = generator(seed), torch.arange(n) % 2
    if isinstance(space, Continuous):
        noise = 0.3 * torch.randn(n, *space.shape, generator=draw)
        return space.quantise(noise + (y.view(-1, 1, 1, 1) - 0.5)), y
    if isinstance(space, Mixed):
        b = torch.randint(0, 3, (n,), generator=draw)
        return torch.stack([torch.randn(n, generator=draw) + 5 * y, b.float()], dim=1), y
    x = torch.randint(0, 3, (n, *space.shape), generator=draw)
    x[:, 0] = y
    if isinstance(space, Sequence):
        x[:, -1] = space.end
    return x, y


class Fixed:
    def __init__(self, space, n=200, seed=0):
        self.space, self.conditions = space, (LABELS,)
        self.x, self.y = examples(space, n, seed)

    def __len__(self):
        return len(self.x)

    def batch(self, index, rng):
        return self.x[index], {"label": (self.y[index], torch.ones(len(index), dtype=torch.bool))}


def fit(trainable, source, *, steps, batch, seed):
    trainable.prepare(source, rng=Draws(seed))
    optimizer = torch.optim.AdamW(trainable.parameters(), lr=3e-3)
    for step in range(steps):
        index = torch.randint(0, len(source), (batch,), generator=generator(fold(seed, step)))
        (loss,) = trainable.losses(*source.batch(index, Draws(0)), step=Step(Draws(0), 0.0))
        optimizer.zero_grad()
        loss.value.mean().backward()
        optimizer.step()


def made(space, conditions=(LABELS,), seed=0, n_eval=64, steps=40):
    return FeatureSet.train(
        Fixed(space),
        space,
        conditions,
        fit=fit,
        seed=seed,
        n_eval=n_eval,
        held_out=Fixed(space, 60, seed=1),
        steps=steps,
    )


@pytest.fixture(params=SPACES, ids=str)
def space(request):
    return SPACES[request.param]


def test_all_nets_for_all_spaces(space):
    features = made(space)
    assert list(features) == ["classifier", "contrastive", "random", "pca"]
    x, _ = examples(space, 30, seed=2)
    for name, net in features.items():
        assert net(x).shape == (30, 8), name  # 64 examples, 8 a feature
    assert len(set(features.hashes.values())) == 4
    assert features.accuracy.value > 0.9
    assert features.accuracy.low < features.accuracy.value <= features.accuracy.high
    assert features.accuracy.n == 60


def test_no_classifier_without_two_classes():
    space = SPACES["continuous"]
    for conditions in ((), (Labels(names=("only",)),)):
        features = made(space, conditions)
        assert list(features) == ["contrastive", "random", "pca"]
        assert features.classifier is None
        assert features.accuracy is None


def test_same_seed_same_bits_and_the_global_generator_is_left_alone():
    space = SPACES["continuous"]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = made(space, steps=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert made(space, steps=3).hashes == first.hashes
    other = made(space, seed=1, steps=3).hashes
    assert other["classifier"] != first.hashes["classifier"]
    assert other["random"] != first.hashes["random"]


def test_saved_and_opened_nets_are_the_same(space, tmp_path):
    features = made(space, steps=3)
    features.save(tmp_path)
    again = FeatureSet.open(tmp_path, space, (LABELS,))
    assert again.hashes == features.hashes
    assert again.accuracy == features.accuracy
    assert again.responses == features.responses
    assert again.responses
    x, _ = examples(space, 30, seed=2)
    for name in features:
        assert torch.equal(again[name](x), features[name](x))
    assert torch.equal(again.classifier.probabilities(x), features.classifier.probabilities(x))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classifier.safetensors",
        "contrastive.safetensors",
        "features.json",
        "pca.safetensors",
        "random.safetensors",
    ]


def test_what_does_not_fit_is_refused(tmp_path):
    space = SPACES["continuous"]
    with pytest.raises(StoreError, match="does not exist"):
        FeatureSet.open(tmp_path, space, (LABELS,))
    made(space, steps=1).save(tmp_path)
    with pytest.raises(StoreError, match="made for other data"):
        FeatureSet.open(tmp_path, SPACES["mixed"], (LABELS,))
    with pytest.raises(StoreError, match="no use for one"):
        FeatureSet.open(tmp_path, space, ())
    with pytest.raises(StoreError, match="does not fit this data"):
        FeatureSet.open(tmp_path, space, (Labels(names=("a", "b", "c")),))
    weights = tmp_path / "random.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="its hash differs"):
        FeatureSet.open(tmp_path, space, (LABELS,))
    facts = json.loads((tmp_path / "features.json").read_text())
    (tmp_path / "features.json").write_text(json.dumps({**facts, "version": 99}))
    with pytest.raises(StoreError, match="must be 2; got 99"):
        FeatureSet.open(tmp_path, space, (LABELS,))


def test_no_examples_is_an_error():
    space = SPACES["continuous"]
    with pytest.raises(UsageError, match="at least one example; got 0"):
        FeatureSet.train(Fixed(space, 0), space, (), fit=fit, seed=0, n_eval=64)


def test_what_a_net_does_not_respond_to_is_known_by_name():
    space = SPACES["continuous"]
    features = made(space)
    assert {r.net for r in features.responses} == set(features)
    assert {r.corruption for r in features.responses} == {"blur", "noise", "dropped classes"}
    rising, level = (0.0, 1.0, 2.0, 3.0), (1.0,) * 4
    features.responses = tuple(
        replace(r, distances=level if r.corruption == "noise" and r.net == "pca" else rising)
        for r in features.responses
    )
    assert features.unmoved("pca") == ("noise",)
    assert features.unmoved("classifier") == ()


def test_features_of_the_last_reference_are_kept():
    features = made(SPACES["continuous"], steps=1)
    x, _ = examples(SPACES["continuous"], 30, seed=2)
    first = features.known("pca", x)
    assert torch.equal(first, features["pca"](x))
    assert features.known("pca", x.clone()) is first
    assert not torch.equal(features.known("pca", x.flip(3)), first)


def test_inception_joins_with_its_hash(monkeypatch, tmp_path):
    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(1, 2048)

        def forward(self, x):
            return self.fc(x.flatten(1)[:, :1])

    monkeypatch.setattr("likewise.nn.inception.Network", Tiny)
    file = tmp_path / "inception.safetensors"
    save_file(Tiny().state_dict(), file)
    own = made(SPACES["continuous"], steps=1)
    features = own.with_inception(file)
    assert list(features) == [*own, "inception"]
    assert features.hashes == {**own.hashes, "inception": features.hashes["inception"]}
    assert (features.accuracy, features.responses) == (own.accuracy, own.responses)
    x, _ = examples(SPACES["continuous"], 30, seed=2)
    assert features["inception"](x).shape == (30, 2048)
