"""Completing texts, and talking."""

import pytest

from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.tasks.codec import codec_of
from likewise.tasks.texts import Conversation, complete, dialogue, opened, stream
from tests.serve.standin import END, ROLES, impatient, standin

GREEDY = Controls(temperature=0.0)
MODEL = standin(length=96)


def test_texts_are_those_of_the_model_s_samples():
    model = standin(length=48, roles=False, endless=False)
    prompts = ["ab", "", "a longer one"]
    found = complete(model, prompts, seed=3, slots=2)
    records = model.sample(3, {"prompt": prompts}, seed=3)
    assert [one.text for one in found] == list(records.items)


def test_prompts_may_be_tokens():
    text, tokens = complete(MODEL, ["ab", list(b"ab")], most=5, controls=GREEDY)
    assert text == tokens
    assert len(text.tokens) == len(text.log_probs) == 5


def test_a_stream_is_the_completion():
    (whole,) = complete(MODEL, ["ab"], most=40, seed=2)
    pieces = list(stream(MODEL, "ab", most=40, seed=2))
    assert "".join(pieces) == whole.text
    assert len(pieces) > 20
    short = "".join(stream(MODEL, "ab", most=40, seed=2, stop=[whole.text[9:12]]))
    assert short == whole.text[: whole.text.index(whole.text[9:12])]


def test_a_stream_refuses_at_once():
    with pytest.raises(UsageError, match="a prompt must be of 1 to 96 tokens"):
        stream(MODEL, [65] * 97)


def test_a_dialogue_is_the_turns_with_the_tokens_of_their_roles():
    turns = [{"role": "user", "content": " Hi "}, {"role": "assistant", "content": "Yo"}]
    spoken = dialogue(codec_of(MODEL), turns)
    assert spoken == [[ROLES["user"], *b"Hi"], [ROLES["assistant"], *b"Yo"]]
    assert opened(codec_of(MODEL), spoken[:1]) == [END, *spoken[0], ROLES["assistant"]]
    assert opened(codec_of(MODEL), spoken) == [END, *spoken[0], *spoken[1]]  # it goes on
    with pytest.raises(UsageError, match="a role must be one of system, user, assistant; got 'x'"):
        dialogue(codec_of(MODEL), [{"role": "x", "content": ""}])


def test_a_model_of_dialogues_must_be_asked_something():
    for prompt in ("", " \n"):
        with pytest.raises(UsageError, match=r"a prompt must be what this model of dialogues ans"):
            complete(MODEL, ["ab", prompt])
        with pytest.raises(UsageError, match="Ask something"):
            stream(MODEL, prompt)


def test_a_conversation_reads_what_was_said_before():
    talk = Conversation(MODEL, "Be kind.", most=8, controls=GREEDY)
    first = "".join(talk.say("Hi"))
    second = "".join(talk.say("And?"))
    turns = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And?"},
    ]
    read = opened(codec_of(MODEL), dialogue(codec_of(MODEL), turns))
    (wanted,) = complete(MODEL, [read], most=8, controls=GREEDY)
    assert second == wanted.text
    assert talk.turns == [*turns[1:], {"role": "assistant", "content": second}]
    assert talk.forgotten == 0


def test_an_answer_ends_at_the_next_role():
    answer = "".join(Conversation(impatient(after=5), most=20).say("Hi"))
    assert 0 < len(answer) <= 5
    assert not any("\ue000" <= letter <= "\ue002" for letter in answer)


def test_the_oldest_turns_are_left_out_where_the_context_is_full():
    talk = Conversation(MODEL, "Be kind.", most=10, controls=GREEDY)
    left = []
    for _ in range(5):
        "".join(talk.say("0123456789"))
        left.append(talk.forgotten)
    assert left[0] == 0
    assert left[-1] > 0
    assert left == sorted(left)
    assert not any(number % 2 for number in left)
    kept = [{"role": "system", "content": "Be kind."}, *talk.turns[left[-1] : -1]]
    read = opened(codec_of(MODEL), dialogue(codec_of(MODEL), kept))
    assert len(read) <= 97 - 10
    (wanted,) = complete(MODEL, [read], most=10, controls=GREEDY)
    assert talk.turns[-1]["content"] == wanted.text


def test_what_is_too_long_to_say_is_refused_and_the_talk_goes_on():
    talk = Conversation(MODEL, most=10)
    with pytest.raises(UsageError, match=r"must be of at most 87 tokens.*fewer words"):
        talk.say("x" * 90)
    assert talk.turns == []
    assert list(talk.say("x"))


def test_an_answer_that_is_left_half_way_is_kept_as_far_as_it_was_given():
    talk = Conversation(MODEL, most=10, controls=GREEDY)
    answer = talk.say("Hi")
    first = next(answer)
    answer.close()
    assert talk.turns[-1] == {"role": "assistant", "content": first}


def test_answers_draw_anew_and_equal_seeds_give_equal_talks():
    def talk(seed):
        one = Conversation(MODEL, most=12, seed=seed)
        return ["".join(one.say("Hi")), "".join(one.say("Hi"))]

    assert talk(1) == talk(1)
    assert talk(1) != talk(2)


def test_a_model_without_roles_cannot_talk_and_says_what_to_train_on():
    with pytest.raises(UsageError, match=r'not trained on dialogues.*"messages"'):
        Conversation(standin(roles=False))
    with pytest.raises(UsageError, match="most must be from 1 to 93"):
        Conversation(MODEL, most=94)
