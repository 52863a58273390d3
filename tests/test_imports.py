"""The import law: rooms stand on floors, imports point down, and importing changes nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import likewise

FLOORS = [
    {"core"},
    {"nn", "store"},
    {"families", "domains"},
    {"train", "measures"},
    {"evaluation"},
    {"auditing"},
    {"tasks"},
    {"reporting"},
    {"workbench"},
    {"serve"},
    {"cli"},
]
ALONE = {"families", "domains"}  # here no member may import its sibling either
BUT = {("reporting", room) for room in ("nn", "families", "domains", "train", "measures")} | {
    ("reporting", "evaluation"), ("reporting", "auditing"), ("families", "store"),
    ("domains", "nn"), ("measures", "train"), ("train", "measures"), ("store", "nn"),
    ("nn", "store"),
    *((room, other) for room in ("train", "measures", "evaluation", "auditing")
      for other in ("families", "domains")),
    ("measures", "train"), ("evaluation", "train"), ("auditing", "train"),
    *(("tasks", room) for room in ("families", "domains", "train", "measures", "evaluation",
                                   "auditing")),
    ("reporting", "tasks"),
}  # fmt: skip


def floor(room):
    return next((i for i, rooms in enumerate(FLOORS) if room in rooms), None)


def wrong_imports(source):
    """Every import of the package that points up, sideways or where the room may not look."""
    for file in sorted(source.rglob("*.py")):
        here = file.relative_to(source).with_suffix("").parts
        if floor(here[0]) is None:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for there in names(node, source.name):
                if floor(there[0]) is not None and not allowed(here, there):
                    yield f"{file}:{node.lineno} imports {'.'.join(there)}"


def names(node, package):
    found = []
    if isinstance(node, ast.Import):
        found = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        found = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name.split(".")[1:] for name in found if name.startswith(package + ".")]


def allowed(here, there):
    if here[0] == there[0]:
        return here[0] not in ALONE or here[1:2] == tuple(there[1:2])
    return floor(there[0]) < floor(here[0]) and (here[0], there[0]) not in BUT


def test_imports_point_down():
    assert not list(wrong_imports(Path(likewise.__file__).parent))


def test_every_room_has_a_floor():
    root = Path(likewise.__file__).parent
    rooms = {path.name for path in root.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set().union(*FLOORS)


def test_the_import_law_can_fail(tmp_path):
    for name, text in {
        "core/low.py": "def f():\n    from likewise import train",  # upward and lazy
        "families/a.py": "import likewise.families.b",  # a sibling
        "reporting/r.py": "from likewise.train.loop import f",  # a room it may not look into
        "train/loop.py": "from likewise.core.low import f",  # downward: right
    }.items():
        file = tmp_path / "likewise" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert len(list(wrong_imports(tmp_path / "likewise"))) == 3


LIGHT = """
import sys
{what}
heavy = [name for name in ("torch", "numpy", "scipy", "sklearn", "PIL", "jinja2")
         if name in sys.modules]
assert not heavy, heavy
"""


def run(what):
    subprocess.run([sys.executable, "-c", LIGHT.format(what=what)], check=True, timeout=60)


def test_importing_the_package_imports_nothing_heavy():
    run("import likewise; assert likewise.__version__")


def test_help_imports_nothing_heavy():
    run(
        "from likewise.cli.main import app\n"
        "try:\n    app(['--help'], standalone_mode=False)\nexcept SystemExit:\n    pass"
    )


def test_listing_families_imports_nothing_heavy():
    run("from likewise.core import registry\nassert 'flow' in registry.names('families')")


def test_importing_torch_rooms_changes_no_flag_of_torch():
    script = (
        "import torch\n"
        "before = (torch.get_num_threads(), torch.get_default_dtype(),\n"
        "          torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled())\n"
        "import likewise.workbench.verbs\n"
        "after = (torch.get_num_threads(), torch.get_default_dtype(),\n"
        "         torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled())\n"
        "assert before == after"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
