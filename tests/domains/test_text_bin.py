"""Files of token numbers."""

import json

import numpy as np
import pytest

from likewise.core.errors import DataError
from likewise.domains.text import Text, token_files

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture
def made(tmp_path):
    """Documents, the tokenizer.json, and the .bin that holds them."""
    texts = [f"the cat number {row} sat on the mat and saw a dog" for row in range(60)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ids = [id_ for text in texts for id_ in (*tokenizer.encode(text).ids, 0)]
    np.array(ids, dtype=np.uint16).tofile(tmp_path / "train.bin")
    return texts, tmp_path / "tokenizer.json", tmp_path / "train.bin"


def test_documents_come_back(made):
    texts, tokenizer, path = made
    records = Text.load(path, tokenizer=str(tokenizer))
    assert list(records.items) == texts
    domain = Text()
    domain.fit(records)
    words = domain.codec.vocabulary
    assert words.decode(words.encode([texts[3]])[0]) == texts[3]


def test_numbers_of_four_bytes_are_known(made):
    texts, tokenizer, path = made
    np.fromfile(path, dtype=np.uint16).astype(np.uint32).tofile(path)
    assert list(Text.load(path, tokenizer=str(tokenizer)).items) == texts


def test_many_tokens_need_four_bytes(tmp_path):
    for size, each, word in ((1 << 16, 2, "two"), ((1 << 16) + 1, 4, "four")):
        path = tmp_path / f"{size}.bin"
        np.array([1, 2, 3], dtype=f"<u{each}").tofile(path)
        assert token_files._numbers(path, size).tolist() == [1, 2, 3]
        path.write_bytes(b"a" * (2 * each - 1))
        with pytest.raises(DataError, match=f"uint{8 * each} numbers, {word} bytes each"):
            token_files._numbers(path, size)


def test_numbers_alone_say_nothing(made):
    with pytest.raises(DataError, match=r"Name the tokenizer.json .* nothing is unpickled"):
        Text.load(made[2])


def test_other_numbers_are_refused(made, tmp_path):
    _, tokenizer, path = made
    np.array([1, 60_000], dtype=np.uint16).tofile(path)
    with pytest.raises(DataError, match="must be tokens below 300"):
        Text.load(path, tokenizer=str(tokenizer))
    path.write_bytes(b"abc")
    with pytest.raises(DataError, match="must be uint16 numbers, two bytes each; got '3 bytes'"):
        Text.load(path, tokenizer=str(tokenizer))
    tokenizer.write_text(json.dumps(["no"]))
    with pytest.raises(DataError, match=r"is no tokenizer.json"):
        Text.load(path, tokenizer=str(tokenizer))
