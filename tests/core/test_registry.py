"""The registry: files by name, broken ones named, and nobody else taken down."""

from dataclasses import dataclass

import pytest

import likewise as lw
from likewise.core import registry
from likewise.core.contract import Claims, complaint
from likewise.core.errors import LikewiseError, UsageError
from likewise.core.space import Continuous
from tests.toys import ToyAffine, ToyConfig

BROKEN = {
    "syntax": ("def (", "cannot be loaded"),
    "empty": ("x = 1", "must define one concrete Family; got none"),
    "abstract": (
        "from likewise.core.contract import Family\n"
        "class Half(Family):\n    def sample(self): ...",
        "Half does not define preset",
    ),
    "missing": ("import no_such_library", "No module named 'no_such_library'"),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder whose files are families too."""
    import likewise.families

    monkeypatch.setattr(
        likewise.families, "__path__", [*likewise.families.__path__, str(tmp_path)]
    )
    spec = likewise.families.__spec__
    monkeypatch.setattr(
        spec, "submodule_search_locations", [*spec.submodule_search_locations, str(tmp_path)]
    )
    return tmp_path


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_file_is_named_and_takes_nobody_else_down(name, place):
    text, message = BROKEN[name]
    (place / f"broken_{name}.py").write_text(text)
    assert f"broken_{name}" in registry.names("families")
    with pytest.raises(LikewiseError, match=message):
        registry.get("families", f"broken_{name}")
    assert registry.get("families", "gmm").__name__ == "GMM"
    board = lw.run(
        lw.load("toy_points", domain="toy_points"),
        time="5s", families=["toy_affine"], out=place / "run",
    )  # fmt: skip
    assert any(row["name"] == "toy_affine" for row in board.rows)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UsageError, match="family 'flwo' is unknown; did you mean 'flow'"):
        registry.get("families", "flwo")


def test_a_taken_name_is_refused():
    with pytest.raises(UsageError, match="has a member 'gmm' already"):
        registry.add("families", "gmm", ToyAffine)


def claims(**changes):
    return Claims(**{"density": {Continuous: None}, **changes})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"claims": claims(learning="counting")}, "must define 'learn'"),
        ({"claims": claims(completion=True)}, "must define 'complete'"),
        ({"claims": claims(controls=frozenset({"temprature"}))}, "controls that there are not"),
        ({"Config": dict}, "Config is not a dataclass"),
        ({"Config": dataclass(type("Loose", (), {}))}, "Config is not frozen"),
    ],
)
def test_a_class_that_lacks_something_is_said_in_words(members, message):
    assert message in complaint(type("Lacking", (ToyAffine,), members))


def test_a_whole_class_has_no_complaint():
    assert complaint(ToyAffine) is None
    assert ToyConfig().width == 16
