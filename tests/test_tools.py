"""The gates that a person runs by hand: format, lint, types, and what leaves as a package."""

import ast
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
    """Weights are safetensors, all else is JSON; a sentence may name what the code may not do."""
    words = (
        "import pickle",
        "from pickle",
        "torch.load(",
        "joblib",
        "allow_pickle=True",
        "yaml.load",
    )
    found = [
        f"{path.name}: {word}"
        for path in (ROOT / "src").rglob("*.py")
        for word in words
        if word in ast.unparse(_Silent().visit(ast.parse(path.read_text())))
    ]
    assert not found


class _Silent(ast.NodeTransformer):
    """Code without its texts."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node


def test_the_look_for_unpickling_sees_code_and_no_texts():
    code = "import pickle\nx = torch.load(p)\ny = 'torch.load(q)'"
    seen = ast.unparse(_Silent().visit(ast.parse(code)))
    assert "import pickle" in seen
    assert seen.count("torch.load(") == 1
