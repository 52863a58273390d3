"""Files of token numbers, as small code bases write them: uint16 or uint32 numbers, `.bin`.

They say nothing of the tokens, so they need the tokenizer.json that made them. A `meta.pkl` beside
them is never read: nothing is unpickled here. A folder of them holds `train.bin`, and perhaps
`val.bin` and `test.bin`; what they were made of may stand beside them and is not read again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.errors import DataError, StoreError, must
from likewise.core.parts import CALLED
from likewise.domains.text.files import TEXTS
from likewise.domains.text.tokenise import Tokeniser, tokeniser_from
from likewise.store.files import read_json

ENDING = ".bin"
AT_ONCE = 1 << 20  # tokens
FEW = 1 << 16  # tokens that two bytes can number
ENDS = ("<|endoftext|>", "</s>", "<|end|>", "<eos>")
TOKENIZER = "tokenizer.json"


def parts(root: Path) -> list[tuple[Path, str]]:
    """The files of tokens at the top of a folder with their parts; none without a train.bin."""
    if not (root / f"train{ENDING}").is_file():
        return []
    found = [(root / f"{name}{ENDING}", part) for name, part in CALLED.items()]
    return [(path, part) for path, part in found if path.is_file()]


def tokenizer_of(root: Path, named: str) -> str:
    """The tokenizer.json of a folder of tokens: the one that is named, or the one in it.

    Raises:
        DataError: there is none.
    """
    if named.endswith(".json"):
        return named
    if (root / TOKENIZER).is_file():
        return str(root / TOKENIZER)
    texts = sorted(path.name for path in root.iterdir() if path.suffix.lower() in TEXTS)
    remedy = f", or bring the text itself, if it is '{root / texts[0]}'" if texts else ""
    raise DataError(
        f"'{root}' holds numbers of tokens, not what they stand for. Put the {TOKENIZER} that "
        f"made them beside them, name it with tokenizer=PATH{remedy} (a meta.pkl is not read: "
        "nothing is unpickled)."
    )


def texts(path: Path, tokenizer: str) -> Iterator[str]:
    """The documents of a file of tokens, one after another, split where a text ends.

    Args:
        path: of uint16 numbers, or of uint32 numbers, see `_numbers`.
        tokenizer: the path of the tokenizer.json that made them.

    Raises:
        DataError: there is no tokenizer.json, the file is cut, or a token is none of its own.
    """
    if not tokenizer.endswith(".json"):
        raise DataError(
            f"'{path}' holds numbers of tokens, not what they stand for. Name the tokenizer.json "
            f"that made them, with tokenizer=PATH (a meta.pkl is not read: nothing is unpickled)."
        )
    tokeniser, ends = _tokeniser(Path(tokenizer).expanduser())
    tokens = _numbers(path, tokeniser.size)
    if int(tokens.max()) >= tokeniser.size:
        wanted = f"tokens below {tokeniser.size:,}, as '{tokenizer}' has them"
        raise DataError(must(f"'{path}'", wanted, int(tokens.max())))
    yield from _documents(tokens, tokeniser, ends)


def _numbers(path: Path, known: int) -> Any:
    """The numbers of a file, mapped: of four bytes where two would not do for the `known` tokens,
    or every second number of two bytes is 0; else of two.

    Raises:
        DataError: the file is empty or cut.
    """
    size, wide = path.stat().st_size, known > FEW
    if size and size % 4 == 0 and not wide:
        wide = not np.memmap(path, dtype="<u2", mode="r")[1::2].any()
    each = 4 if wide else 2
    if size % each or not size:
        be = f"uint{8 * each} numbers, {'four' if wide else 'two'} bytes each"
        raise DataError(must(f"'{path}'", be, f"{size} bytes"))
    return np.memmap(path, dtype=f"<u{each}", mode="r")


def _documents(tokens: Any, tokeniser: Tokeniser, ends: list[int]) -> Iterator[str]:
    """Texts between tokens that end one; a part of the file at a time."""
    first = 0
    for start in range(0, len(tokens), AT_ONCE):
        part = tokens[start : start + AT_ONCE]
        for place in (start + np.flatnonzero(np.isin(part, ends))).tolist():
            if place > first:
                yield tokeniser.decode(tokens[first:place].astype(np.int64))
            first = place + 1
    if first < len(tokens):
        yield tokeniser.decode(tokens[first:].astype(np.int64))


def _tokeniser(path: Path) -> tuple[Tokeniser, list[int]]:
    """The tokeniser of a tokenizer.json, and its tokens that end a text."""
    try:
        data = read_json(path)
        tokeniser = tokeniser_from({"kind": "subwords", "tokenizer": data})
        added = data.get("added_tokens", [])
        ends = [int(one["id"]) for one in added if one.get("content") in ENDS]
    except (StoreError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"'{path}' is no tokenizer.json ({error}).") from error
    return tokeniser, ends
