"""What the server refuses, and that it lives on."""

import http.client
import os
import re
import socket
import sys

import pytest

from likewise.core.errors import LikewiseError, UsageError
from likewise.serve import serve
from likewise.serve.server import listening
from tests.serve.running import client, running, sent, until
from tests.serve.standin import PAD, SIZE, standin

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
openai = pytest.importorskip("openai")

TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
BODY = {"model": "standin", "prompt": "ab", "max_tokens": 8}
TALK = {"model": "standin", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}


@pytest.fixture(scope="module")
def server():
    with running(standin(), slots=2, queue=2, most_tokens=50, most_body=4096) as (_, port):
        yield port


WHERE = "messages[0].content"
WRONG = [
    (TEXT, {"prompt": None}, "prompt", "prompt must be a text, a list of texts"),
    (TEXT, {"prompt": ""}, "prompt", "none of them empty; got ''. To begin a document"),
    (TEXT, {"prompt": []}, "prompt", "none of them empty; got []. To"),
    (TEXT, {"prompt": ["ab", 3]}, "prompt", "got ['ab', 3]"),
    (TEXT, {"prompt": [[1], []]}, "prompt", "got [[1], []]"),
    (TEXT, {"prompt": {"a": 1}}, "prompt", "got {'a': 1}"),
    (TEXT, {"prompt": [1, -2]}, "prompt", f"from 0 to {SIZE - 1} and not {PAD}, the padding; "),
    (TEXT, {"prompt": [PAD]}, "prompt", f"got {PAD}"),
    (TEXT, {"prompt": [10**30]}, "prompt", "prompt must be of tokens from 0"),
    (TEXT, {"prompt": "\ud800"}, "prompt", "got '\\ud800'"),
    (TEXT, {"prompt": "\x07"}, "prompt", "characters that the training texts never had: BEL"),
    (TEXT, {"prompt": "a" * 97}, "prompt", "a prompt must be of at most 96 tokens; got 97"),
    (TEXT, {"model": 3}, "model", "model must be a text; got 3"),
    (TEXT, {"max_tokens": -5}, "max_tokens", "must be a whole number from 1 to 50; got -5"),
    (TEXT, {"max_tokens": 51}, "max_tokens", "must be a whole number from 1 to 50; got 51"),
    (TEXT, {"max_tokens": "8"}, "max_tokens", "from 1 to 50; got '8'"),
    (TEXT, {"max_tokens": True}, "max_tokens", "from 1 to 50; got True"),
    (TEXT, {"max_tokens": 2.5}, "max_tokens", "got 2.5"),
    (TEXT, {"temperature": -1}, "temperature", "must be a number from 0 to 2; got -1"),
    (TEXT, {"temperature": 10**400}, "temperature", "must be a number from 0 to 2"),
    (TEXT, {"temperature": "hot"}, "temperature", "got 'hot'"),
    (TEXT, {"top_p": 0}, "top_p", "top_p must be a number above 0 and at most 1; got 0"),
    (TEXT, {"min_p": 1}, "min_p", "min_p must be a number from 0 to below 1; got 1"),
    (TEXT, {"top_k": 0}, "top_k", "top_k must be a whole number from 1 on; got 0"),
    (
        TEXT,
        {"repetition_penalty": 0},
        "repetition_penalty",
        "repetition_penalty must be a number from 0.01 to 100; got 0",
    ),
    (TEXT, {"repetition_penalty": -1.5}, "repetition_penalty", "got -1.5"),
    (TEXT, {"repetition_penalty": 1e30}, "repetition_penalty", "from 0.01 to 100; got 1e+30"),
    (CHAT, {"repetition_penalty": "much"}, "repetition_penalty", "got 'much'"),
    (CHAT, {"min_p": "x"}, "min_p", "min_p must be a number from 0 to below 1; got 'x'"),
    (CHAT, {"top_k": 1.5}, "top_k", "top_k must be a whole number from 1 on; got 1.5"),
    (TEXT, {"n": 0}, "n", "n must be a whole number from 1 to 128; got 0"),
    (TEXT, {"n": 5}, "n", "n must be at most 4 with all prompts; got 5"),
    (TEXT, {"n": 2, "prompt": ["a"] * 3}, "n", "got 6"),
    (TEXT, {"stop": ""}, "stop", "stop must be a text or a list of up to 16"),
    (TEXT, {"stop": [1]}, "stop", "got [1]"),
    (TEXT, {"seed": 0.5}, "seed", "seed must be a whole number from -9223372036854775808 to"),
    (TEXT, {"logprobs": 21}, "logprobs", "logprobs must be a whole number from 0 to 20; got 21"),
    (TEXT, {"logprobs": True}, "logprobs", "got True"),
    (TEXT, {"logprobs": 1, "echo": True}, "logprobs", "echo and logprobs cannot be had together"),
    (TEXT, {"stream": "yes"}, "stream", "stream must be true or false; got 'yes'"),
    (TEXT, {"stream_options": 1}, "stream_options", "stream_options must be an object; got 1"),
    (TEXT, {"\ud800": 1}, "\\ud800", "field '\\ud800' is unknown"),
    (TEXT, {"x" * 500: 1}, "x" * 120, "field 'xxxxx"),
    (TEXT, {"response_format": {"type": "text", "\ud800": 1}}, "\\ud800", "field '\\ud800' is"),
    (TEXT, {"presence_penalty": False}, "presence_penalty", "left out, or 0; got False"),
    (TEXT, {"best_of": True}, "best_of", "left out, or 1; got True"),
    (CHAT, {"parallel_tool_calls": 1}, "parallel_tool_calls", "left out, or True; got 1"),
    (CHAT, {"modalities": ["audio"]}, "modalities", "left out, or ['text']; got ['audio']"),
    (CHAT, {"verbosity": "low"}, "verbosity", "left out, or 'medium'; got 'low'"),
    (TEXT, {"presence_penalty": 1}, "presence_penalty", "left out, or 0; got 1"),
    (TEXT, {"max_token": 3}, "max_token", "'max_token' is unknown; did you mean 'max_tokens'?"),
    (CHAT, {"messages": []}, "messages", "messages must be a list of {role, content}, 1 or more"),
    (CHAT, {"messages": "Hi"}, "messages", "got 'Hi'"),
    (CHAT, {"messages": ["Hi"]}, "messages[0]", "must be an object of role and content"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content", "type text; got None"),
    (CHAT, {"messages": [{"content": "a"}]}, "messages[0].role", "got None"),
    (
        CHAT,
        {"messages": [{"role": "robot", "content": "a"}]},
        "messages",
        "a role must be one of system, user, assistant; got 'robot'",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "text": "Hi"}]}]},
        "messages[0].content",
        "must be a text, or a list of parts of the type text; got",
    ),
    (CHAT, {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, WHERE, "type text; got"),
    (CHAT, {"messages": [{"role": "user", "content": "a" * 96}]}, "messages", "1 to 96 tokens"),
    (CHAT, {"top_logprobs": 2}, "top_logprobs", "must be without logprobs 0; got 2"),
    (CHAT, {"logprobs": 2}, "logprobs", "logprobs must be true or false; got 2"),
    (CHAT, {"tools": [{}]}, "tools", "tools must be left out, or []; got [{}]"),
]


@pytest.mark.parametrize(("path", "change", "param", "words"), WRONG)
def test_what_is_wrong_is_named(server, path, change, param, words):
    body = {**(BODY if path == TEXT else TALK), **change}
    status, _, answer = sent(server, path, body)
    error = answer["error"]
    assert status == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    assert error["param"] == param
    assert len(error["message"]) < 1000


def test_codes_that_programs_read(server):
    def code(change):
        return sent(server, TEXT, {**BODY, **change})[2]["error"]["code"]

    assert code({"model": "x"}) == "model_not_found"
    status, _, answer = sent(server, TEXT, {**BODY, "model": "gpt-4"})
    assert status == 404
    assert answer["error"]["message"].startswith("model must be 'standin', the one that is")
    for long in ([1] * 97, "a" * 97, ["a", "b" * 97]):
        assert code({"prompt": long}) == "context_length_exceeded"
    for wrong in ([PAD], "\x07", ""):
        assert code({"prompt": wrong}) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body must be JSON"),
        (b"{", "The body must be JSON"),
        (b"\xff\xfe\x00", "The body must be JSON"),
        (b'{"model": NaN}', "NaN is no number of JSON"),
        (b"[" * 4000, "The body must be JSON"),
        (b"[1]", "the body must be an object of JSON; got [1]"),
        (b"9" * 4000, "the body must be an object of JSON"),
    ],
)
def test_a_body_that_is_no_object_of_json(server, body, words):
    status, _, answer = sent(server, TEXT, body)
    assert status == 400
    assert words in answer["error"]["message"]


def test_the_client_s_own_errors_are_raised(server):
    with client(server) as ask:
        with pytest.raises(openai.BadRequestError, match="max_tokens must be"):
            ask.completions.create(model="standin", prompt="a", max_tokens=-1)
        with pytest.raises(openai.NotFoundError) as caught:
            ask.completions.create(model="other", prompt="a")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_large_body_is_not_read(server):
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        data = b'{"prompt": "' + b"a" * 5000
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data) if headers else data
        status, _, answer = sent(server, TEXT, body, headers=headers)
        assert status == 413
        assert "at most 4096 bytes" in answer["error"]["message"]


def test_there_is_no_such_route(server):
    for path, method, wanted in (("/v1/embeddings", "POST", 404), (TEXT, "GET", 405)):
        status, _, answer = sent(server, path, method=method)
        assert status == wanted
        assert f"There is no {method} {path} here" in answer["error"]["message"]


def test_what_a_route_can_do_is_told_and_heads_can_be_asked_for(server):
    for path, allowed in (("/health", {"GET", "HEAD"}), (TEXT, {"POST"}), (CHAT, {"POST"})):
        status, headers, _ = sent(server, path, method="DELETE")
        assert (status, set(headers["Allow"].split(", "))) == (405, allowed)
    for path in ("/health", "/metrics", "/v1/models", "/v1/models/standin"):
        status, headers, text = sent_head(server, path)
        assert (status, text) == (200, b"")
        assert int(headers["Content-Length"]) > 0


def sent_head(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("HEAD", path)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_a_key_is_asked_for():
    with running(standin(), key="open sesame") as (_, port):
        for wrong in ({}, {"Authorization": "Bearer no"}, {"Authorization": "open sesame"}):
            for path, body in ((TEXT, BODY), (CHAT, TALK), ("/v1/models", None)):
                status, _, answer = sent(port, path, body, headers=wrong)
                assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        with client(port, "no") as ask, pytest.raises(openai.AuthenticationError):
            ask.models.list()
        with client(port, "open sesame") as ask:
            assert ask.completions.create(**BODY).usage.completion_tokens == 8
        assert sent(port, "/health")[0] == sent(port, "/metrics")[0] == 200


def test_a_model_without_roles_cannot_chat():
    with running(standin(roles=False)) as (_, port):
        status, _, answer = sent(port, CHAT, TALK)
        assert status == 400
        assert "not trained on dialogues" in answer["error"]["message"]
        assert sent(port, TEXT, BODY)[0] == 200


def test_garbage_and_half_requests_do_not_end_it(server):
    half = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    for data in (os.urandom(2000), b"GET", half, b"\x16\x03\x01" * 50, b"POST / HTTP/9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server)) as raw:
            raw.sendall(data)
    assert sent(server, TEXT, BODY)[0] == 200


def test_a_full_queue_says_when_to_ask_again():
    with running(standin(pause=0.02), slots=1, queue=1) as (front, port), client(port) as ask:
        long = {**BODY, "max_tokens": 60, "stream": True}
        streams = [ask.completions.create(**long) for _ in range(2)]
        with pytest.raises(openai.RateLimitError) as caught:
            ask.completions.create(**BODY)
        assert caught.value.response.headers["Retry-After"] == "1"
        assert caught.value.code == "queue_full"
        until(lambda: front.desk.engine.running == 1)
        assert sent(port, "/metrics")[2].count("requests_waiting 1\n") == 1
        assert [len(list(stream)) > 10 for stream in streams] == [True, True]
        assert ask.completions.create(**BODY).usage.completion_tokens == 8


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot(stream):
    with running(standin(pause=0.02), slots=1, queue=4) as (front, port):
        data = b'{"model":"standin","prompt":"ab","max_tokens":90,"stream":%s}'
        data %= b"true" if stream else b"false"
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(head % len(data) + data)
            until(lambda: front.desk.engine.running == 1)
        until(lambda: front.desk.open == 0, seconds=1)
        until(lambda: front.desk.engine.running == 0, seconds=1)
        assert front.metrics.made < 60
        assert sent(port, TEXT, BODY)[0] == 200
        assert 'path="/v1/completions",status="499"} 1' in sent(port, "/metrics")[2]


def test_a_client_that_leaves_early_in_the_queue_is_forgotten():
    with running(standin(pause=0.02), slots=1, queue=4) as (front, port), client(port) as ask:
        first = ask.completions.create(**{**BODY, "max_tokens": 40, "stream": True})
        second = ask.completions.create(**{**BODY, "max_tokens": 40, "stream": True})
        second.close()
        until(lambda: front.desk.open == 1, seconds=2)
        list(first)
        assert front.metrics.made == 40


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_fails_is_told_and_the_server_lives(stream):
    model = standin()
    plain, broken = model.family.reader, [True]

    def reader(c, n):
        if broken:
            raise RuntimeError("out of memory")
        return plain(c, n)

    model.family.reader = reader
    with running(model) as (front, port), client(port) as ask:
        with pytest.raises(openai.APIError, match="The model failed"):
            list(ask.completions.create(**{**BODY, "stream": stream}))
        assert front.desk.open == 0
        broken.clear()
        assert ask.completions.create(**BODY).usage.completion_tokens == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slots": 0}, "slots must be 1 or more; got 0"),
        ({"queue": -1}, "queue must be 0 or more; got -1"),
        ({"most_body": 0}, "most_body must be 1 or more; got 0"),
        ({"most_tokens": 0}, "most_tokens must be 1 or more; got 0"),
        ({"key": ""}, "key must be a text that is not empty"),
        ({"key": "schlüssel €"}, "key must be of letters, .* of ASCII.*got 'ü€'"),
        ({"key": " a"}, "without a space before or after"),
        ({"port": 70000}, "port must be from 0 to 65535; got 70000"),
        ({"host": "256.1.1.1"}, "cannot listen at 256.1.1.1:8000"),
    ],
)
def test_serve_refuses_at_once(options, words):
    with pytest.raises(UsageError, match=words):
        serve(standin(), **{"name": "standin", **options})


def test_a_port_that_is_taken_is_named():
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}.*Choose another port"):
            serve(standin(), name="standin", port=port)


def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(LikewiseError, match=re.escape("pip install 'likewise[serve]'")):
        serve(standin(), name="standin")
