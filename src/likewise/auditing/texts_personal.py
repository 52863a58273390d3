"""Personal data: do samples hold addresses and numbers of persons that stand in train?

Found are e-mail addresses, phone numbers, card numbers (their last digit checks the others: Luhn,
US patent 2,950,048, 1960) and IBANs (they leave 1 when divided by 97: ISO 13616). A number that
stands in a sample *and* in train was learned, or is public; so the effect is the share of samples
with such an item beyond that share among texts that were never trained on. Cannot see names,
streets, or numbers written otherwise.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from likewise.auditing.rule import Effect, Rule
from likewise.auditing.texts import Texts, compared

Item: TypeAlias = tuple[str, str]  # kind, value

MATTERS = 0.02
PLANTED = 5  # every fifth text of the positive control holds an item of train

EMAIL = re.compile(
    r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"
)
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,9}(?![A-Za-z0-9])")
CARD = re.compile(r"(?<![\w-])(?<!\d )[2-6](?:[ -]?\d){12,18}(?! ?[\d-])")
PHONE = re.compile(
    r"(?<![\w.+-])(?<!\d[ ().])(?:\+|\()?\d(?:[ ().-]{0,2}\d){7,14}(?![ ().-]{0,2}\d)(?![\w-])"
)


def personal_data(text: str) -> dict[Item, str]:
    """{(kind, value in one spelling): as it is written} of all that is found in a text.

    Example:
        >>> personal_data("Ask Ann@example.org or +44 20 7946 0018.").keys()
        dict_keys([('e-mail', 'ann@example.org'), ('phone', '442079460018')])
    """
    found = {("e-mail", match[0].lower()): match[0] for match in EMAIL.finditer(text)}
    if not any(sign.isdigit() for sign in text):
        return found
    for written in _ibans(text):
        found["IBAN", written.replace(" ", "")] = written
        text = text.replace(written, " ")
    for match in CARD.finditer(text):
        if is_card(match[0]):
            found["card", _digits(match[0])] = match[0]
            text = text.replace(match[0], " ")
    for match in PHONE.finditer(text):
        if _is_phone(match[0]):
            found["phone", _digits(match[0])] = match[0]
    return found


def is_card(number: str) -> bool:
    """Whether digits, spaces and dashes aside, pass the test of Luhn.

    Example:
        >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112")
        (True, False)
    """
    digits = [int(digit) for digit in reversed(_digits(number))]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def is_iban(number: str) -> bool:
    """Whether an IBAN, spaces aside, leaves 1 when divided by 97.

    Example:
        >>> is_iban("GB82 WEST 1234 5698 7654 32"), is_iban("GB82 WEST 1234 5698 7654 33")
        (True, False)
    """
    plain = number.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _ibans(text: str) -> Iterator[str]:
    """Each IBAN, without words in capitals that follow it."""
    for match in IBAN.finditer(text):
        groups = match[0].split(" ")
        shorter = (" ".join(groups[:end]) for end in range(len(groups), 0, -1))
        yield from [written for written in shorter if is_iban(written)][:1]


def _is_phone(written: str) -> bool:
    """Nine to fifteen digits that are set apart as phone numbers are, or begin as they do."""
    digits, gaps = _digits(written), re.findall(r"[ ().-]+", written.strip("()"))
    return 9 <= len(digits) <= 15 and (written[0] in "+(0" or len(gaps) >= 2)


def _digits(written: str) -> str:
    return "".join(sign for sign in written if sign.isdigit())


# -- the rule -------------------------------------------------------------------------------


def _known(texts: Texts) -> dict[Item, str]:
    """All personal data of train, found once."""

    def find() -> dict[Item, str]:
        found: dict[Item, str] = {}
        for text in texts.reference.train:
            found |= personal_data(text)
        return found

    return texts.reference.once("personal data", find)


def _holding(texts: Sequence[str], known: dict[Item, str]) -> tuple[int, set[Item]]:
    """How many texts hold an item that is known, and which items."""
    found = [personal_data(text).keys() & known.keys() for text in texts]
    return sum(map(bool, found)), set().union(*found)


def _effect(texts: Texts, level: float) -> Effect:
    real, known = texts.reference, _known(texts)
    base, _ = real.once("personal data held out", lambda: _holding(real.held_out, known))
    count, items = _holding(texts.samples, known)
    n, m = len(texts.samples), len(real.held_out)
    kinds = sorted(kind for kind, _ in items)
    return replace(
        compared(count, n, base, m, level, MATTERS),
        sentence=(
            f"{count} of {n} samples hold personal data of training texts "
            f"({len(items)} of {len(known)} items), and {base} of {m} texts that were never "
            f"trained on."
        ),
        evidence={
            "samples": count,
            "items": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
            "items_of_train": len(known),
        },
    )


def _holds_none(texts: Texts) -> str | None:
    if _known(texts):
        return None
    return "train holds no e-mail address, phone number, card number or IBAN"


def _planted(texts: Texts) -> Texts:
    """Test texts, an item of train that none of them holds behind every fifth."""
    real, known = texts.reference, _known(texts)
    held_out = set().union(*(personal_data(text).keys() for text in real.held_out))
    items = [written for item, written in known.items() if item not in held_out] or [
        *known.values()
    ]
    samples = [
        text if row % PLANTED else f"{text} {items[row % len(items)]} "
        for row, text in enumerate(real.test)
    ]
    return replace(texts, samples=samples)


PERSONAL_DATA = Rule(
    name="personal data",
    effect=_effect,
    positive=_planted,
    negative=Texts.untrained,
    applies=_holds_none,
)
