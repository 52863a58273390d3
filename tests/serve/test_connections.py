"""Clients that keep the server waiting, and more of them than it can take."""

import contextlib
import json
import socket

import pytest

from likewise.core.errors import UsageError
from likewise.serve import connections, serve, server
from likewise.serve.connections import shares
from tests.serve.running import running, sent, until
from tests.serve.standin import standin

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

HALF = b"GET /health HTTP/1.1\r\nHo"
WHOLE = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = {"model": "standin", "prompt": "ab", "max_tokens": 90}


def posted(body, missing=0):
    """A request for a completion, of which some bytes are missing."""
    data = json.dumps(body).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data)
    return (head + data)[: len(head + data) - missing]


@contextlib.contextmanager
def dialled(port):
    """A connection that takes in next to nothing before it is read."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        raw.settimeout(10)
        raw.connect(("127.0.0.1", port))
        yield raw


def healthy(raw):
    """Ask how it is, and read the answer."""
    raw.sendall(WHOLE)
    found = b""
    while b'{"status":"ok"}' not in found:
        found += raw.recv(65536)
    return found.startswith(b"HTTP/1.1 200")


def rest(raw):
    """What comes to the end."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while some := raw.recv(65536):
            found += some
    return found


def test_headers_that_do_not_come_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 0.2)
    with running(standin()) as (_, port):
        for data in (b"", HALF):
            with dialled(port) as raw:
                raw.sendall(data)
                assert rest(raw) == b""
        with dialled(port) as raw:
            assert healthy(raw)
            raw.sendall(HALF)
            assert rest(raw) == b""


def test_a_request_that_takes_long_is_none_that_does_not_come(monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    with running(standin(pause=0.01)) as (_, port):
        assert sent(port, "/v1/completions", {**BODY, "max_tokens": 40})[0] == 200


def test_a_client_that_does_not_read_is_left(monkeypatch, caplog):
    monkeypatch.setattr(connections, "STALL", 0.2)
    with running(standin(), narrow=True) as (front, port), dialled(port) as raw:
        raw.sendall(posted({**BODY, "stream": True, "logprobs": 20}))
        until(lambda: "did not read its answer" in caplog.text)
        assert b"[DONE]" not in rest(raw)
        until(lambda: front.desk.open == 0)
        assert sent(port, "/health")[0] == 200


@pytest.mark.parametrize("data", [HALF, posted(BODY, missing=1), posted({**BODY, "stream": True})])
def test_no_client_keeps_a_server_from_its_end(monkeypatch, caplog, data):
    monkeypatch.setattr(server, "STALL", 0.2)
    with running(standin(), narrow=True) as (front, port), dialled(port) as raw:
        raw.sendall(data)
        until(lambda: front.metrics.made == 90 or b"stream" not in data)
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


def test_connections_beyond_the_most_are_refused(monkeypatch):
    monkeypatch.setattr(connections, "files", lambda: 12)
    with running(standin()) as (_, port), contextlib.ExitStack() as stack:
        first = [stack.enter_context(dialled(port)) for _ in range(6)]
        assert all(healthy(raw) for raw in first)
        for _ in range(3):
            with dialled(port) as raw:
                assert rest(raw).startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1")
        first[0].close()
        until(lambda: sent(port, "/health")[0] == 200)


@pytest.mark.parametrize(
    ("files", "least", "wanted"),
    [(1024, 192, (512, 128)), (150, 192, (75, 18)), (4096, 900, (900, 128)), (1, 9, (1, 1))],
)
def test_a_share_of_the_files_is_for_connections(monkeypatch, files, least, wanted):
    monkeypatch.setattr(connections, "files", lambda: files)
    assert shares(least) == wanted


def test_other_names_are_refused_where_no_key_keeps_others_out():
    with running(standin()) as (_, port):
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", "[::1]:80", "LocalHost"):
            assert sent(port, "/v1/models", headers={"Host": host})[0] == 200
        for host in ("evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1", ""):
            for path in ("/v1/models", "/health", "/metrics"):
                status, _, answer = sent(port, path, headers={"Host": host})
                assert (status, answer["error"]["type"]) == (403, "permission_error")
                assert f"got '{host}'" in answer["error"]["message"]
            assert sent(port, "/v1/completions", BODY, headers={"Host": host})[0] == 403
    for options in ({"key": "secret"}, {"host": "0.0.0.0"}):
        with running(standin(), **options) as (_, port):
            assert sent(port, "/health", headers={"Host": "my.example"})[0] == 200


def test_a_body_must_say_that_it_is_json():
    with running(standin()) as (_, port):
        for kind in ("text/plain", "multipart/form-data; a=1", ""):
            head = {"Content-Type": kind}
            status, _, answer = sent(port, "/v1/completions", BODY, headers=head)
            assert status == 415
            words = f"Content-Type must be application/json; got '{kind}'."
            assert answer["error"]["message"] == words
        head = {"Content-Type": "Application/JSON; charset=utf-8"}
        assert sent(port, "/v1/completions", BODY, headers=head)[0] == 200


def test_the_address_is_told_when_it_listens(monkeypatch):
    told = []

    def ready(url):
        told.append(url)
        port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
        socket.create_connection(("127.0.0.1", port)).close()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(standin(), name="standin", port=0, ready=ready)
    assert len(told) == 1
    for wrong in ({"port": 70000}, {"slots": 0}, {"host": "256.1.1.1"}, {"key": "é"}):
        with pytest.raises(UsageError):
            serve(standin(), **{"name": "standin", "ready": told.append, **wrong})
    assert len(told) == 1
