"""Texts of a form: they match, and nothing that could match is forbidden."""

import itertools
import json
import re
import sys

import numpy as np
import pytest
import torch

from likewise.cli.texts import complete_job, form_of
from likewise.core.contract import Controls
from likewise.core.errors import LikewiseError, UsageError
from likewise.domains.text import Text
from likewise.families.transformer import Config, Transformer
from likewise.store.model import Model
from likewise.tasks import forms
from likewise.tasks.engine import Engine
from likewise.tasks.forms import LONGEST, Form, course
from likewise.tasks.rows import Request
from likewise.tasks.texts import complete, stream
from tests.serve.standin import END, ROLES, SIZE, standin

LETTERS = 'abcdefghijklmnopqrstuvwxyz{}[]":,.- 0123456789éß\n'
TEXTS = [
    f'{{"name": "cat {i}", "age": {i * 7 % 90}}}\nthe cat sees the café, {LETTERS}'
    for i in range(60)
]
KINDS = ["characters", "bytes", "bpe", "unigram"]
DATE = Form("regex", r"[0-9]{1,2} (may|june) [0-9]{4}(, [a-zé]{2,5})?")
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["cat", "dog"]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}
NESTED = Form("grammar", 'start: part\npart: "(" part ")" | WORD\nWORD: /[a-z]{1,3}/')
MODEL = standin(length=160)


def model_of(kind):
    """A model with random weights, of texts read with a tokeniser."""
    domain = Text()
    domain.fit(Text.load(TEXTS, tokenizer=kind, vocabulary=300, context=256, unit="file"))
    space = domain.views()[-1]
    small = {"width": 32, "depth": 2, "heads": 2, "groups": 1, "hidden": 48, "runs": 0}
    torch.manual_seed(0)
    family = Transformer(Config(**small), space, domain.conditions())
    for parameter in family.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Model("transformer", family.eval(), domain, {}, {})


def few_characters():
    """A domain of texts without brackets, and without some letters."""
    domain = Text()
    domain.fit(Text.load([f"abcdefé {i}" for i in range(99)], tokenizer="characters"))
    return domain


@pytest.fixture(scope="module")
def models():
    return {kind: model_of(kind) for kind in KINDS}


def made(model, form, n=12, **more):
    return complete(model, ["the "] * n, form=form, seed=3, **more)


# -- whole texts --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_texts_match_their_regular_expression(models, kind):
    found = made(models[kind], DATE)
    assert [one.text for one in found if not re.fullmatch(DATE.text, one.text)] == []
    assert {one.finish for one in found} == {"stop"}
    assert len({one.text for one in found}) == len(found)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_the_json_that_a_schema_describes(models, kind):
    found = made(models[kind], Form("json", json.dumps(SCHEMA)))
    for one in found:
        value = json.loads(one.text)
        assert one.finish == "stop"
        assert {"name", "age", "kind"} <= set(value) <= set(SCHEMA["properties"])
        assert isinstance(value["name"], str)
        assert len(value["name"]) <= 6
        assert type(value["age"]) is int
        assert 0 <= value["age"] <= 120
        assert value["kind"] in ("cat", "dog")
        assert len(value.get("tags", [])) <= 2
        assert all(isinstance(tag, bool) for tag in value.get("tags", []))


@pytest.mark.parametrize("kind", KINDS)
def test_texts_match_their_grammar(models, kind):
    for one in made(models[kind], NESTED):
        depth = one.text.count("(")
        if one.finish == "length":  # brackets opened up to the end of the context
            assert one.text.startswith("(" * 20)
        else:
            assert re.fullmatch(rf"\({{{depth}}}[a-z]{{1,3}}\){{{depth}}}", one.text)


def test_pieces_of_a_stream_are_the_text():
    (whole,) = complete(MODEL, ["ab"], form=DATE, seed=5)
    assert "".join(stream(MODEL, "ab", form=DATE, seed=5)) == whole.text


@pytest.mark.parametrize("controls", [{"temperature": 0.0}, {"top_k": 2}, {"repetition": 3.0}])
def test_controls_choose_among_what_may_come(controls):
    for one in made(MODEL, DATE, controls=Controls(**controls)):
        assert re.fullmatch(DATE.text, one.text)


def test_requests_with_and_without_a_form_share_a_batch():
    asked = [
        Request(tokens=list(b"ab"), most=30, sample=i, form=(None, DATE, NESTED)[i % 3])
        for i in range(9)
    ]

    def texts(requests, slots):
        engine, heard = Engine(MODEL, slots=slots), dict.fromkeys(requests, "")
        for request in requests:
            engine.submit(request)
        while engine.busy:
            for event in engine.advance():
                heard[event.request] += event.text
        return list(heard.values())

    assert texts(asked, 4) == [texts([request], 1)[0] for request in asked]


# -- what may come next -------------------------------------------------------------------------

ONE = "ab|a[bc]d|é[xy]{0,2}z?|café|bxa"
SMALL = Form("regex", f"({ONE}){{1,2}}")


def language(letters):
    """The UTF-8 of every text of some letters that matches `SMALL`, found by trying all."""
    known = sorted(set("abcdefxyzé") & set(letters))
    every = ("".join(one) for n in range(5) for one in itertools.product(known, repeat=n))
    once = [text.encode() for text in every if re.fullmatch(ONE, text)]
    return {*once, *(one + other for one in once for other in once)}


def check_walk(domain, texts, draw):
    """Go on at random to the end; what may come must be what brute force finds at each place."""
    pieces = domain.spelled()
    found = course(domain, SMALL, len(pieces))
    begun = {text[:size] for text in texts for size in range(len(text) + 1)}
    read = b""
    while True:
        wanted = [bool(piece) and read + piece in begun for piece in pieces]
        assert found.matches == (read in texts)
        assert found.over == (not any(wanted))
        wanted[domain.end] = read in texts
        assert found.allowed.tolist() == wanted
        if found.over:
            return read
        token = draw.choice([i for i, piece in enumerate(pieces) if piece and wanted[i]])
        found.take(int(token))
        read += pieces[token]


@pytest.mark.parametrize("kind", [*KINDS, "few characters"])
def test_a_token_may_come_where_a_text_that_matches_goes_on_with_it(models, kind):
    few = kind == "few characters"  # without x, y and z: no text may lead to where one is needed
    domain = few_characters() if few else models[kind].domain
    texts, draw = language("abcdefé" if few else "abcdefxyzé"), np.random.default_rng(0)
    assert len({check_walk(domain, texts, draw) for _ in range(60)}) > 10


def test_more_tokens_than_those_of_the_tokeniser_never_come():
    found = course(MODEL.domain, DATE, SIZE + 40)
    assert found.allowed.nonzero()[:, 0].tolist() == list(b"0123456789")


class Muted:
    """A reader for which some tokens cannot be."""

    def __init__(self, reader, tokens):
        self.reader, self.tokens, self.keep = reader, tokens, reader.keep

    def quiet(self, logits):
        return logits.index_fill(1, torch.tensor(self.tokens), -torch.inf)

    def begin(self, rows, lengths):
        return self.quiet(self.reader.begin(rows, lengths))

    def step(self, tokens):
        return self.quiet(self.reader.step(tokens))


def test_a_form_that_allows_everything_changes_nothing(monkeypatch):
    model = model_of("characters")
    silent = [i for i, piece in enumerate(model.domain.spelled()) if not piece]
    silent.remove(model.domain.end)
    plain = model.family.reader
    monkeypatch.setattr(model.family, "reader", lambda c, n: Muted(plain(c, n), silent))
    free, bound = made(model, None, most=60), made(model, Form("regex", r"(?s:.*)"), most=60)
    assert free == bound
    assert {one.finish for one in free} == {"stop", "length"}


def test_tokens_are_drawn_by_the_family_s_own_masses():
    n, letters = 1500, "aeé"
    asked = Form("regex", "[aeé]")
    found = complete(MODEL, ["ab"] * n, form=asked, most=2, slots=500)
    first = MODEL.family.logits(torch.tensor([list(b"ab")]))[0, -1].double()
    share = first[[97, 101, 0xC3]].softmax(0).tolist()
    for letter, wanted in zip(letters, share, strict=True):
        count = sum(one.text == letter for one in found)
        assert abs(count - n * wanted) < 5 * (n * wanted * (1 - wanted)) ** 0.5 + 1


def test_log_probabilities_are_those_of_the_family_itself():
    (found,) = complete(MODEL, ["ab"], form=DATE, logprobs=2)
    row = torch.tensor([[*b"ab", *found.tokens]])
    nats = MODEL.family.logits(row)[0].log_softmax(-1)[1:-1]
    wanted = nats[range(len(found.tokens)), list(found.tokens)].tolist()
    assert found.log_probs == pytest.approx(wanted, abs=1e-4)
    assert [top[0][0] for top in found.top] == nats.argmax(-1).tolist()


def test_a_token_that_closes_an_answer_comes_where_the_form_is_complete():
    user = ROLES["user"]
    found = course(MODEL.domain, Form("regex", "ab?"), SIZE, over={user})
    assert not found.allowed[[END, user]].any()
    found.take(97)
    assert found.allowed.nonzero()[:, 0].tolist() == [98, user, END]
    found.take(98)
    assert (found.over, found.matches) == (True, True)


def test_what_the_family_holds_for_impossible_is_written_where_nothing_else_may_come():
    """The stand-in never ends a text by itself."""
    (found,) = complete(MODEL, ["ab"], form=Form("regex", ""))
    assert (found.text, found.tokens, found.finish) == ("", (END,), "stop")


def test_a_text_that_cannot_go_on_is_not_said_to_be_whole(models):
    (found,) = made(models["characters"], Form("grammar", 'start: "a" "ñ"'), n=1)
    assert (found.text, found.finish) == ("a", "length")


def test_a_text_that_is_cut_off_is_not_said_to_be_whole():
    (found,) = complete(MODEL, ["ab"], form=DATE, most=4)
    assert (len(found.tokens), found.finish) == (4, "length")


def test_json_without_end_cannot_be_spaces_alone():
    found = course(MODEL.domain, Form("json", '{"type": "object"}'), SIZE)
    for token in b"{ ":
        found.take(token)
    assert found.allowed.nonzero()[:, 0].tolist() == list(b'"}')
    own = course(
        MODEL.domain, Form("json", '{"x-guidance": {"whitespace_flexible": false}}'), SIZE
    )
    own.take(ord("["))
    assert not own.allowed[ord(" ")]


# -- what is read once --------------------------------------------------------------------------


def test_the_tokens_of_a_model_are_read_once(monkeypatch):
    model, calls = standin(), []
    spelled = model.domain.spelled
    monkeypatch.setattr(model.domain, "spelled", lambda: calls.append(1) or spelled())
    for form in (DATE, NESTED, DATE):
        made(model, form, n=2, most=3)
    assert calls == [1]


def test_texts_of_one_form_do_not_disturb_each_other():
    first, second = (course(MODEL.domain, DATE, SIZE) for _ in range(2))
    first.take(ord("1"))
    assert first.allowed[ord(" ")]
    assert not second.allowed[ord(" ")]


def test_many_forms_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(forms, "KEPT", 3)
    model = standin()
    for n in range(1, 9):
        assert course(model.domain, Form("regex", f"a{{{n}}}"), SIZE).allowed[97]
    assert len(forms._KNOWN[model.domain]._read) <= 3


# -- refusals -----------------------------------------------------------------------------------

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


# -- the command line ---------------------------------------------------------------------------


def options(**given):
    return {"--regex": None, "--json-schema": None, "--grammar": None} | {
        f"--{name.replace('_', '-')}": value for name, value in given.items()
    }


def test_the_options_of_the_command_line_are_forms(tmp_path, monkeypatch, capsys):
    schema = tmp_path / "schema.json"
    schema.write_text('{"enum": ["é"]}', encoding="utf-8")
    grammar = tmp_path / "grammar.lark"
    grammar.write_text('start: "é" "x"~2\n', encoding="utf-8")
    monkeypatch.setattr("likewise.workbench.verbs.open", lambda path, family, device: MODEL)
    asked = {"most": 9, "controls": {}, "stop": [], "seed": 0}
    for forms_, wanted in (
        (options(regex="[x]{3}"), "abxxx\n"),
        (options(json_schema=schema), 'ab"é"\n'),
        (options(grammar=grammar), "abéxx\n"),
    ):
        complete_job(tmp_path, "ab", None, device="cpu", **asked, forms=forms_)
        assert capsys.readouterr().out == wanted
    assert form_of(options()) is None


def test_options_that_contradict_or_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(
        UsageError, match=r"given by one of --regex, .* got '--regex and --grammar'"
    ):
        form_of(options(regex="a", grammar=tmp_path / "g"))
    with pytest.raises(UsageError, match="--grammar must be a file of text that can be read; got"):
        form_of(options(grammar=tmp_path / "g"))
    (tmp_path / "b").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="--json-schema must be a file of text that can be read"):
        form_of(options(json_schema=tmp_path / "b"))
