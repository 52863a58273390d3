"""Tokenisers to Hugging Face: the same numbers, dialogues, and what else an export says."""

import json

import pytest

from likewise.core import registry
from likewise.workbench.exchange import export
from tests.workbench.exchanging import OURS, TEXTS, codec, hf, model_of

__all__ = ["hf"]  # a fixture

STRANGE = ["", "café 🙂", "To be\n\n  or not", " two  spaces ", "Zürich, 東京 and \ttabs"]


def chatty(folder):
    lines = [
        [{"role": "user", "content": f"Hi {i}"}, {"role": "assistant", "content": f"Yo {3 * i}!"}]
        for i in range(30)
    ]
    path = folder / "chat.jsonl"
    path.write_text("\n".join(json.dumps({"messages": line}) for line in lines))
    domain = registry.get("domains", "text")()
    domain.fit(type(domain).load(path, tokenizer="bpe", vocabulary=280))
    return domain


@pytest.mark.parametrize(
    "options",
    [{"tokenizer": "characters"}, {"tokenizer": "bytes"}, {"tokenizer": "bpe", "vocabulary": 300}],
    ids=str,
)
def test_their_tokeniser_gives_the_same_numbers(hf, tmp_path, options):
    domain = codec(**options)
    words, space = domain.codec.vocabulary, domain.views()[-1]
    export(model_of(OURS["llama"], domain), tmp_path / "out")
    theirs = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(theirs) == space.tokens
    assert (theirs.bos_token_id, theirs.eos_token_id) == (space.end, space.end)
    assert theirs.pad_token_id == space.pad
    for text, ids in zip(TEXTS + STRANGE, words.encode(TEXTS + STRANGE), strict=True):
        assert theirs(text, add_special_tokens=False).input_ids == ids.tolist()
        assert theirs(text).input_ids == [space.end, *ids.tolist()]  # whole texts begin
        if words.unknown not in ids:
            assert theirs.decode(ids.tolist()) == text


def test_pieces_of_long_texts_do_not_begin(hf, tmp_path):
    domain = codec(tokenizer="bytes")
    domain = type(domain).from_state({**domain.state(), "whole": False})
    export(model_of(OURS["llama"], domain), tmp_path / "out")
    assert hf.AutoTokenizer.from_pretrained(tmp_path / "out")("ab").input_ids == [97, 98]


def test_a_dialogue_is_the_prompt_of_the_domain(hf, tmp_path):
    domain = chatty(tmp_path)
    space = domain.views()[-1]
    export(model_of(OURS["llama"], domain), tmp_path / "out")
    theirs = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    messages = [{"role": "system", "content": "Be"}, {"role": "user", "content": " Hi 3 "}]
    prompt, _ = domain.condition({"prompt": messages}, 1)["prompt"]
    found = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert found == prompt[0].tolist()
    with pytest.raises(Exception, match="a role must be system, user or assistant"):
        theirs.apply_chat_template([{"role": "tool", "content": ""}])
    closing = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    marks = [domain.codec.vocabulary.assistant - 2, domain.codec.vocabulary.assistant - 1]
    assert closing["eos_token_id"] == [space.end, *marks]
    assert closing["suppress_tokens"] == [space.pad]


def test_a_taken_name_is_not_taken_twice(tmp_path):
    kit = pytest.importorskip("tokenizers")
    alphabet = sorted(kit.pre_tokenizers.ByteLevel.alphabet())
    made = kit.Tokenizer(kit.models.BPE({one: i for i, one in enumerate(alphabet)}, []))
    made.pre_tokenizer = kit.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = kit.decoders.ByteLevel()
    made.add_special_tokens(["<|end|>"])
    made.save(str(tmp_path / "tokenizer.json"))
    domain = codec(tokenizer=str(tmp_path / "tokenizer.json"))
    export(model_of(OURS["llama"], domain), tmp_path / "out")
    written = kit.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert [written.id_to_token(i) for i in (256, 257, 258)] == ["<|end|>", "<<|end|>>", "<|pad|>"]


def test_what_else_an_export_says(tmp_path):
    model = model_of(OURS["llama"])
    folder = export(model, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "likewise.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    readme = (folder / "README.md").read_text()
    assert f"a transformer of {model.parameters:,} parameters" in readme
    assert "data with the fingerprint `f00d`" in readme
