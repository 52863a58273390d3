r"""Texts of a form: a regular expression, a JSON schema or a grammar that they must match.

Each token is drawn from the family's own distribution, among those alone with which the text can
still come to match (Willard and Louf, "Efficient guided generation for large language models",
2023). The llguidance library reads the forms and says which tokens those are; see its pages for
what a grammar (of Lark) and a schema may hold.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from likewise.core.errors import LikewiseError, UsageError, must
from likewise.tasks.codec import Codec, spelled

if TYPE_CHECKING:
    from llguidance import LLMatcher

Kind: TypeAlias = Literal["regex", "json", "grammar"]

INSTALL = "Texts of a form need the llguidance library: pip install 'likewise[text]'"
NAMES = {"regex": "a regular expression", "json": "a JSON schema", "grammar": "a grammar"}
LONGEST = 1 << 14  # characters: rules that call each other deeper than this overflow the library
KEPT = 64  # forms that are kept as they were read, for each model
SHOWN = 80  # characters of a form that an error repeats
SAID = 200  # characters of what the library says
SPACE = "( |\n {0,32})?"
"""Between the parts of JSON: a space, or a new line and its indent, so that it comes to an end."""


@dataclass(frozen=True)
class Form:
    r"""What a text must match as a whole.

    Attributes:
        kind: "regex", "json" for a JSON schema, or "grammar" for one in the syntax of Lark, whose
            first rule is `start`.
        text: the expression (in the syntax of Rust's, without look-around and back-references;
            a digit is one of 0 to 9), the schema as JSON, or the grammar; 16,384 characters at
            most.

    Raises:
        UsageError: the kind is unknown, or the text is too long or no UTF-8.

    Example:
        >>> Form("regex", r"[0-9]{4}-[0-9]{2}").kind
        'regex'
    """

    kind: Kind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in NAMES:
            raise UsageError(must("the kind of a form", f"one of {', '.join(NAMES)}", self.kind))
        if len(self.text) > LONGEST:
            be = f"of at most {LONGEST} characters"
            raise UsageError(must(NAMES[self.kind], be, len(self.text)))
        if any("\ud800" <= one <= "\udfff" for one in self.text):
            raise _refused(self, "text that UTF-8 can hold", "It has halves of characters.")


class Course:
    """What may come next in one text of a form.

    Args:
        matcher: of the library, which has taken up nothing yet.
        spelled: (tokens,) bool, which of the model's tokens are text.
        closing: tokens that close the text; they may come where it matches.

    Attributes:
        allowed: (tokens,) bool, which tokens may come next.
        matches: whether the text matches as it is.
        over: whether no more text may come. Where it does not match, the tokens of the model
            cannot go on as the form wants it.
    """

    def __init__(self, matcher: "LLMatcher", spelled: Tensor, closing: Collection[int]) -> None:
        self._matcher, self._spelled, self._closing = matcher, spelled, list(closing)
        self._look()

    def take(self, token: int) -> None:
        """Take up one more token of the text."""
        self._matcher.consume_token(token)
        self._look()

    def limited(self, logits: Tensor) -> Tensor:
        """Logits (tokens,), those of tokens that may not come next at -inf."""
        allowed = self.allowed.to(logits.device)
        left = logits.masked_fill(~allowed, -torch.inf)
        # what the family holds for impossible is all that may come: any of it is as good
        none = left.isneginf().all()
        return torch.where(none & allowed, torch.zeros_like(left), left)

    def _look(self) -> None:
        """Find out what may come next."""
        found = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)
        able = not self._matcher.is_error()
        self.allowed = torch.from_numpy(found > 0) & self._spelled & able
        self.matches = able and self._matcher.is_accepting()
        self.over = not bool(self.allowed.any())
        self.allowed[self._closing] = self.matches


def course(codec: Codec, form: Form, tokens: int, over: Collection[int] = ()) -> Course:
    """What follows a form from its beginning.

    Args:
        codec: of the model.
        form: that the text must match.
        tokens: how many the model has, those of the codec among them.
        over: tokens besides the codec's `end` that close a text.

    Raises:
        UsageError: the form cannot be read, or not be written with the tokens of the model.
        LikewiseError: the llguidance library is missing.
    """
    words = _words(codec, tokens)
    return Course(words.matcher(form).deep_copy(), words.spelled, {codec.end, *over})


def check_form(codec: Codec, form: Form, tokens: int) -> None:
    """Raise what `course` raises; a form that was read before is not read again."""
    _words(codec, tokens).matcher(form)


def _words(codec: Codec, tokens: int) -> "_Words":
    known = _KNOWN.get(codec)
    if known is None or len(known.spelled) != tokens:
        _KNOWN[codec] = known = _Words(codec, tokens)
    return known


class _Words:
    """The tokens of a model, as the library knows them, and the forms that were read for them."""

    def __init__(self, codec: Codec, tokens: int) -> None:
        kit = library()
        pieces = spelled(codec)[:tokens]
        pieces += [b""] * (tokens - len(pieces))
        self.spelled = torch.tensor([bool(piece) for piece in pieces])
        self._letters = _letters(pieces)
        self._tokenizer = kit.LLTokenizer(kit.TokenizerWrapper(_Plain(pieces, codec.end)))
        self._read: dict[Form, LLMatcher] = {}

    def matcher(self, form: Form) -> "LLMatcher":
        """What matches a form from its beginning, to be copied; UsageError if it cannot be."""
        found = self._read.get(form)
        if found is None:
            found = self._made(form)
            first = Course(found.deep_copy(), self.spelled, ())
            if first.over and not first.matches:
                remedy = "Take a model that was trained on such texts, or one that reads bytes."
                raise _refused(
                    form, "one that can be written with the tokens of this model", remedy
                )
            if len(self._read) >= KEPT:
                self._read.clear()
            self._read[form] = found
        return found

    def _made(self, form: Form) -> "LLMatcher":
        kit = library()
        # let the family choose the tokens of text that is certain, as it does of any other
        grammar = _lark(form, self._letters) + '\n%llguidance {"no_forcing": true}'
        whole = json.dumps({"grammars": [{"lark_grammar": grammar}]})
        limits = kit.LLParserLimits(verbose_errors=False)
        made: LLMatcher = kit.LLMatcher(self._tokenizer, whole, log_level=0, limits=limits)
        if made.is_error():
            be = "one that the llguidance library can read"
            raise _refused(form, be, _why(form, made.get_error()))
        return made


_KNOWN: "WeakKeyDictionary[Codec, _Words]" = WeakKeyDictionary()


class _Plain:
    """A list of tokens, in the shape that the library asks for; tokens without bytes are special.

    Args:
        tokens: the bytes of each.
        end: the token that closes a text.
    """

    bos_token_id = None

    def __init__(self, tokens: Sequence[bytes], end: int) -> None:
        self.tokens, self.eos_token_id = tokens, end
        self.special_token_ids = [i for i, piece in enumerate(tokens) if not piece]

    def __call__(self, text: bytes) -> list[int]:
        """The tokens of a text, which is asked only where text is forced: it never is here."""
        return []


def library() -> Any:
    """The llguidance library; LikewiseError with its install line where it is missing."""
    try:
        import llguidance
    except ImportError as error:
        raise LikewiseError(INSTALL) from error
    return llguidance


def _letters(pieces: Sequence[bytes]) -> str:
    """The characters of all tokens, as in a class of a regex; "" where any text can be written."""
    if {bytes([byte]) for byte in range(256)} <= set(pieces):
        return ""
    letters = {one for piece in pieces for one in piece.decode("utf-8", "ignore")}
    return "".join(f"\\x{{{ord(one):x}}}" for one in sorted(letters))


def _lark(form: Form, letters: str) -> str:
    """A form as a grammar of Lark."""
    if form.kind == "grammar":
        return form.text
    if form.kind == "json":
        return f"start: %json {json.dumps(_schema(form))}"
    pattern = library().regex_to_lark(form.text, "d")
    able = f" & /[{letters}]*/" if letters else ""
    return f"start: TEXT\nTEXT: /{pattern}/{able}"


def _schema(form: Form) -> dict[str, Any]:
    """A JSON schema, and what stands between the parts, unless it says so itself."""
    try:
        schema = json.loads(form.text)
    except (ValueError, RecursionError) as error:
        raise _refused(form, "JSON", f"It cannot be read ({error}).") from error
    if not isinstance(schema, dict):
        raise _refused(form, "an object of JSON", 'The least is {"type": "object"}.')
    return {"x-guidance": {"whitespace_pattern": SPACE}} | schema


def _refused(form: Form, be: str, remedy: str) -> UsageError:
    text = form.text
    shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    return UsageError(must(NAMES[form.kind], be, shown, remedy))


def _why(form: Form, said: str) -> str:
    """A sentence of what the library says of a form that it cannot read."""
    inner = re.search(r"^error: (.+)", said, re.MULTILINE)  # a regex's own, below a picture of it
    why = inner[1] if inner else said.split("\n")[0]
    place = re.match(r"(?:at )?(\d+)\((\d+)\): ", said)
    if place and not inner:
        why = why[place.end() :]
    if place and form.kind == "grammar":  # of the others it is one in what we made of them
        why = f"line {place[1]}, column {place[2]}: {why}"
    return f"It says: {why[:SAID].rstrip('.')}."
