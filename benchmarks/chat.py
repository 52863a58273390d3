"""A conversation of five turns with a model trained here, in the terminal's way and over HTTP.

    python -m benchmarks.chat DIALOGUES [--base TEXTS] [--base-time 5m] [--time 10m]
        [--temperature 0.6] [--out FOLDER]

Trains a `transformer` on a file of dialogues (once; a folder that is there is taken as it is), or
with `--base` first on texts, from which it goes on. Then it asks five lines with seed 0, asks the
same of `likewise serve` with the `openai` client, and prints both conversations as they came, none
chosen among others.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from likewise.core.contract import Controls
from likewise.tasks.texts import Conversation
from likewise.workbench import verbs

LINES = (
    "Hi, I want to find a restaurant for tonight.",
    "In San Jose, please. Something with Italian food.",
    "That sounds good. Can you book a table for two?",
    "At 7 pm, please.",
    "Thank you, that is all.",
)


def in_terminal(path: Path, temperature: float) -> list[str]:
    """The answers, turn by turn."""
    model = verbs.open(path)
    talk = Conversation(model, controls=Controls(temperature=temperature), seed=0)
    return ["".join(talk.say(line)) for line in LINES]


def over_http(path: Path, temperature: float) -> list[str]:
    """The same of the server, with the history sent anew each turn."""
    from openai import OpenAI

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "likewise.cli.main", "serve", str(path), "--port", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=dict(os.environ))
    try:
        client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=20)
        name = ""
        while not name:
            try:
                name = client.models.list().data[0].id
            except Exception:
                time.sleep(0.5)
        history, answers = [], []
        for line in LINES:
            history.append({"role": "user", "content": line})
            asked = client.chat.completions.create(
                model=name, messages=history, max_tokens=128, temperature=temperature, seed=0
            )
            answers.append(asked.choices[0].message.content or "")
            history.append({"role": "assistant", "content": answers[-1]})
        return answers
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def train(data: str, out: Path, *more: str) -> None:
    """Train a `transformer` on data, unless it is there already."""
    if not (out / "transformer" / "config.json").exists():
        words = ["train", "transformer", data, *more, "--out", str(out)]
        subprocess.run([sys.executable, "-m", "likewise.cli.main", *words], check=True)


def main() -> None:
    """Train if need be, talk twice, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dialogues")
    parser.add_argument("--base", default="")
    parser.add_argument("--base-time", default="5m")
    parser.add_argument("--time", default="10m")
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--out", type=Path, default=Path("runs/talk"))
    given = parser.parse_args()
    made = ["--load", "tokenizer=bpe", "--load", "vocabulary=2048", "--preset", "s"]
    if given.base:
        base = given.out.with_name(given.out.name + "-base")
        train(given.base, base, "--time", given.base_time, *made)
        made = ["--from", str(base)]
    train(given.dialogues, given.out, "--time", given.time, *made)
    model = verbs.open(given.out)
    print(f"{model.parameters:,} parameters, trained for {given.time}")
    for title, answers in (
        ("terminal", in_terminal(given.out, given.temperature)),
        ("HTTP", over_http(given.out, given.temperature)),
    ):
        print(f"\n{title}")
        for line, answer in zip(LINES, answers, strict=True):
            print(f"  user       {line}\n  assistant  {answer.strip()}")


if __name__ == "__main__":
    main()
