"""Responses: each corruption is what it says, equal numbers at each step, blind nets are found."""

import pytest
import torch
from scipy.ndimage import gaussian_filter

from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.evaluation import response as room
from likewise.evaluation.response import Response, blur, responses
from tests.evaluation.test_features import SPACES, examples


class Spy:
    """The identity, flat; keeps all that it was shown."""

    def __init__(self, space):
        self.space, self.seen = space, []

    def __call__(self, x):
        self.seen.append(x)
        return self.space.flat(x)


def test_blur_is_scipys():
    space = Continuous(shape=(2, 9, 13), low=0.0, high=1.0)
    x = Draws(0).uniform(3, 2, 9, 13)
    for deviation in (0.5, 1.0, 2.0):
        theirs = gaussian_filter(
            x.numpy(), deviation, axes=(2, 3), mode="nearest", radius=-(-int(6 * deviation) // 2)
        )
        assert torch.allclose(blur(x, deviation, space), torch.from_numpy(theirs), atol=1e-5)


@pytest.mark.parametrize("name", SPACES)
def test_every_space_has_its_corruptions_and_the_identity_sees_them(name):
    space = SPACES[name]
    x, y = examples(space, 400)
    spy = Spy(space)
    found = responses(x, y, {"identity": spy}, space)
    pictures = ["blur", "noise", "dropped classes"]
    expected = pictures if name == "continuous" else ["swapped entries", "dropped classes"]
    assert [r.corruption for r in found] == expected
    assert all(r.net == "identity" and r.strengths[0] == 0 for r in found)
    assert all(r.rises for r in found if r.corruption != "swapped entries"), found
    for shown in spy.seen:
        space.check(shown)
    assert found == responses(x, y, {"identity": Spy(space)}, space)
    assert found != responses(x, y, {"identity": Spy(space)}, space, seed=1)


def test_swapped_entries_raise_the_distance_of_dependent_columns():
    space = Continuous(shape=(2,))
    first = Draws(0).normal(500, 1)
    found = responses(torch.cat([first, first], dim=1), None, {"identity": space.flat}, space)
    assert [(r.corruption, r.rises) for r in found] == [("swapped entries", True)]


def test_half_of_the_classes_goes_and_the_number_stays():
    space = SPACES["continuous"]
    x, _ = examples(space, 400)
    y = torch.arange(400) % 4
    x[:, 0, 0, 0] = y.float() / 4  # so that what is shown tells its class
    spy = Spy(space)
    found = responses(x, y, {"identity": spy}, space)
    shown = [seen[:, 0, 0, 0].mul(4).long().bincount(minlength=4) for seen in spy.seen[-4:]]
    assert [r.corruption for r in found][-1] == "dropped classes"
    assert {int(counts.sum()) for counts in shown} == {100}
    assert shown[0].tolist() == [25, 25, 25, 25]
    assert shown[3].tolist() == [0, 0, 50, 50]
    assert [int(counts[:2].sum()) for counts in shown] == [50, 33, 17, 0]


def test_a_blind_net_is_found():
    space = SPACES["continuous"]
    x, y = examples(space, 200)
    found = responses(x, y, {"blind": lambda x: Draws(0).normal(len(x), 4)}, space)
    assert not any(r.rises for r in found if r.corruption != "dropped classes")


def test_labels_may_be_absent_partly_absent_or_of_one_class_only():
    space = SPACES["continuous"]
    x, y = examples(space, 200)
    nets = {"identity": space.flat}
    for labels in (None, torch.full((200,), -1), torch.zeros(200, dtype=torch.int64)):
        assert [r.corruption for r in responses(x, labels, nets, space)] == ["blur", "noise"]
    some = torch.where(torch.arange(200) % 5 == 0, -1, y)
    assert responses(x, some, nets, space)[-1].corruption == "dropped classes"


def test_few_examples_say_nothing_and_many_are_not_all_looked_at(monkeypatch):
    space = SPACES["continuous"]
    x, y = examples(space, 200)
    assert responses(x[:39], y[:39], {"identity": space.flat}, space) == ()
    monkeypatch.setattr(room, "EXAMPLES", 60)
    spy = Spy(space)
    responses(x, None, {"identity": spy}, space)
    assert max(map(len, spy.seen)) == 30


def test_equal_distances_do_not_rise():
    steps = {"net": "a", "corruption": "blur", "strengths": (0.0, 1.0)}
    assert not Response(**steps, distances=(1.0, 1.0)).rises
