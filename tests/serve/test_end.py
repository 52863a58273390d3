"""How a server ends: what is in flight is finished, nothing new comes in."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.serve.running import sent, until

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

BODY = {"model": "standin", "prompt": "ab", "seed": 1}


@pytest.fixture
def process():
    """(process, port) of a server of its own, whose steps take 20 ms."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.serve.standin", str(port), "0.02"]
    one = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until(lambda: one.poll() is not None or alive(port), seconds=60)
    yield one, port
    one.kill()
    one.communicate()


def alive(port):
    try:
        return sent(port, "/health")[0] == 200
    except OSError:
        return False


def test_a_signal_finishes_what_is_in_flight(process):
    one, port = process
    found = {}

    def work(number):
        body = {**BODY, "max_tokens": 80, "stream": number % 2 == 0}
        found[number] = sent(port, "/v1/completions", body)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: "requests_running 4\n" in sent(port, "/metrics")[2])
    until(lambda: "requests_waiting 2\n" in sent(port, "/metrics")[2])
    one.send_signal(signal.SIGTERM)
    until(lambda: sent(port, "/health")[0] == 503, seconds=2)
    time.sleep(0.5)  # it does not close its door while it is at work
    status, headers, answer = sent(port, "/v1/completions", {**BODY, "max_tokens": 4})
    assert (status, answer["error"]["type"]) == (503, "server_error")
    assert int(headers["Retry-After"]) > 0
    for thread in threads:
        thread.join(30)
    assert one.wait(10) == 0
    assert one.stderr.read() == "finishing 6 answers; Ctrl-C again ends at once\n"
    assert [status for status, _, _ in found.values()] == [200] * 6
    for number, (_, _, answer) in found.items():
        if number % 2 == 0:
            assert answer.endswith("data: [DONE]\n\n")
            assert (
                json.loads(answer.split("data: ")[-2])["choices"][0]["finish_reason"] == "length"
            )
        else:
            assert answer["usage"]["completion_tokens"] == 80


def test_an_idle_server_ends_at_once_though_clients_are_connected(process):
    one, port = process
    kept = http.client.HTTPConnection("127.0.0.1", port)
    kept.request("GET", "/health")
    kept.getresponse().read()
    one.send_signal(signal.SIGINT)
    assert one.wait(5) == 0
    kept.close()


@pytest.mark.parametrize(
    ("sign", "status", "words"),
    [(signal.SIGINT, 130, ["stopped"]), (signal.SIGTERM, -signal.SIGTERM, [])],
)
def test_a_second_signal_ends_it_in_the_middle_and_says_no_more(process, sign, status, words):
    one, port = process
    asked = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(4)]
    for number, connection in enumerate(asked):
        body = json.dumps({**BODY, "max_tokens": 90, "stream": number % 2 == 0})
        head = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", body, head)
    until(lambda: "requests_running 4\n" in sent(port, "/metrics")[2])
    one.send_signal(sign)
    until(lambda: sent(port, "/health")[0] == 503, seconds=2)
    time.sleep(0.2)  # it says what it does
    one.send_signal(sign)
    assert one.wait(2) == status
    first, *others = one.stderr.read().splitlines()
    assert first == "finishing 4 answers; Ctrl-C again ends at once"
    assert [line.split()[0] for line in others] == words
    for connection in asked:
        connection.close()
