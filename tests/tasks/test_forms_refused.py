"""Forms that cannot be: refused before they wait, with the reason."""

import sys

import pytest

from likewise.core.errors import LikewiseError, UsageError
from likewise.tasks.engine import Engine
from likewise.tasks.forms import LONGEST, Form, course
from likewise.tasks.rows import Request
from likewise.tasks.texts import complete
from tests.serve.standin import SIZE, standin
from tests.tasks.formed import DATE, MODEL, few_characters, made

CANNOT_READ = "must be one that the llguidance library can read; got "


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("regex", "(a", f"a regular expression {CANNOT_READ}'(a'. It says: unclosed group."),
        ("regex", r"(a)\1", "It says: backreferences are not supported."),
        (
            "regex",
            "a(?=b)",
            "look-around, including look-ahead and look-behind, is not supported.",
        ),
        ("json", "{", "a JSON schema must be JSON; got '{'. It cannot be read (Expecting"),
        pytest.param("json", "[" * 9000, "It cannot be read (", id="deep"),
        ("json", "[]", "a JSON schema must be an object of JSON; got '[]'. The least is"),
        ("json", '{"type": "foo"}', f"a JSON schema {CANNOT_READ}"),
        ("json", '{"type": "foo"}', "Invalid type: foo."),
        ("json", '{"not": {"type": "string"}}', 'Unimplemented keys: ["not"].'),
        ("json", '{"minimum": NaN}', CANNOT_READ),
        ("json", '{"x-guidance": 3}', CANNOT_READ),
        ("grammar", "", f"a grammar {CANNOT_READ}''. It says: no start rule found."),
        ("grammar", 'start: y\ny: "a" x', 'It says: line 2, column 4: unknown name: "x".'),
        ("grammar", '{"grammars": []}', CANNOT_READ),
        ("grammar", "start: start", "a grammar must be one that can be written with the tokens"),
        ("grammar", "start: <[256]>", "written with the tokens of this model; got 'start: <[256]"),
        ("regex", r"[a&&b]", "Take a model that was trained on such texts, or one that reads byt"),
    ],
)
def test_a_form_that_cannot_be_is_refused_before_it_waits(kind, text, said):
    engine = Engine(MODEL)
    for _ in range(2):  # what was refused once is refused again
        with pytest.raises(UsageError) as error:
            engine.submit(Request(tokens=[97], form=Form(kind, text)))
    assert said in str(error.value)
    assert len(str(error.value)) < 500
    assert not engine.busy


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("regex", "x+"),
        ("regex", "(abc|def|é)x"),
        ("json", '{"type": "object"}'),
        ("grammar", 'start: "x" | "y"'),
    ],
)
def test_a_form_that_a_model_has_no_characters_for_is_refused(kind, text):
    domain, form = few_characters(), Form(kind, text)
    with pytest.raises(UsageError, match="must be one that can be written with the tokens of thi"):
        course(domain, form, len(domain.spelled()))
    assert not course(MODEL.domain, form, SIZE).over


def test_a_form_of_another_kind_or_too_long_is_refused():
    with pytest.raises(UsageError, match="the kind of a form must be one of regex, json, grammar"):
        Form("yaml", "a")
    with pytest.raises(
        UsageError, match="a grammar must be of at most 16384 characters; got 16385"
    ):
        Form("grammar", "a" * (LONGEST + 1))
    with pytest.raises(UsageError, match=r"a regular expression must be text that UTF-8 can hold"):
        Form("regex", "a\ud800")


@pytest.mark.parametrize("first", ["r", "T"])
def test_the_longest_chain_of_rules_is_no_harm(first):
    chain = ["start: r0" if first == "r" else "start: T0"]
    while len("\n".join(chain)) < LONGEST - 40:
        chain.append(f"{first}{len(chain) - 1}:{first}{len(chain)}")
    chain.append(f'{first}{len(chain) - 1}:"a"')
    (found,) = complete(MODEL, ["ab"], form=Form("grammar", "\n".join(chain)))
    assert found.text == "a"


def test_the_missing_library_names_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(LikewiseError, match=r"pip install 'likewise\[text\]'") as error:
        made(standin(), DATE, n=1)
    assert not isinstance(error.value, UsageError)
