"""The verb complete, as a person meets it: beyond the context, with beams, told token by token."""

import json
import math
import random

import pytest

import likewise as lw
from likewise.cli.jobs import _next
from likewise.cli.main import app, guarded

SMALL = {"width": "16", "depth": "1", "heads": "1", "groups": "1", "hidden": "32", "batch": "8"}
CONTEXT = 9  # the strings are 8 long


def likewise(capsys, *words, code=0):
    """What the command says; the exit code is what it should be."""
    assert guarded(lambda: app([*map(str, words)], standalone_mode=False)) == code
    said = capsys.readouterr()
    return said.out if code == 0 else " ".join(said.err.split())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A saved model of strings of a, b and c."""
    rng = random.Random(0)
    strings = ["".join(rng.choices("abc", k=8)) for _ in range(60)]
    made = lw.fit(strings, "transformer", steps=2, settings=SMALL)
    assert made.family.space.length <= 2 * CONTEXT
    return made.save(tmp_path_factory.mktemp("models") / "strings")


def test_a_text_goes_on_beyond_the_context(model, capsys):
    said = likewise(capsys, "complete", model, "ab", "--regex", "[abc]{60}")
    assert len(said) == len("ab") + 60 + len("\n")


@pytest.mark.parametrize("seed", [1, 2, 3])  # the last of them closes the text at once
def test_each_token_is_shown_with_its_log_probability(model, capsys, seed):
    words = ["complete", model, "ab", "--seed", seed, "--most", 6]
    plain = likewise(capsys, *words)
    text, *each, last = likewise(capsys, *words, "--logprobs").splitlines()
    (found,) = lw.complete(lw.open(model), ["ab"], seed=seed, most=6)
    assert text == plain.removesuffix("\n") == "ab" + found.text
    assert [float(line.split()[0]) for line in each] == pytest.approx(found.log_probs, abs=1e-4)
    spelled = [line.split("  ")[-1] for line in each]
    assert "".join(one[1:-1] for one in spelled if len(one) == 3) == found.text
    assert last.split() == [f"{sum(found.log_probs):.4f}", *f"nats, of {len(each)} tokens".split()]


def test_json_tells_the_same(model, capsys):
    said = json.loads(
        likewise(capsys, "complete", model, "ab", "--seed", 3, "--most", 6, "--json")
    )
    (found,) = lw.complete(lw.open(model), ["ab"], seed=3, most=6)
    assert (said["model"], said["prompt"], said["text"]) == ("transformer", "ab", found.text)
    assert said["finish"] == found.finish
    assert [one["number"] for one in said["tokens"]] == list(found.tokens)
    nats = [one["log_prob"] for one in said["tokens"]]
    assert nats == pytest.approx(found.log_probs)
    assert math.fsum(nats) == pytest.approx(said["log_prob"])


def test_beams_find_a_likelier_text_than_a_draw(model, capsys):
    words = ["complete", model, "ab", "--most", 4, "--json"]
    found, drawn = (json.loads(likewise(capsys, *words, *more)) for more in (["--beams", 8], []))
    each = [one["log_prob"] / len(one["tokens"]) for one in (found, drawn)]
    assert each[0] >= each[1]
    plain = likewise(capsys, "complete", model, "ab", "--most", 4, "--beams", 8)
    assert plain == f"ab{found['text']}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--beams", "0"], "the number of beams must be 1 or more; got 0"),
        (["--beams", "4", "--temperature", "0.5"], "temperature shapes draws, and beams draw no"),
        (["--beams", "4", "--stop", "b"], "stop strings and beams do not go together yet"),
        (["--beams", "4", "--regex", "a"], "a form and beams do not go together yet"),
        (["--beams", "4", "--draft", "."], "a draft and beams do not go together"),
        (["--most", "0"], "the most new tokens must be from 1 to 1048576; got 0"),
        (["--repetition", "-1"], "repetition must be above 0 and finite; got -1.0"),
    ],
)
def test_mistakes_are_said_in_words(model, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(model)
    assert sentence in likewise(capsys, "complete", model, "ab", *words, code=2)


@pytest.mark.parametrize(
    ("family", "domain", "state", "wanted"),
    [
        ("transformer", "text", {}, 'likewise complete RUN "…"'),
        ("ngram", "text", {"roles": False}, 'likewise complete RUN "…"'),
        ("transformer", "text", {"roles": True}, "likewise chat RUN"),
        ("transformer", "text", {"source": {"most": 9}}, 'likewise translate RUN "…"'),
        ("masked", "text", {}, "likewise sample RUN -n 64"),
        ("transformer", "images", {}, "likewise sample RUN -n 64"),
    ],
)
def test_what_comes_next_is_what_the_model_can_do(tmp_path, family, domain, state, wanted):
    (tmp_path / family).mkdir()
    codec = {"domain": domain, "state": state}
    (tmp_path / family / "codec.json").write_text(json.dumps(codec))
    assert _next(tmp_path, family) == wanted.replace("RUN", str(tmp_path))


@pytest.fixture
def listened(monkeypatch):
    """The ports that servers listened at; they end at once."""
    pytest.importorskip("uvicorn")
    from likewise.serve import server

    class Ended:
        def run(self, sockets):
            ports.extend(one.getsockname()[1] for one in sockets)

    ports = []
    monkeypatch.setattr(server, "server_of", lambda front: Ended())
    return ports


def test_serve_says_where_it_listens(model, capsys, listened):
    assert guarded(lambda: app(["serve", str(model), "--port", "0"], standalone_mode=False)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"http://127.0.0.1:{listened[0]}/v1 model 'strings' (transformer, 0")
    assert said.endswith("parameters), no key is asked for; Ctrl-C ends it")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "70000"], "port must be from 0 to 65535; got 70000."),
        (["--slots", "0"], "slots must be 1 or more; got 0."),
        (["--key", "schlüssel"], "key must be of letters, digits and signs of ASCII"),
        (["--key", ""], "key must be a text that is not empty, or left out; got ''."),
        ([], "key must be a text that is not empty, or left out; got ''."),
    ],
)
def test_serve_says_nothing_of_an_address_before_it_listens(
    model, capsys, monkeypatch, listened, words, sentence
):
    if not words:
        monkeypatch.setenv("LIKEWISE_KEY", "")
    said = likewise(capsys, "serve", model, *words, code=2)
    assert sentence in said
    assert "http" not in said
    assert listened == []
