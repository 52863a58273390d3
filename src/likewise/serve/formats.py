"""The form that an answer is asked to have: `response_format`, as OpenAI has it, and two more.

| type | with | the answer |
|---|---|---|
| `text` | | is any text |
| `json_object` | | is an object of JSON |
| `json_schema` | `json_schema`: {`name`, `schema`} | is JSON that the schema describes |
| `regex` | `pattern` | matches a regular expression |
| `grammar` | `grammar` | matches a grammar of Lark |
"""

import json

from likewise.core.errors import UsageError
from likewise.serve.errors import ApiError
from likewise.serve.fields import Fields
from likewise.tasks.forms import Form

NAME = "response_format"
KINDS: dict[str, tuple[str, ...]] = {
    "text": (),
    "json_object": (),
    "json_schema": ("json_schema",),
    "regex": ("pattern",),
    "grammar": ("grammar",),
}


def form_of(fields: Fields) -> Form | None:
    """The form that a body asks for, None for any text; ApiError if there is no such.

    Example:
        >>> body = {"response_format": {"type": "regex", "pattern": "[0-9]+"}}
        >>> form_of(Fields(body, {"response_format"}))
        Form(kind='regex', text='[0-9]+')
    """
    if NAME not in fields:
        return None
    value = fields.body[NAME]
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        be = f"an object whose type is one of {', '.join(KINDS)}"
        raise fields.must(NAME, be, value)
    inner = fields.table(NAME, {"type", *KINDS[kind]})
    try:
        if kind == "json_object":
            return Form("json", '{"type": "object"}')
        if kind == "json_schema":
            return Form("json", _schema(inner))
        if kind == "regex":
            return Form("regex", inner.text("pattern"))
        return Form("grammar", inner.text("grammar")) if kind == "grammar" else None
    except UsageError as error:
        raise ApiError(400, str(error), param=NAME) from error


def _schema(inner: Fields) -> str:
    """The schema of a `json_schema`, as JSON."""
    named = inner.table("json_schema", {"name", "description", "schema", "strict"})
    schema = named.body.get("schema")
    if not isinstance(schema, dict):
        raise named.must("schema", "an object, inside of json_schema", schema)
    try:
        return json.dumps(schema)
    except RecursionError as error:
        raise named.must("schema", "nested less deeply", schema) from error
