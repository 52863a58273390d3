"""Configs: JSON round trips, overrides, and errors that name the nearest setting."""

from dataclasses import dataclass

import pytest

from likewise.core.config import Optimizer, describe, from_json, override, setting, to_json
from likewise.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Sample:
    width: int = setting(16, "of the layers", low=1, high=64)
    kind: str = setting("a", "which", choices=("a", "b"))
    sizes: tuple[int, ...] = setting((1, 2), "some sizes", low=1)
    rate: float | None = setting(None, "or none", low=0.0)
    optimizer: Optimizer = setting(Optimizer(), "how it is stepped")


def test_a_config_survives_json():
    config = Sample(width=3, sizes=(4, 5), rate=0.5)
    assert from_json(Sample, to_json(config)) == config


def test_overrides_reach_into_parts():
    config = override(Sample(), {"width": "8", "optimizer.learning_rate": "0.1", "kind": "b"})
    assert (config.width, config.optimizer.learning_rate, config.kind) == (8, 0.1, "b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": "3"}, "setting 'widht' is unknown; did you mean 'width'?"),
        ({"optimizer.learning_rat": "3"}, "did you mean 'learning_rate'?"),
        ({"width.deep": "3"}, "setting 'width' has no parts to set"),
        ({"width": "many"}, "setting 'width' must be a whole number; got 'many'."),
        ({"width": "100"}, r"setting 'width' must be in \[1, 64\]; got 100."),
        ({"kind": "c"}, "setting 'kind' cannot be 'c'"),
        ({"sizes": "[0]"}, r"setting 'sizes' must be in \[1, inf\]; got 0."),
        ({"rate": "NaN"}, r"setting 'rate' must be in \[0, inf\]; got nan."),
        ({"optimizer.clip": "true"}, "setting 'optimizer.clip' must be a number; got True."),
    ],
)
def test_wrong_settings_are_said_in_words(changes, message):
    with pytest.raises(UsageError, match=message):
        override(Sample(), changes)


def test_settings_are_described():
    rows = {name: (default, doc) for name, default, doc in describe(Sample)}
    assert rows["width"] == (16, "of the layers")
    assert rows["optimizer.learning_rate"][0] == 1e-3
