"""A model behind `likewise serve`: one client, then many for two minutes, then SIGTERM.

    python -m benchmarks.serving MODEL [--clients 32] [--seconds 120] [--tokens 100] [--threads 1]

Every client streams one completion after another, with a seed of its own. Reported are errors,
tokens a second, seconds of an answer and to its first piece, and the resident memory of the
server before and after. The load runs in a process of its own, on the same machine.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Answer(NamedTuple):
    """One streamed completion."""

    whole: bool
    seconds: float
    first: float
    tokens: int


async def ask(port: int, name: str, tokens: int, seed: int) -> Answer:
    """One completion; it counts as whole with its status, its usage and its last line."""
    start = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(
        {
            "model": name,
            "prompt": "The ",
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "seed": seed,
        }
    ).encode()
    lines = ("POST /v1/completions HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close")
    head = "\r\n".join([*lines, "Content-Type: application/json", f"Content-Length: {len(body)}"])
    writer.write(head.encode() + b"\r\n\r\n" + body)
    said, first = b"", 0.0
    while piece := await reader.read(65536):
        first = first or time.monotonic() - start
        said += piece
    writer.close()
    usage = re.findall(rb'"completion_tokens":\s*(\d+)', said)
    count = int(usage[-1]) if usage else 0
    whole = said.startswith(b"HTTP/1.1 200") and b"data: [DONE]" in said and count > 0
    return Answer(whole, time.monotonic() - start, first, count)


async def load(
    port: int, name: str, clients: int, seconds: float, tokens: int, server: int
) -> tuple[list[Answer], list[float]]:
    """What clients got that ask again and again, and the server's MiB at each quarter."""
    found, until, sizes = [], time.monotonic() + seconds, [resident(server)]

    async def client(number: int) -> None:
        turn = 0
        while time.monotonic() < until:
            found.append(await ask(port, name, tokens, 1000 * number + turn))
            turn += 1

    async def watch() -> None:
        for _ in range(4):
            await asyncio.sleep(seconds / 4)
            sizes.append(resident(server))

    await asyncio.gather(watch(), *(client(number) for number in range(clients)))
    return found, sizes


def told(name: str, answers: list[Answer], took: float) -> float:
    """Print one row; tokens a second."""
    rate = sum(answer.tokens for answer in answers) / took
    ordered = sorted(answer.seconds for answer in answers)
    ranks = (min(len(ordered) - 1, int(share * len(ordered))) for share in (0.5, 0.95, 0.99))
    quantiles = " / ".join(f"{ordered[rank]:.2f}" for rank in ranks)
    first = 1000 * statistics.median(answer.first for answer in answers)
    wrong = sum(not answer.whole for answer in answers)
    print(
        f"{name}: {len(answers)} answers, {wrong} errors, {rate:,.0f} tokens/s; seconds p50 / p95 "
        f"/ p99 {quantiles}; first piece {first:.0f} ms",
        flush=True,
    )
    return rate


def resident(process: int) -> float:
    """MiB of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Serve, ask, stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "likewise.cli.main", "serve", given.model, "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads)}
    server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        rates = []
        served = Path(given.model).resolve().name
        for name, clients, seconds in (
            ("warm-up", given.clients, 5.0),
            ("1 client", 1, min(30.0, given.seconds)),
            (f"{given.clients} clients", given.clients, given.seconds),
        ):
            start = time.monotonic()
            answers, sizes = asyncio.run(
                load(port, served, clients, seconds, given.tokens, server.pid)
            )
            rates.append(told(name, answers, time.monotonic() - start))
            print("  memory", ", ".join(f"{size:.0f}" for size in sizes), "MiB", flush=True)
        print(f"{rates[-1] / rates[1]:.1f} times one client")
        print(last(server, port, given))
    finally:
        server.kill()


def last(server: subprocess.Popen[bytes], port: int, given: argparse.Namespace) -> str:
    """SIGTERM while answers are under way."""

    name = Path(given.model).resolve().name

    async def stopped() -> list[Answer]:
        asked = [
            asyncio.create_task(ask(port, name, given.tokens, n)) for n in range(given.clients)
        ]
        await asyncio.sleep(0.5)
        server.send_signal(signal.SIGTERM)
        return await asyncio.gather(*asked)

    found = asyncio.run(stopped())
    whole = sum(answer.whole for answer in found)
    code = server.wait(timeout=60)
    return f"SIGTERM: {whole} of {len(found)} answers under way came whole; exit code {code}"


if __name__ == "__main__":
    main()
