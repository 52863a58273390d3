"""Feature nets on all four kinds of Space."""

import pytest
import torch

from likewise.core.condition import Labels
from likewise.core.contract import Step
from likewise.core.errors import DataError, UsageError
from likewise.core.rng import Draws, generator
from likewise.core.space import Categorical, Column, Continuous, Mixed, Sequence
from likewise.nn import features as room
from likewise.nn.contrastive import Contrastive
from likewise.nn.features import Classifier, Pca, RandomNet, width_for

LABELS = Labels(names=("a", "b", "c"))
SPACES = {
    "picture": Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=0.125),
    "odd picture": Continuous(shape=(3, 5, 17), low=-1.0, high=1.0),
    "pixel": Continuous(shape=(1, 1, 1), low=-1.0, high=1.0),
    "vector": Continuous(shape=(6,)),
    "series": Continuous(shape=(10, 2)),
    "levels": Categorical(shape=(1, 6, 6), categories=5),
    "codes": Categorical(shape=(7,), categories=4),
    "sequence": Sequence(length=9, tokens=6, end=4, pad=5),
    "mixed": Mixed(
        columns=(
            Column(name="age", step=1.0),
            Column(name="sex", kind="category", categories=2, missing=True),
            Column(name="pay", missing=True),
        )
    ),
}


def examples(space, n, seed=0):
    """Examples whose first numbers say which of 3 classes they are of, and the classes."""
    draw = generator(seed)
    y = torch.arange(n) % 3
    if isinstance(space, Continuous):
        x = 0.2 * torch.randn(n, *space.shape, generator=draw)
        x = x + (y.float() - 1).view(-1, *[1] * len(space.shape)) * 0.7
        return space.quantise(x), y
    if isinstance(space, Categorical):
        x = torch.randint(0, space.categories, (n, *space.shape), generator=draw)
        x.view(n, -1)[:, :3] = y[:, None]
        return x, y
    if isinstance(space, Sequence):
        x = torch.randint(0, 2, (n, space.length), generator=draw)
        x[:, :4] = y[:, None] + 1
        ends = torch.randint(4, space.length, (n,), generator=draw)
        place = torch.arange(space.length)
        x = torch.where(place == ends[:, None], space.end, x)
        return torch.where(place > ends[:, None], space.pad, x), y
    age = 40 + 10 * y + torch.randn(n, generator=draw).round()
    sex = (y == 1).float()
    pay = 1e4 * (2 + torch.rand(n, generator=draw))
    pay[::7], sex[::5] = torch.nan, torch.nan
    return torch.stack([age.float(), sex, pay], dim=1), y


class Fixed:
    """A source over tensors."""

    def __init__(self, space, n=240, seed=0, labelled=True):
        self.space, self.conditions = space, (LABELS,)
        self.x, self.y = examples(space, n, seed)
        self.labelled = labelled

    def __len__(self):
        return len(self.x)

    def batch(self, index, rng):
        present = torch.full((len(index),), self.labelled)
        return self.x[index], {"label": (self.y[index], present)}


def train(net, source, steps):
    net.prepare(source, rng=Draws(0))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(steps):
        index = torch.randint(0, len(source), (64,), generator=generator(step))
        (loss,) = net.losses(*source.batch(index, Draws(0)), step=Step(Draws(0), 0.0))
        optimizer.zero_grad()
        loss.value.mean().backward()
        optimizer.step()


@pytest.fixture(params=SPACES, ids=str)
def space(request):
    return SPACES[request.param]


def nets(space):
    torch.manual_seed(0)
    return [
        Classifier(space, LABELS, 5),
        Contrastive(space, 5),
        RandomNet(space, 5),
        Pca(space, 5),
    ]


def test_examples_are_of_their_space(space):
    space.check(examples(space, 50)[0])


def test_features_have_their_width_and_do_not_depend_on_the_batch(space, monkeypatch):
    source = Fixed(space)
    for net in nets(space):
        net.prepare(source, rng=Draws(0))
        net.calibrate(source, rng=Draws(0))
        f = net.features(source.x)
        assert f.shape == (240, 5)
        assert f.dtype == torch.float32
        assert torch.isfinite(f).all()
        monkeypatch.setattr(room, "rows_at_once", lambda space: 7)
        assert torch.allclose(net.features(source.x), f, atol=1e-5)
        monkeypatch.undo()


def test_calibrated_features_have_mean_0_and_mean_variance_1(space):
    source = Fixed(space)
    for net in nets(space):
        net.prepare(source, rng=Draws(0))
        net.calibrate(source, rng=Draws(0))
        f = net.features(source.x).double()
        assert f.mean(dim=0).abs().max() < 1e-4
        assert float(f.var(dim=0, correction=0).mean()) == pytest.approx(1.0, rel=1e-3)


def test_classifier_learns_the_classes(space):
    torch.manual_seed(0)
    net = Classifier(space, LABELS, 8)
    train(net, Fixed(space), steps=200 if space.dimensions == 1 else 60)
    x, y = examples(space, 99, seed=1)
    p = net.probabilities(x)
    assert torch.allclose(p.sum(dim=1), torch.ones(99), atol=1e-5)
    assert float((p.argmax(dim=1) == y).float().mean()) > 0.9


def test_classifier_losses_are_per_example_and_every_parameter_learns(space):
    torch.manual_seed(0)
    net, source = Classifier(space, LABELS, 5), Fixed(space)
    net.prepare(source, rng=Draws(0))
    x, c = source.batch(torch.arange(30), Draws(0))
    (loss,) = net.losses(x, c, step=Step(Draws(0), 0.0))
    assert (loss.part, loss.value.shape) == ("classifier", (30,))
    assert set(net.parts()) == set(net.optimizers()) == {"classifier"}
    loss.value.mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_examples_without_a_label_have_no_loss():
    space = SPACES["vector"]
    net = Classifier(space, LABELS)
    x, c = Fixed(space, labelled=False).batch(torch.arange(9), Draws(0))
    (loss,) = net.losses(x, c, step=Step(Draws(0), 0.0))
    assert not loss.value.any()
    with pytest.raises(DataError, match="must carry the condition 'label'"):
        next(net.losses(x, {}, step=Step(Draws(0), 0.0)))


def test_random_net_is_its_seed_and_leaves_the_global_generator_alone(space):
    x, _ = examples(space, 20)
    torch.manual_seed(1)
    first = RandomNet(space, 4, seed=3)
    torch.manual_seed(2)
    second = RandomNet(space, 4, seed=3)
    assert torch.equal(first.features(x), second.features(x))
    assert not torch.equal(first.features(x), RandomNet(space, 4, seed=4).features(x))


def test_sequences_are_not_read_beyond_their_end():
    space = SPACES["sequence"]
    x, _ = examples(space, 20)
    other = torch.where(space.mask(x), x, 2)
    for net in (RandomNet(space, 6), Classifier(space, LABELS)):
        assert torch.equal(net.features(x), net.features(other))


def test_more_padding_changes_nothing():
    short = SPACES["sequence"]
    long = Sequence(length=20, tokens=6, end=4, pad=5)
    x, _ = examples(short, 20)
    padded = torch.cat([x, torch.full((20, 11), 5)], dim=1)
    first, second = RandomNet(short, 6), RandomNet(long, 6)
    for net in (first, second):
        net.trunk.last.weight[:, -1] = 0.0  # the length as a share of the longest
    assert torch.allclose(first.features(x), second.features(padded), atol=1e-5)


def test_pca_equals_scikit_learns():
    from sklearn.decomposition import PCA

    space = Continuous(shape=(1, 4, 5), low=-9.0, high=9.0)
    source = Fixed(space)
    mixing = torch.randn(20, 20, generator=generator(9))
    source.x = (source.x.flatten(1) @ mixing).view(-1, 1, 4, 5)
    net = Pca(space, 4)
    net.prepare(source, rng=Draws(0))
    theirs = torch.from_numpy(PCA(4).fit_transform(source.x.flatten(1).numpy()))
    ours = net.features(source.x)
    signs = (theirs * ours).sum(dim=0).sign()
    assert torch.allclose(ours, theirs * signs, atol=1e-3)


def test_pca_from_rows_equals_pca_from_the_covariance(monkeypatch):
    space = SPACES["picture"]
    source, results = Fixed(space, n=60), []
    for limit in (1024, 63):  # 64 columns: the second takes rows apart
        monkeypatch.setattr(room, "_COMPONENTS", limit)
        net = Pca(space, 3)
        net.prepare(source, rng=Draws(0))
        results.append(net.features(source.x))
    assert torch.allclose(*results, atol=1e-4)


def test_pca_of_data_with_few_directions_pads_with_zeros():
    space = Continuous(shape=(1, 2, 4), low=-1.0, high=1.0)
    source = Fixed(space)
    source.x = torch.randn(240, 1, 1, 1, generator=generator(0)).expand(240, 1, 2, 4)
    net = Pca(space, 4)
    net.prepare(source, rng=Draws(0))
    net.calibrate(source, rng=Draws(0))
    f = net.features(source.x)
    assert f[:, 0].std() > 0.5
    assert not f[:, 1:].any()


def test_constant_data_is_no_trouble():
    space = SPACES["picture"]
    source = Fixed(space)
    source.x = torch.zeros_like(source.x)
    for net in nets(space):
        net.prepare(source, rng=Draws(0))
        net.calibrate(source, rng=Draws(0))
        assert net.features(source.x).abs().max() < 1e-4


def test_units_of_a_column_do_not_matter_and_flags_keep_theirs():
    space = SPACES["mixed"]
    source, cents = Fixed(space), Fixed(space)
    cents.x = cents.x.clone()
    cents.x[:, 2] *= 100.0
    results = []
    for s in (source, cents):
        net = Pca(space, 3)
        net.prepare(s, rng=Draws(0))
        results.append(net.features(s.x))
    assert torch.allclose(*results, atol=1e-3)
    # age; sex one-hot (2) and its flag; pay and its flag
    assert net.scaled.deviation[1:4].tolist() == [1.0, 1.0, 1.0]
    assert net.scaled.deviation[5] == 1.0
    assert net.scaled.deviation[4] > 1e5


def test_width_leaves_eight_examples_a_feature_and_more_beyond_32():
    assert [width_for(n) for n in (1, 16, 100, 270, 1000)] == [1, 2, 12, 32, 32]
    assert [width_for(n) for n in (1500, 2048, 10_000)] == [46, 64, 64]


def test_probabilities_are_learned_without_smoothing():
    """Sure and right must cost nothing, or the classes of real examples would look unsure."""
    torch.manual_seed(0)
    net, source = Classifier(SPACES["vector"], LABELS, 5), Fixed(SPACES["vector"])
    net.last.weight.data.zero_()
    net.last.bias.data = torch.tensor([50.0, 0.0, 0.0])
    x, c = source.batch(torch.arange(0, 30, 3), Draws(0))  # all of the first class
    (loss,) = net.losses(x, c, step=Step(Draws(0), 0.0))
    assert loss.value.max() < 1e-6


def test_impossible_nets_are_named():
    with pytest.raises(UsageError, match="classes must be at least 2; got 1"):
        Classifier(SPACES["vector"], Labels(names=("a",)))
    with pytest.raises(UsageError, match="width must be at least 1; got 0"):
        Pca(SPACES["vector"], 0)
