"""The verb chat, as a person meets it: on a terminal and from a pipe."""

import io
import json
import os
import pty
import select
import subprocess
import sys

import pytest
from rich.console import Console

from likewise.cli.chat import Talk
from likewise.core.contract import Controls
from likewise.tasks.texts import Conversation
from tests.serve.standin import standin

MODEL = standin()


@pytest.fixture
def said(monkeypatch, capsys):
    """What the terminal shows of some lines: said(lines, conversation)."""

    def run(lines, talk=None):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        Talk(talk or conversation(), "standin", Console(highlight=False, width=200)).go_on()
        return capsys.readouterr().out

    return run


def conversation(**more):
    return Conversation(MODEL, **{"most": 8, "controls": Controls(temperature=0.0), **more})


def test_the_end_of_the_input_ends_its_line(said):
    assert said([]) == "you \n"
    assert said([""]) == "you "


def test_ctrl_c_ends_an_answer_and_the_talk_goes_on(said, monkeypatch):
    talk = conversation()
    (whole,) = ["".join(conversation().say("Hi"))]
    write, letters = sys.stdout.write, []

    def written(text):
        letters.append(text)
        if text == whole[2] and "".join(letters).endswith(whole[:3]):
            raise KeyboardInterrupt
        return write(text)

    monkeypatch.setattr(sys.stdout, "write", written)
    shown = said(["Hi", "And?", ""], talk)
    assert shown.count("you ") == 3
    assert talk.turns[1] == {"role": "assistant", "content": whole[:3]}
    assert talk.turns[2] == {"role": "user", "content": "And?"}
    assert len(talk.turns) == 4


def test_ctrl_c_in_the_network_ends_an_answer_too(said):
    model, count = standin(), []
    plain = model.family.reader

    def reader(c, n):
        count.append(n)
        if len(count) == 1:
            raise KeyboardInterrupt
        return plain(c, n)

    model.family.reader = reader
    talk = Conversation(model, most=4)
    said(["Hi", "And?"], talk)
    assert [turn["content"] for turn in talk.turns[:3]] == ["Hi", "", "And?"]
    assert talk.turns[3]["content"]


def test_a_new_talk_knows_nothing_of_the_old(said):
    talk = conversation(system="Be kind.")
    assert "a new conversation" in said(["Hi", "/new", "Yo"], talk)
    assert [turn["content"] for turn in talk.turns[:1]] == ["Yo"]
    again = conversation(system="Be kind.")
    "".join(again.say("Yo"))
    assert talk.turns == again.turns


def test_a_talk_is_kept_as_messages_and_no_file_is_written_over(said, tmp_path):
    path = tmp_path / "my talk.jsonl"
    talk = conversation(system="Be kind.")
    shown = said(["Hi", f"/save {path}", f"/save {path}"], talk)
    assert f"written to {path}" in shown
    assert f"the file must be a new one; got '{path}'. Choose another name." in shown
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"messages": talk.messages}
    assert talk.messages[0] == {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "/sav talk.jsonl",
            "command '/sav' is unknown; did you mean '/save'? Known: /new, /save.",
        ),
        ("/", "command '/' is unknown; Known: /new, /save."),
        ("/new one", "/new must be alone on its line; got 'one'."),
        ("/save", "/save must be followed by the name of a new file, as talk.jsonl."),
        ("/save a.jsonl", "there is nothing to save yet: say something first."),
    ],
)
def test_commands_that_cannot_be_are_said_and_not_answered(said, line, words):
    talk = conversation()
    shown = said([line], talk)
    assert f"error  {words}" in shown
    assert talk.turns == []


def test_what_cannot_be_written_is_said(said, tmp_path):
    for name in (tmp_path / "none" / "a.jsonl", "a\0b"):
        shown = said(["Hi", f"/save {name}"])
        assert "cannot be written (" in shown


LINES = """
from rich.console import Console
from likewise.cli.chat import heard
while said := heard(Console()):
    print(f"<{said}>")
"""


def test_lines_on_a_terminal_can_be_edited_and_recalled():
    pytest.importorskip("readline")
    ours, theirs = pty.openpty()
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    env = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", LINES], **ends, env=env)
    os.close(theirs)
    try:
        for typed, wanted in (
            (b"ab\x01c", b"<cab>"),
            (b"two", b"<two>"),
            (b"\x1b[A\x1b[A", b"<cab>"),
        ):
            shown(ours, b"you")
            os.write(ours, typed + b"\r")
            shown(ours, wanted)
        shown(ours, b"you")
        os.write(ours, b"\x04")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def shown(terminal, wanted):
    """Read on until a terminal shows something."""
    found = b""
    while wanted not in found:
        ready, _, _ = select.select([terminal], [], [], 120)
        assert ready, found
        found += os.read(terminal, 1024)
