"""Columns that are no part of the records: which can be read off, and the nets that read them."""

import pytest
import torch

from likewise.core.condition import Labels
from likewise.core.errors import StoreError
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.evaluation.groups import (
    COLUMNS,
    UNKNOWN,
    Group,
    columns,
    open_classifier,
    save_classifier,
    train_classifier,
)
from likewise.train.job import Job
from likewise.train.loop import Trainer
from tests.toys import ToySource

SPACE = Continuous(shape=(2,))
LABELS = Labels(name="smile / frown?", names=("no", "yes"))
TRAIN, HELD_OUT = range(140), range(140, 200)


def fit(trainable, source, *, steps, batch, seed):
    Trainer(trainable, source, Job(name="features", steps=steps, batch=batch, seed=seed)).run()


def found(**conditions):
    return columns(conditions, train=TRAIN, held_out=HELD_OUT, but=("label",))


def test_columns_with_enough_of_each_value_are_found():
    smile = [True, False] * 100
    age = [20, 40, None, 60, ""] * 40
    result = found(smile=smile, age=age, label=["a", "b"] * 100)
    assert set(result.found) == {"smile", "age"}
    assert result.left_out == {}
    labels, codes = result.found["age"]
    assert labels == Labels(name="age", names=("20", "40", "60"))
    assert codes[:5].tolist() == [0, 1, UNKNOWN, 2, UNKNOWN]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["one"] * 200, "it has 1 different values; 2 to 50 can be read off"),
        (list(range(200)), "it has 200 different values; 2 to 50 can be read off"),
        ([[0.1]] * 200, "its values are not names or whole numbers"),
        (["a"] * 180 + ["b"] * 20, "too few of its values stand on 20 training and 10 held-out"),
        (["a", "b"] * 70 + ["a"] * 60, "too few of its values stand on 20 training and 10"),
    ],
)
def test_columns_that_cannot_be_read_off_are_named(values, why):
    result = found(column=values)
    assert not result.found
    assert result.left_out["column"].startswith(why)


def test_rare_values_are_unknown_as_long_as_they_are_rare_together():
    few = ["rare" if i in (5, 50, 150) else "ab"[i % 2] for i in range(200)]
    labels, codes = found(column=few).found["column"]
    assert labels.names == ("a", "b")
    assert codes[5] == UNKNOWN
    many = [f"rare{i % 4}" if i % 10 == 0 else "ab"[i % 2] for i in range(200)]
    assert "column" in found(column=many).left_out


def test_no_more_columns_than_can_be_afforded():
    result = found(**{f"column {i}": ["a", "b"] * 100 for i in range(COLUMNS + 2)})
    assert len(result.found) == COLUMNS
    assert set(result.left_out.values()) == {f"no more than {COLUMNS} columns are read off"}


def trained(steps=60):
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    values = (x[:, 0] > 0).long()
    values[::7] = UNKNOWN
    source = ToySource(x, {}, SPACE, ())
    return x, train_classifier(LABELS, values, source, fit=fit, seed=3, steps=steps)


def test_a_column_is_read_off():
    x, net = trained()
    group = Group(classifier=net, train=torch.zeros(0), held_out=torch.zeros(0))
    assert (group.name, group.names) == ("smile / frown?", ("no", "yes"))
    assert ((group.read(x) == 1) == (x[:, 0] > 0)).float().mean() > 0.9


def test_a_net_is_opened_as_it_was_saved(tmp_path):
    x, net = trained(5)
    save_classifier(tmp_path, net)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("group-smile-frown-")
    again = open_classifier(tmp_path, SPACE, LABELS)
    assert torch.equal(again.probabilities(x), net.probabilities(x))
    assert not any(parameter.requires_grad for parameter in again.parameters())
    with pytest.raises(StoreError, match="does not exist"):
        open_classifier(tmp_path, SPACE, Labels(name=LABELS.name, names=("no", "yes", "both")))
    with pytest.raises(StoreError, match="train the feature nets again"):
        open_classifier(tmp_path, Continuous(shape=(3,)), LABELS)


def test_equal_seeds_train_equal_nets():
    x, one = trained(5)
    torch.manual_seed(99)
    _, other = trained(5)
    assert torch.equal(one.probabilities(x), other.probabilities(x))


def test_rows_without_a_value_teach_nothing():
    from likewise.evaluation.groups import _Marked

    values = torch.tensor([1, UNKNOWN, 0])
    marked = _Marked(ToySource(torch.zeros(3, 2), {}, SPACE, ()), LABELS, values)
    codes, present = marked.batch(torch.tensor([2, 1, 0]), Draws(0))[1][LABELS.name]
    assert present.tolist() == [True, False, True]
    assert codes.tolist() == [0, 0, 1]
