"""The images domain as a codec: views, labels, batches, and back."""

import json

import numpy as np
import pytest
import torch

from likewise.core import registry
from likewise.core.condition import Labels
from likewise.core.contract import Domain
from likewise.core.errors import DataError, StoreError, UsageError
from likewise.core.records import Records, split
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Continuous
from likewise.domains.images import Images


def records(n=12, h=6, w=5, channels=1, levels=256, labels=None, seed=0):
    items = np.random.default_rng(seed).integers(0, levels, (n, h, w, channels), dtype=np.uint8)
    return Records(
        domain="images",
        items=items,
        ids=tuple(map(str, range(n))),
        conditions={} if labels is None else {"label": tuple(labels)},
        facts={"levels": levels},
    )


def fitted(data, **options):
    domain = Images(**options)
    domain.fit(data)
    return domain


def test_the_registry_finds_one_domain():
    found = registry.get("domains", "images")
    assert found is Images
    assert issubclass(found, Domain)
    assert found.headline == "fd_classifier"


@pytest.mark.parametrize("levels", [2, 16, 17, 255, 256])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", [0, 1])
def test_decoding_takes_every_level_back_exactly(levels, channels, view):
    side = 16
    every = np.arange(side * side * channels).reshape(1, side, side, channels) % levels
    data = records(2, side, side, channels, levels)
    data.items[0] = every[0]
    domain = fitted(data)
    space = domain.views()[view]
    x, c = domain.source(data, space, train=False).batch(torch.tensor([0, 1]), Draws(0))
    space.check(x)
    assert c == {}
    back = domain.decode(x, space)
    assert back.items.dtype == np.uint8
    assert np.array_equal(back.items, data.items)
    assert back.facts == {"levels": levels}
    if isinstance(space, Continuous):
        assert space.levels == levels
        assert torch.equal(space.quantise(x), x)
    else:
        assert space == Categorical(shape=(channels, side, side), categories=levels)


def test_axes_are_channels_height_width():
    data = records(1, 6, 5, 3)
    domain = fitted(data)
    space = domain.views()[1]
    x, _ = domain.source(data, space, train=False).batch(torch.tensor([0]), Draws(0))
    assert x.shape == (1, 3, 6, 5)
    assert int(x[0, 2, 4, 1]) == int(data.items[0, 4, 1, 2])


def test_decoding_rounds_to_the_nearest_and_refuses_what_is_no_picture():
    data = records(2, 2, 2, levels=5)
    domain = fitted(data)
    view, classes = domain.views()
    x = torch.tensor([-9.0, -0.8, 0.26, 9.0]).reshape(1, 1, 2, 2)
    assert domain.decode(x, view).items.ravel().tolist() == [0, 0, 3, 4]
    with pytest.raises(DataError, match="values must be finite; got 'NaN or infinity'"):
        domain.decode(x * float("nan"), view)
    with pytest.raises(DataError, match=r"of shape \(1, 2, 2\); got \(1, 3, 3\)"):
        domain.decode(torch.zeros(1, 1, 3, 3), view)
    with pytest.raises(UsageError, match="one of the domain's views"):
        domain.decode(x, Continuous(shape=(1, 2, 2)))
    assert domain.decode(torch.full((1, 1, 2, 2), 99), classes).items.max() == 4


def test_state_is_json_and_comes_back():
    domain = fitted(Images.toy(), augment=("shift",))
    again = Images.from_state(json.loads(json.dumps(domain.state())))
    assert again.state() == domain.state()
    assert again.views() == domain.views()
    assert again.conditions() == domain.conditions()
    assert domain.state()["augment"] == ["shift"]
    with pytest.raises(StoreError, match="not the state of an images codec"):
        Images.from_state({"height": 3})
    with pytest.raises(UsageError, match="must be fitted before it is used: call fit"):
        Images().views()


def test_labels_are_in_natural_order_with_their_shares_in_training():
    data = records(6, labels=["10", "9", "9", None, "b2", "9"])
    domain = fitted(data)
    assert domain.conditions() == (Labels(name="label", names=("9", "10", "b2")),)
    assert domain.state()["prior"] == [0.6, 0.2, 0.2]
    assert fitted(records(3, labels=["a", "a", None])).conditions() == ()
    assert fitted(records(3)).conditions() == ()


def test_labels_that_training_never_saw_are_absent():
    domain = fitted(records(4, labels=["a", "b", "a", "b"]))
    other = records(4, labels=["b", "z", None, "a"], seed=1)
    source = domain.source(other, domain.views()[0], train=False)
    _, c = source.batch(torch.tensor([3, 2, 1, 0]), Draws(0))
    values, present = c["label"]
    assert present.tolist() == [True, False, False, True]
    assert values.tolist() == [0, 0, 0, 1]
    back = domain.decode(torch.zeros(4, 1, 6, 5), domain.views()[0], c)
    assert back.conditions == {"label": ("a", None, None, "b")}
    _, unlabelled = domain.source(records(2), domain.views()[0], train=True).batch(
        torch.tensor([0]), Draws(0)
    )
    assert unlabelled["label"][1].tolist() == [False]


def test_conditions_by_name_by_number_and_by_list():
    domain = fitted(records(4, labels=["3", "10", "3", "10"]))
    for where in (3, "3", np.int64(3)):
        values, present = domain.condition({"label": where}, 2)["label"]
        assert values.tolist() == [0, 0]
        assert values.dtype == torch.int64
        assert present.tolist() == [True, True]
    for many in ([10, None, "3"], np.array([10, 3, 3])):
        values, present = domain.condition({"label": many}, 3)["label"]
        assert values.tolist() == [1, 0, 0]
    assert domain.condition({}, 2) == {}
    labels = domain.conditions()[0]
    assert isinstance(labels, Labels)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (
            {"label": "1"},
            r"label '1' is not in the training data; did you mean '10'\? Known: 10, 3",
        ),
        ({"lable": "3"}, r"condition 'lable' is unknown; did you mean 'label'\? Known: label"),
        ({"label": ["3"]}, "a list of labels must be of 2, one for each example; got 1"),
    ],
)
def test_wrong_conditions_are_named(where, text):
    domain = fitted(records(4, labels=["3", "10", "3", "10"]))
    with pytest.raises(UsageError, match=text):
        domain.condition(where, 2)


def test_without_labels_nothing_can_be_steered():
    with pytest.raises(UsageError, match="steered by 'label': the data has no labels"):
        fitted(records(3)).condition({"label": 3}, 2)
    with pytest.raises(UsageError, match="the data has one label only"):
        fitted(records(3, labels="aaa")).condition({"label": "a"}, 2)


def test_records_that_do_not_fit_say_how_to_load_them():
    domain = fitted(records(3, 6, 5))
    with pytest.raises(DataError, match="Load them with size='6x5' and colour='grey'"):
        domain.source(records(3, 8, 8, 3), domain.views()[0], train=False)
    with pytest.raises(DataError, match="Call load"):
        domain.fit(Records(domain="images", items=["a"], ids=("0",)))
    with pytest.raises(DataError, match="at least one; got 0"):
        domain.fit(records(2).take([]))


def test_records_of_other_levels_are_brought_to_the_codecs():
    data = Images.toy()
    domain = fitted(data)
    as_files = records(len(data), 8, 8)
    as_files.items[:] = data.items * 17  # 0..15 as 0..255
    space = domain.views()[1]
    rows = torch.arange(len(data))
    x, _ = domain.source(as_files, space, train=False).batch(rows, Draws(0))
    y, _ = domain.source(data, space, train=False).batch(rows, Draws(0))
    assert torch.equal(x, y)


def test_toy_is_small_distinct_and_repeatable():
    data = Images.toy(3)
    assert data.items.shape == (160, 8, 8, 1)
    assert data.items.max() <= data.facts["levels"] - 1
    assert len(set(data.hashes())) == 160
    assert Images.toy(3).fingerprint() == data.fingerprint() != Images.toy(4).fingerprint()
    parts = split(data, seed=0, stratify="label")
    assert len(parts.train) > len(parts.test) > 0


def test_toy_can_be_told_apart_by_a_classical_method():
    from sklearn.linear_model import LogisticRegression

    data = Images.toy()
    flat, labels = data.items.reshape(160, -1) / 15, data.conditions["label"]
    model = LogisticRegression(max_iter=50, tol=1e-2).fit(flat[:100], labels[:100])
    assert model.score(flat[100:], labels[100:]) > 0.95


def test_source_reads_read_only_items_and_never_changes_them():
    data = records(5)
    data.items.flags.writeable = False
    before = data.items.copy()
    domain = fitted(data, augment="shift,flip")
    source = domain.source(data, domain.views()[0], train=True)
    assert len(source) == 5
    source.batch(torch.arange(5), Draws(0))
    assert np.array_equal(data.items, before)
