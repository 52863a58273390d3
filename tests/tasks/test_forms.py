"""Texts of a form: they match it, in one piece and in many."""

import json
import re

import pytest

from likewise.cli.texts import complete_job, form_of
from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.tasks.engine import Engine
from likewise.tasks.forms import Form
from likewise.tasks.rows import Request
from likewise.tasks.texts import complete, stream
from tests.tasks.formed import DATE, KINDS, MODEL, NESTED, made, model_of

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


@pytest.fixture(scope="module")
def models():
    return {kind: model_of(kind) for kind in KINDS}


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


# -- the command line ---------------------------------------------------------------------------


def options(**given):
    return {"--regex": None, "--json-schema": None, "--grammar": None} | {
        f"--{name.replace('_', '-')}": value for name, value in given.items()
    }


def test_the_options_of_the_command_line_are_forms(tmp_path, monkeypatch, capsys):
    """The stand-in knows dialogues, so what it writes is an answer, on a line of its own."""
    schema = tmp_path / "schema.json"
    schema.write_text('{"enum": ["é"]}', encoding="utf-8")
    grammar = tmp_path / "grammar.lark"
    grammar.write_text('start: "é" "x"~2\n', encoding="utf-8")
    monkeypatch.setattr("likewise.workbench.verbs.open", lambda path, family, device: MODEL)
    asked = {"most": 9, "controls": Controls(), "stop": [], "seed": 0}
    for forms_, wanted in (
        (options(regex="[x]{3}"), "ab\nxxx\n"),
        (options(json_schema=schema), 'ab\n"é"\n'),
        (options(grammar=grammar), "ab\néxx\n"),
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
