"""Answers of a form, with OpenAI's own client: `response_format`."""

import json
import re

import pytest

from likewise.tasks.forms import LONGEST, Form
from likewise.tasks.texts import complete
from tests.serve.running import client, running, sent
from tests.serve.standin import standin

MODEL = standin(length=200)
REGEX = {"type": "regex", "pattern": r"[a-z]{2,6}-[0-9]{2}"}
GRAMMAR = {"type": "grammar", "grammar": 'start: "<" WORD ">"\nWORD: /[a-zé]{1,5}/'}
SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 9},
        "b": {"enum": ["x", "y"]},
    },
    "required": ["a", "b"],
    "additionalProperties": False,
}
JSON = {"type": "json_schema", "json_schema": {"name": "ab", "schema": SCHEMA, "strict": True}}
BODY = {"model": "standin", "prompt": "ab", "max_tokens": 60, "seed": 7}
TURNS = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def server():
    with running(MODEL, slots=8, queue=32) as (_, port):
        yield port


@pytest.fixture(scope="module")
def ask(server):
    with client(server) as one:
        yield one


def talk(ask, **more):
    return ask.chat.completions.create(
        model="standin", messages=TURNS, seed=7, **{"max_completion_tokens": 60, **more}
    )


def fits(form, text):
    """Whether a text has a form."""
    if form is JSON:
        value = json.loads(text)
        return set(value) == {"a", "b"} and value["a"] in range(10) and value["b"] in ("x", "y")
    pattern = form.get("pattern", "<[a-zé]{1,5}>")
    return re.fullmatch(pattern, text) is not None


@pytest.mark.parametrize("form", [REGEX, GRAMMAR, JSON], ids=lambda form: form["type"])
def test_an_answer_has_the_form_that_was_asked_for(ask, form):
    found = talk(ask, response_format=form, n=4)
    assert all(fits(form, one.message.content) for one in found.choices)
    assert {one.finish_reason for one in found.choices} == {"stop"}
    found = ask.completions.create(**BODY, n=4, extra_body={"response_format": form})
    assert all(fits(form, one.text) for one in found.choices)


def test_a_streamed_answer_is_the_whole_one(ask):
    whole = talk(ask, response_format=JSON)
    stream = talk(ask, response_format=JSON, stream=True)
    pieces = [one.choices[0].delta.content or "" for one in stream]
    assert "".join(pieces) == whole.choices[0].message.content


def test_a_completion_is_the_library_s_own(ask):
    found = ask.completions.create(**BODY, extra_body={"response_format": REGEX})
    form = Form("regex", REGEX["pattern"])
    assert found.choices[0].text == complete(MODEL, ["ab"], most=60, seed=7, form=form)[0].text


def test_an_object_of_json_begins_as_one_or_is_whole(ask):
    found = talk(ask, response_format={"type": "json_object"}, n=8, max_completion_tokens=90)
    for one in found.choices:
        assert one.message.content.startswith("{")
        if one.finish_reason == "stop":
            assert isinstance(json.loads(one.message.content), dict)


def test_plain_text_is_any_text(ask):
    plain = talk(ask).choices[0].message.content
    assert talk(ask, response_format={"type": "text"}).choices[0].message.content == plain


def test_answers_with_and_without_a_form_are_served_together(ask):
    bound = ask.completions.create(**BODY, n=3, extra_body={"response_format": REGEX})
    free = ask.completions.create(**BODY, n=3)
    assert all(fits(REGEX, one.text) for one in bound.choices)
    assert [one.text for one in free.choices] == [
        one.text for one in complete(MODEL, ["ab"] * 3, most=60, seed=7)
    ]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("json", "response_format must be an object whose type is one of text, json_object"),
        ({}, "json_schema, regex, grammar; got {}."),
        ({"type": 3}, "response_format must be an object whose type is one of"),
        ({"type": "yaml"}, "got {'type': 'yaml'}."),
        ({"type": "regex"}, "pattern must be a text; got None."),
        ({"type": "regex", "pattern": 3}, "pattern must be a text; got 3."),
        ({"type": "regex", "grammar": "a"}, "field 'grammar' is unknown"),
        ({"type": "regex", "pattern": "(a"}, "It says: unclosed group."),
        ({"type": "regex", "pattern": "a" * (LONGEST + 1)}, "of at most 16384 characters"),
        ({"type": "regex", "pattern": "[a&&b]"}, "written with the tokens of this model"),
        ({"type": "grammar", "grammar": "start: x"}, 'line 1, column 8: unknown name: "x".'),
        ({"type": "json_schema"}, "schema must be an object, inside of json_schema; got None."),
        ({"type": "json_schema", "json_schema": []}, "json_schema must be an object; got []."),
        ({"type": "json_schema", "json_schema": {"schema": 1}}, "schema must be an object, insi"),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "foo"}}},
            "Invalid type: foo.",
        ),
        ({"type": "json_object", "schema": {}}, "field 'schema' is unknown"),
    ],
)
def test_what_is_no_form_is_refused_with_a_typed_error(server, form, said):
    for path, body in (
        ("/v1/completions", BODY),
        ("/v1/chat/completions", {"model": "standin", "messages": TURNS}),
    ):
        status, _, answer = sent(server, path, {**body, "response_format": form})
        assert status == 400
        assert said in answer["error"]["message"]
        assert answer["error"]["type"] == "invalid_request_error"
        assert answer["error"]["param"] is not None
    assert sent(server, "/health")[0] == 200


def test_a_schema_nested_too_deeply_is_refused_and_the_server_lives(server):
    deep = '{"items":' * 400 + "{}" + "}" * 400
    form = '{"type": "json_schema", "json_schema": {"schema": ' + deep + "}}"
    body = '{"model": "standin", "prompt": "ab", "response_format": ' + form + "}"
    status, _, answer = sent(server, "/v1/completions", body.encode())
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert sent(server, "/health")[0] == 200
