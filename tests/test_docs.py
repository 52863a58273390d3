"""What the pages say is so: their code runs, their commands exist, their tables agree."""

import ast
import importlib.util
import inspect
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
import typer

import likewise as lw
from likewise.cli.main import app
from likewise.core import contract, registry
from likewise.core.condition import Labels, Tokens
from likewise.core.config import to_json
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.domains.images.options import Options
from likewise.tasks.texts import Wishes
from likewise.train.plan import FamilyPlan
from likewise.workbench.data import Prepared
from likewise.workbench.fitting import fit, preset, stage_plan
from tests.test_imports import FLOORS, floor, names

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELLS = {"sh", "bash", "console", "shell"}
COMMANDS = typer.main.get_command(app).commands


def blocks(page, language):
    """(info string, text) of the code blocks of one language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(info, text) for info, text in found if info.split()[:1] == [language]]


def title(page):
    return page.relative_to(ROOT).as_posix()


def python(marked):
    """Every python block of every page that is, or is not, marked to be run."""
    return [
        pytest.param(text, id=f"{title(page)}-{number}")
        for page in PAGES
        for number, (info, text) in enumerate(blocks(page, "python"))
        if (info.split()[1:] == ["run"]) is marked
    ]


def commands(page):
    """Every `likewise ...` that a page shows, in shell blocks and in backticks."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line.split("#")[0].removeprefix("$ ")
        for info, block in BLOCK.findall(text)
        if info.split()[:1] and info.split()[0] in SHELLS
        for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    parts = [part for line in lines for part in re.split(r"&&|\|\||[;|]", line)]
    found = [shlex.split(part.replace("'", '"')) for part in parts if "likewise " in part]
    return [words for words in found if Path(words[0]).name == "likewise" and len(words) > 1]


def wrong_command(words):
    """What is wrong with a command, or ""."""
    if words[1].startswith("-"):
        return "" if words[1] in ("-h", "--help", "--version") else f"no option {words[1]}"
    if words[1] == "VERB":
        return ""
    if words[1] not in COMMANDS:
        return f"no verb {words[1]}"
    known = {o for p in COMMANDS[words[1]].params for o in (*p.opts, *p.secondary_opts)}
    bare = [word.strip("[]…") for word in words[2:]]
    options = [word.split("=")[0] for word in bare if re.match(r"--?[a-z]", word)]
    strange = [option for option in options if option not in known | {"-h", "--help"}]
    return f"{words[1]} has no {strange}" if strange else ""


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_commands_that_pages_show_exist(page):
    wrong = [(words, why) for words in commands(page) if (why := wrong_command(words))]
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_options_that_pages_name_alone_exist(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    of_pip = {"--extra-index-url", "--index-url", "-c"}
    known = {o for c in COMMANDS.values() for p in c.params for o in p.opts} | of_pip
    assert set(re.findall(r"`(--?[a-z][a-z-]*)", text)) <= known | {"--help"}


def test_a_wrong_command_would_be_found():
    assert wrong_command(["likewise", "run", "digits", "--tiem", "3m"]) == "run has no ['--tiem']"
    assert wrong_command(["likewise", "rnu", "digits"]) == "no verb rnu"
    assert wrong_command(["likewise", "sample", "R", "-n", "9", "--where", "label=3"]) == ""


def test_every_verb_is_in_the_guide():
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    assert not [verb for verb in COMMANDS if f"`likewise {verb} " not in guide]


@pytest.mark.parametrize("text", python(marked=True))
def test_python_that_is_marked_runs(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "block", "exec"), {"__name__": "block"})


@pytest.mark.parametrize("text", python(marked=False))
def test_python_that_is_not_run_is_python_and_calls_what_exists(text):
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "lw":
            assert node.func.attr in lw.__all__
            known = {*inspect.signature(getattr(lw, node.func.attr)).parameters, "domain"}
            known |= {*vars(Options()), *Wishes.__annotations__}
            assert {word.arg for word in node.keywords} <= known


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_files_that_pages_name_exist(page):
    text = page.read_text(encoding="utf-8")
    links = [to for to in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in to]
    assert not [to for to in links if not (page.parent / to).exists()]
    paths = re.findall(r"(?<![\w/.])((?:src|tests|docs|benchmarks)/[\w./-]*\w)", text)
    mine = {"src/likewise/families/logistic.py", "tests/families/test_logistic.py"}
    missing = {path for path in paths if "NAME" not in path} - mine
    assert not [path for path in missing if not (ROOT / path).exists()]
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def imported(room):
    """The rooms that one room imports."""
    source = Path(lw.__file__).parent
    return {
        there[0]
        for file in (source / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for there in names(node, "likewise")
        if floor(there[0]) is not None and there[0] != room
    }


def test_the_table_of_rooms_is_true():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| [^|]+ \|([^|]*)\|$", text, re.MULTILINE)
    assert {room for _, room, _ in rows} == set().union(*FLOORS)
    for number, room, there in rows:
        assert floor(room) == int(number) - 1, room
        assert set(re.findall(r"\w+", there)) == imported(room), f"mend the row of {room}"


def families():
    """{family: (likelihood, conditions)} of the guide's table; it may leave new ones out."""
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    row = r"^\| `(\w+)` \| [^|]+ \| (none|bound|exact) \| (.+) \|$"
    return {name: rest for name, *rest in re.findall(row, text, re.MULTILINE)}


def test_the_contracts_have_the_signatures_that_are_shown():
    (page,) = (page for page in PAGES if page.name == "architecture.md")
    shown = [
        (kind.name, method)
        for _, text in blocks(page, "python")
        for kind in ast.parse(text).body
        if isinstance(kind, ast.ClassDef)
        for method in kind.body
        if isinstance(method, ast.FunctionDef)
    ]
    assert {name for name, _ in shown} == {"Source", "Trainable", "Family", "Domain"}
    for name, method in shown:
        real = vars(getattr(contract, name))[method.name]
        real = inspect.signature(getattr(real, "__func__", real))
        words = method.args
        every = [*words.args, *words.kwonlyargs, *([words.kwarg] if words.kwarg else [])]
        assert [word.arg for word in every] == list(real.parameters), (name, method.name)


def test_the_table_of_families_is_true():
    assert {"gmm", "independent", "copier"} <= set(families())
    kinds = {(): "none", (Labels,): "labels", (Tokens,): "texts"}
    for name, (density, conditions) in families().items():
        claims = registry.get("families", name).claims
        assert set(claims.density.values()) == {None if density == "none" else density}, name
        assert kinds.get(claims.conditions, "all kinds") == conditions, name


def test_the_table_of_controls_is_true():
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `--([\w-]+)[^`]*` \| ([a-z, ]+) \| ", text, re.MULTILINE)
    named = [(option.replace("-", "_"), said) for option, said in rows]
    assert {control for control, _ in named} == set(vars(contract.Controls()))
    for control, said in named:
        able = {f for f in families() if control in registry.get("families", f).claims.controls}
        assert set(said.split(", ")) == able, control


# -- the family that CONTRIBUTING teaches -----------------------------------------------------


@pytest.fixture
def logistic(tmp_path, monkeypatch):
    """The page's family, as a module of a package of the user's own."""
    (text,) = [
        text
        for info, text in blocks(ROOT / "CONTRIBUTING.md", "python")
        if info == "python family=logistic"
    ]
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    file = tmp_path / "my_package" / "logistic.py"
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("my_package.logistic", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "my_package.logistic", module)
    spec.loader.exec_module(module)
    return module.Logistic


def test_the_taught_family_trains_through_the_registry(logistic):
    registry.add("families", "taught", logistic)
    try:
        prepared = Prepared.of(lw.load(registry.get("domains", "images").toy()))
        config = preset(logistic, "xs", prepared.space, prepared.domain.conditions())
        plan = stage_plan(config, "xs", steps=30, seconds=None, changes={"width": "16"})
        assert isinstance(plan, FamilyPlan)
        model, (outcome,) = fit(prepared, "taught", (plan,), seed=0)
        assert outcome.steps == 30
        first, last = outcome.rows[0]["loss"]["model"], outcome.rows[-1]["loss"]["model"]
        assert last < first
        assert to_json(model.family.config)["width"] == 16
        assert len(model.sample(5, where={"label": "disc"})) == 5
        x, c = prepared.tensors("test", 8)
        assert bool((model.log_mass(x, c) < 0).all())
    finally:
        registry.remove("families", "taught")


def test_the_taught_density_is_the_mass_of_cells(logistic):
    space = Continuous(shape=(1,), low=-1.0, high=1.0, step=0.25)
    model = logistic(logistic.preset("xs", space, ()), space)
    cells = torch.linspace(-1, 1, space.levels)[:, None]
    mass = model.log_prob(cells).detach().exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
    drawn = model.sample(20_000, rng=Draws(0))
    shares = (drawn == cells.T).double().mean(dim=0)  # (n, levels) -> (levels,)
    torch.testing.assert_close(shares, mass.double(), atol=0.015, rtol=0)
    bounded = Continuous(shape=(1,), low=0.0)
    assert logistic.refuses(bounded) == "it knows no range without a step"


def test_the_taught_entry_point_is_found(logistic, tmp_path, monkeypatch):
    (toml,) = [text for _, text in blocks(ROOT / "CONTRIBUTING.md", "toml")]
    group, name, value = re.search(
        r'entry-points\."([\w.]+)"\]\n(\w+) = "([\w.:]+)"', toml
    ).groups()
    info = tmp_path / "my_package-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_package.logistic")
    assert "logistic" in registry.names("families")
    try:
        assert registry.get("families", "logistic").__name__ == "Logistic"
    finally:
        sys.modules.pop("my_package", None)
