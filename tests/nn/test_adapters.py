"""Low-rank adapters: nothing changes at first, only they learn, and merging keeps the outputs."""

import pytest
import torch
from torch import nn

from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.transformer import Config, Transformer
from likewise.nn.adapters import Adapter, adapt, merge

SPACE = Sequence(length=12, tokens=9, end=7, pad=8)
SMALL = Config(width=16, depth=2, heads=2, groups=1, hidden=24)
LINEAR = ("attention.inward", "attention.outward", "feed.inward", "feed.outward")


@pytest.fixture
def family():
    torch.manual_seed(0)
    model = Transformer(SMALL, SPACE)
    for parameter in model.parameters():  # nothing silent: every change can be seen
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def inputs():
    return (Draws(1).uniform(4, 12) * 7).long()


def learned(model, inputs, steps=3):
    """Some steps on the parameters that can be learned."""
    torch.manual_seed(1)
    chosen = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -model.log_prob(torch.cat([inputs[:, :-1], inputs[:, :1] * 0 + 7], dim=1)).mean()
        loss.backward()
        optimizer.step()


def test_the_output_is_w_plus_the_scaled_product():
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    adapter = Adapter(layer, rank=2, alpha=3)
    nn.init.normal_(adapter.up)
    x = torch.randn(5, 3, 6)
    whole = layer.weight + 3 / 2 * adapter.up @ adapter.down
    assert torch.allclose(adapter(x), x @ whole.T + layer.bias, atol=1e-6)


def test_nothing_changes_until_something_is_learned(family, inputs):
    before = family.logits(inputs)
    adapt(family, rank=2, alpha=4)
    assert torch.equal(family.logits(inputs), before)


def test_only_adapters_have_gradients(family, inputs):
    frozen = {name: p.detach().clone() for name, p in family.named_parameters()}
    names = adapt(family, rank=2, alpha=4)
    assert names == [f"blocks.{i}.{layer}" for i in range(2) for layer in LINEAR]
    learned(family, inputs)
    graded = {name for name, p in family.named_parameters() if p.grad is not None}
    assert graded == {f"{name}.{part}" for name in names for part in ("down", "up")}
    for name, value in family.named_parameters():
        if name not in graded:
            assert torch.equal(value, frozen[name.replace(".layer.", ".")])


def test_merging_keeps_the_outputs_and_gives_the_names_back(family, inputs):
    names, before = list(family.state_dict()), family.logits(inputs)
    adapt(family, rank=2, alpha=4)
    learned(family, inputs)
    after = family.logits(inputs)
    assert merge(family) is family
    seen = torch.arange(9) != 8  # padding is never given
    assert (after - before)[..., seen].abs().max() > 0.1
    assert torch.allclose(family.logits(inputs)[..., seen], after[..., seen], atol=1e-5)
    assert list(family.state_dict()) == names
    assert all(p.requires_grad for p in family.parameters())
    assert not any(isinstance(one, Adapter) for one in family.modules())


def test_samples_with_a_cache_see_the_adapters(family, inputs):
    adapt(family, rank=2, alpha=4)
    learned(family, inputs)
    adapted = family.sample(8, rng=Draws(3))
    assert torch.equal(merge(family).sample(8, rng=Draws(3)), adapted)


def test_layers_are_chosen_by_how_their_names_end(family):
    names = ["attention.inward", "feed.outward"]
    assert adapt(family, rank=1, alpha=1, names=names) == [
        f"blocks.{i}.{name}" for i in range(2) for name in names
    ]


def test_a_name_ends_at_a_dot():
    net = nn.ModuleDict({"in": nn.Linear(3, 3), "begin": nn.Linear(3, 3)})
    assert adapt(net, rank=1, alpha=1, names=["in"]) == ["in"]


def test_dropout_is_of_training_alone(family, inputs):
    family.eval()
    adapt(family, rank=2, alpha=4, dropout=0.5)
    for adapter in (one for one in family.modules() if isinstance(one, Adapter)):
        nn.init.normal_(adapter.up)
    assert torch.equal(family.logits(inputs), family.logits(inputs))
    family.train()
    assert not torch.equal(family.logits(inputs), family.logits(inputs))


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"rank": 0}, "rank must be 1 to 16 for a layer of 16 to 32 numbers; got 0."),
        ({"rank": 17}, "rank must be 1 to 16 for a layer of 16 to 32 numbers; got 17."),
        ({"alpha": 0.0}, "alpha must be above 0 and finite; got 0.0."),
        ({"alpha": float("nan")}, "alpha must be above 0 and finite; got nan."),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1; got 1.0."),
        (
            {"names": ["inwrd"]},
            "no linear layer is named 'inwrd'; did you mean 'inward'? Known: inward, outward.",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(family, wishes, words):
    with pytest.raises(UsageError) as caught:
        adapt(family, **{"rank": 2, "alpha": 4.0, **wishes})
    assert str(caught.value) == words
    assert not any(isinstance(one, Adapter) for one in family.modules())
    assert all(p.requires_grad for p in family.parameters())


def test_adapters_come_once_and_go_once(family):
    with pytest.raises(UsageError, match="no adapters to merge: call adapt first"):
        merge(family)
    adapt(family, rank=1, alpha=1)
    with pytest.raises(UsageError, match="has adapters already: call merge before adapt"):
        adapt(family, rank=1, alpha=1)


def test_there_must_be_a_linear_layer():
    with pytest.raises(UsageError, match="no linear layer to put an adapter on"):
        adapt(nn.Sequential(nn.ReLU()), rank=1, alpha=1)
