"""A server in a thread, on a free port, and what talks to it."""

import contextlib
import http.client
import json
import socket
import threading
import time

from likewise.serve.server import front_of, listening, server_of


@contextlib.contextmanager
def running(model, narrow=False, **options):
    """Serve a model while the block runs: yields (front, port).

    `narrow` says that next to nothing is sent before a client reads.
    """
    front = front_of(model, **{"name": "standin", **options})
    server, listener = server_of(front), listening("127.0.0.1", 0)
    if narrow:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started)
    try:
        yield front, listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def until(true, seconds=20):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


def client(port, key="any"):
    """OpenAI's own client, which does not try again."""
    import openai

    base = f"http://127.0.0.1:{port}/v1"
    return openai.OpenAI(base_url=base, api_key=key, max_retries=0, timeout=60)


def sent(port, path, body=None, method=None, headers=None):
    """(status, headers, body) of one request; a body that is no bytes is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body)
    heads = ({} if data is None else {"Content-Type": "application/json"}) | (headers or {})
    connection.request(method or ("GET" if data is None else "POST"), path, data, heads)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    json_ = answer.headers.get_content_type() == "application/json"
    return answer.status, answer.headers, json.loads(text) if json_ else text
