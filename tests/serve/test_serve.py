"""The server, with OpenAI's own client."""

import threading

import pytest

from likewise.core.contract import Controls
from likewise.tasks.texts import Conversation, complete
from tests.serve.running import client, running, sent
from tests.serve.standin import END, ROLES, impatient, standin

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
openai = pytest.importorskip("openai")

MODEL = standin()
BODY = {"model": "standin", "prompt": "ab", "max_tokens": 24, "seed": 7}


@pytest.fixture(scope="module")
def server():
    with running(MODEL, slots=8, queue=32) as (_, port):
        yield port


@pytest.fixture(scope="module")
def ask(server):
    with client(server) as one:
        yield one


def chunks(stream):
    """(text of each choice by its number, log-probabilities, finishes, usage) of a stream."""
    texts, nats, ends, usage = {}, [], {}, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            piece = choice.text if hasattr(choice, "text") else choice.delta.content
            texts[choice.index] = texts.get(choice.index, "") + (piece or "")
            if choice.logprobs is not None:
                found = choice.logprobs
                content = getattr(found, "content", None)
                nats += [one.logprob for one in content] if content else found.token_logprobs
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    return texts, nats, ends, usage


def test_models_are_listed(ask):
    assert [one.id for one in ask.models.list()] == ["standin"]
    assert ask.models.retrieve("standin").owned_by == "likewise"
    with pytest.raises(openai.NotFoundError, match="There is no model 'other'"):
        ask.models.retrieve("other")


def test_a_completion_is_the_model_s_own_sample(ask):
    found = ask.completions.create(**BODY)
    (wanted,) = complete(MODEL, ["ab"], most=24, seed=7)
    assert found.choices[0].text == wanted.text
    assert found.choices[0].finish_reason == "length"
    assert found.object == "text_completion"
    usage = found.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (2, 24, 26)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"temperature": 0},
        {"top_p": 0.7},
        {"extra_body": {"top_k": 4, "min_p": 0.1}},
        {"extra_body": {"repetition_penalty": 1.5}},
    ],
)
def test_streamed_text_is_unstreamed_text(ask, extra):
    body = {**BODY, "n": 2, "logprobs": 2, **extra}
    whole = ask.completions.create(**body)
    stream = ask.completions.create(**body, stream=True, stream_options={"include_usage": True})
    texts, nats, ends, usage = chunks(stream)
    assert texts == {one.index: one.text for one in whole.choices}
    assert ends == {0: "length", 1: "length"}
    assert usage == whole.usage
    told = [nat for one in whole.choices for nat in one.logprobs.token_logprobs]
    assert sum(nats) == pytest.approx(sum(told), abs=1e-3)


@pytest.mark.parametrize(
    "controls",
    [
        {"top_p": 0.9, "temperature": 1.5, "top_k": 3},
        {"min_p": 0.2},
        {"repetition": 3.0},
        {"repetition": 0.5, "temperature": 0.0},
    ],
)
def test_options_say_how_tokens_are_drawn(ask, controls):
    (wanted,) = complete(MODEL, ["ab"], most=24, seed=7, controls=Controls(**controls))
    names = {"repetition": "repetition_penalty"}
    extra = {names.get(name, name): value for name, value in controls.items()}
    found = ask.completions.create(**BODY, extra_body=extra)
    assert found.choices[0].text == wanted.text
    assert found.choices[0].text != ask.completions.create(**BODY).choices[0].text


def test_equal_seeds_give_equal_texts_alone_and_among_others(ask, server):
    def text(seed, heat):
        body = {**BODY, "seed": seed, "temperature": heat, "max_tokens": 40}
        return ask.completions.create(**body).choices[0].text

    wanted = {seed: text(seed, 1.0) for seed in range(6)}
    assert len(set(wanted.values())) == 6
    assert text(0, 0) == text(1, 0)
    found = {}

    def work(seed):
        found[seed] = text(seed, 1.0)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted


def test_without_a_seed_texts_differ(ask):
    body = {**BODY, "seed": None}
    texts = {ask.completions.create(**body).choices[0].text for _ in range(3)}
    assert len(texts) == 3


def test_choices_are_samples_of_one_seed(ask):
    found = ask.completions.create(**{**BODY, "prompt": ["ab", "cd"]}, n=2)
    wanted = complete(MODEL, ["ab", "ab", "cd", "cd"], most=24, seed=7)
    assert [one.text for one in found.choices] == [one.text for one in wanted]
    assert [one.index for one in found.choices] == [0, 1, 2, 3]
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (4, 96)


def test_prompts_may_be_tokens(ask):
    text = ask.completions.create(**BODY).choices[0].text
    for prompt in ([97, 98], [[97, 98]]):
        assert ask.completions.create(**{**BODY, "prompt": prompt}).choices[0].text == text
    assert ask.completions.create(**{**BODY, "prompt": [END]}).usage.prompt_tokens == 1


def test_an_echo_begins_with_the_prompt(ask):
    for prompt in ("ab", [97, 98], [END, 97, 98]):
        body = {**BODY, "prompt": prompt}
        plain = ask.completions.create(**body).choices[0].text
        assert ask.completions.create(**body, echo=True).choices[0].text == "ab" + plain
        texts, *_ = chunks(ask.completions.create(**body, echo=True, stream=True))
        assert texts == {0: "ab" + plain}


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_text_though_it_is_of_many_tokens(ask, stream):
    whole = ask.completions.create(**BODY).choices[0].text
    stop = whole[9:13]
    made = ask.completions.create(**BODY, stop=["never", stop], stream=stream)
    if stream:
        texts, _, ends, _ = chunks(made)
    else:
        choice = made.choices[0]
        texts, ends = {0: choice.text}, {0: choice.finish_reason}
        assert made.usage.completion_tokens < 24
    assert texts == {0: whole[: whole.index(stop)]}
    assert ends == {0: "stop"}


def test_an_end_is_a_stop():
    with running(standin(endless=False)) as (_, port), client(port) as ask:
        found = ask.completions.create(**{**BODY, "max_tokens": 90})
        (wanted,) = complete(standin(endless=False), ["ab"], seed=7)
        assert found.choices[0].finish_reason == "stop"
        assert found.choices[0].text == wanted.text
        assert found.usage.completion_tokens == len(wanted.tokens)


def test_log_probs_of_a_completion(ask):
    found = ask.completions.create(**BODY, logprobs=3).choices[0]
    (wanted,) = complete(MODEL, ["ab"], most=24, seed=7, logprobs=3)
    told = found.logprobs
    assert told.token_logprobs == pytest.approx(list(wanted.log_probs), abs=1e-4)
    assert len(told.tokens) == len(told.top_logprobs) == len(told.text_offset) == 24
    for token, nats, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
        assert len(top) == 3
        assert top.get(token, nats) == pytest.approx(nats)
    for token, place in zip(told.tokens, told.text_offset, strict=True):
        if not token.startswith("token_id:"):
            assert found.text[place : place + len(token)] == token


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_stand_where_they_did_though_text_is_held_back(ask, stream):
    def places(**more):
        made = ask.completions.create(**BODY, logprobs=0, stream=stream, **more)
        choices = [one.choices[0] for one in made] if stream else made.choices
        told = [choice.logprobs for choice in choices if choice.logprobs is not None]
        return [place for one in told for place in one.text_offset]

    whole = ask.completions.create(**BODY).choices[0].text
    plain = places()
    assert len(plain) == 24
    assert plain == sorted(plain)
    nearly = [whole[place : place + 3] + "\x00" for place in range(0, len(whole), 5)]
    assert places(stop=nearly) == plain
    assert places(stop=[whole[7:12]])[:8] == plain[:8]


def test_log_probs_of_a_chat(ask):
    body = {"model": "standin", "messages": [{"role": "user", "content": "Hi"}], "seed": 1}
    body |= {"max_tokens": 20, "logprobs": True, "top_logprobs": 2}
    found = ask.chat.completions.create(**body).choices[0].logprobs.content
    assert len(found) == 20
    for one in found:
        assert len(one.top_logprobs) == 2
        assert one.logprob <= one.top_logprobs[0].logprob + 1e-6
        part = one.token.removeprefix("token_id:")
        assert one.bytes == (list(part.encode()) if part == one.token else [int(part)])
    assert any(len(one.bytes) == 1 and one.bytes[0] > 127 for one in found)
    _, nats, _, _ = chunks(ask.chat.completions.create(**body, stream=True))
    assert nats == pytest.approx([one.logprob for one in found], abs=1e-4)


def test_a_chat_is_a_conversation(ask):
    talk = Conversation(MODEL, "Be kind.", most=16, controls=Controls(temperature=0.0))
    messages = [{"role": "system", "content": "Be kind."}]
    for said in ("Hi", "And?"):
        messages.append({"role": "user", "content": said})
        found = ask.chat.completions.create(
            model="standin", messages=messages, temperature=0, max_completion_tokens=16
        )
        assert found.object == "chat.completion"
        message = found.choices[0].message
        assert (message.role, message.content) == ("assistant", "".join(talk.say(said)))
        messages.append({"role": "assistant", "content": message.content})
    assert found.usage.completion_tokens == 16


def test_an_answer_ends_at_the_next_role():
    with running(impatient(after=5)) as (_, port), client(port) as ask:
        found = ask.chat.completions.create(
            model="standin",
            messages=[{"role": "user", "content": "Hi"}],
            seed=1,
            logprobs=True,
        )
    closing = found.choices[0].logprobs.content[-1]
    assert (closing.token, closing.bytes) == (f"token_id:{ROLES['user']}", None)
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.completion_tokens == 6
    assert 0 < len(found.choices[0].message.content) <= 5


def test_a_streamed_chat_gives_its_role_first(ask):
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    body = {"model": "standin", "max_tokens": 20, "seed": 3, "n": 2}
    whole = ask.chat.completions.create(**body, messages=[{"role": "user", "content": "Hi"}])
    heard = list(
        ask.chat.completions.create(
            **body, messages=[{"role": "user", "content": parts}], stream=True
        )
    )
    assert [one.choices[0].delta.role for one in heard[:2]] == ["assistant", "assistant"]
    assert not any(one.choices[0].delta.role for one in heard[2:])
    texts, _, ends, usage = chunks(heard)
    assert texts == {one.index: one.message.content for one in whole.choices}
    assert (ends, usage) == ({0: "length", 1: "length"}, None)


def test_a_text_goes_on_beyond_the_context(ask):
    found = ask.completions.create(**{**BODY, "prompt": "x" * 90, "max_tokens": 24})
    (wanted,) = complete(MODEL, ["x" * 90], most=24, seed=7)
    assert found.choices[0].text == wanted.text
    assert (found.usage.completion_tokens, found.choices[0].finish_reason) == (24, "length")


def test_an_answer_of_no_stated_length_ends_with_the_context(ask):
    messages = [{"role": "user", "content": "x" * 80}]  # and the end, and both roles
    found = ask.chat.completions.create(model="standin", messages=messages, seed=1)
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (83, 97)
    assert found.choices[0].finish_reason == "length"


def test_an_answer_never_forgets_its_question(ask):
    messages = [{"role": "user", "content": "x" * 80}]
    body = {"model": "standin", "messages": messages, "seed": 1}
    found = ask.chat.completions.create(**body, max_tokens=60)
    assert found.usage.total_tokens == 97
    assert found.choices[0].finish_reason == "length"
    plain = ask.chat.completions.create(**body)
    assert found.choices[0].message.content == plain.choices[0].message.content


def test_an_answer_that_was_begun_goes_on(ask):
    messages = [{"role": "user", "content": "Hi"}]
    body = {"model": "standin", "temperature": 0, "max_tokens": 12}
    whole = ask.chat.completions.create(**body, messages=messages).choices[0].message.content
    begun = [*messages, {"role": "assistant", "content": whole[:5]}]
    found = ask.chat.completions.create(**{**body, "max_tokens": 4}, messages=begun)
    assert whole[5:].startswith(found.choices[0].message.content)
    assert found.usage.prompt_tokens == 1 + 3 + 1 + len(whole[:5].encode())


def test_a_server_may_write_texts_longer_than_the_context():
    model = standin(length=20)
    with running(model, most_tokens=70) as (_, port), client(port) as ask:
        found = ask.completions.create(**{**BODY, "max_tokens": 70})
        with pytest.raises(openai.BadRequestError, match="from 1 to 70; got 71"):
            ask.completions.create(**{**BODY, "max_tokens": 71})
    assert found.choices[0].text == complete(model, ["ab"], most=70, seed=7)[0].text


def test_fields_that_change_nothing_are_let_pass(ask):
    ask.completions.create(**BODY, presence_penalty=0, frequency_penalty=0.0, user="me")
    messages = [{"role": "user", "content": "Hi"}]
    neutral = {"modalities": ["text"], "reasoning_effort": "none", "verbosity": "medium"}
    ask.chat.completions.create(model="standin", messages=messages, max_tokens=2, **neutral)


def test_metrics_count(server):
    before = numbers(server)
    assert sent(server, "/v1/completions", BODY)[0] == 200
    assert sent(server, "/v1/completions", {})[0] == 400
    assert sent(server, "/nowhere/1")[0] == 404
    after = numbers(server)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    path = 'likewise_requests_total{path="/v1/completions",status='
    assert grown[path + '"200"}'] == grown[path + '"400"}'] == 1
    assert grown['likewise_requests_total{path="other",status="404"}'] == 1
    assert grown["likewise_prompt_tokens_total"] == 2
    assert grown["likewise_generated_tokens_total"] == 24
    assert grown["likewise_request_seconds_count"] == 4  # one of them asked for the numbers
    bucket = 'likewise_request_seconds_bucket{le="+Inf"}'
    assert after[bucket] == after["likewise_request_seconds_count"]
    assert after["likewise_requests_running"] == after["likewise_requests_waiting"] == 0
    assert sent(server, "/health")[2] == {"status": "ok"}


def numbers(port):
    lines = sent(port, "/metrics")[2].splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
