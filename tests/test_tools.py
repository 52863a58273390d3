"""The gates that a person runs by hand: format, lint, types, and what leaves as a package."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "words",
    [
        ["ruff", "format", "--check", "-q", "src", "tests", "benchmarks"],
        ["ruff", "check", "-q", "src", "tests", "benchmarks"],
        ["mypy"],
    ],
    ids=["format", "lint", "types"],
)
def test_the_gate_is_open(words):
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_too_long():
    long = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / "src").rglob("*.py")
        if len(path.read_text().splitlines()) > 400
    }
    assert not long


def test_nothing_is_unpickled():
    """Weights are safetensors, all else is JSON."""
    words = ("import pickle", "torch.load(", "joblib", "allow_pickle=True", "yaml.load")
    found = [
        f"{path.name}: {word}"
        for path in (ROOT / "src").rglob("*.py")
        for word in words
        if word in path.read_text()
    ]
    assert not found
