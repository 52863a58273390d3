"""What in a text is personal: addresses and numbers of persons, found by how they are written.

Found are e-mail addresses in any script, phone numbers, card numbers (their last digit checks the
others: Luhn, US patent 2,950,048, 1960) and IBANs (they leave 1 when divided by 97: ISO 13616).
Dates, addresses of machines and numbers of books look like phone numbers, and are put aside first.
Cannot see names, streets, or numbers written otherwise.

Every pattern is bounded and reads a text once: what may follow is told by its first sign.
"""

import re
from collections.abc import Iterator
from typing import TypeAlias

Item: TypeAlias = tuple[str, str]  # kind, value

EMAIL = re.compile(
    r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:(?:[^\W_]|-){1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)
IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}"
    r"(?:[A-Za-z0-9]{11,30}|(?:[ -][A-Za-z0-9]{4}(?![A-Za-z0-9])){2,7}(?:[ -][A-Za-z0-9]{1,3})?)"
    r"(?![A-Za-z0-9])"
)
CARD = re.compile(
    r"(?<![\w-])(?<!\d )[2-6]\d{3}"
    r"(?:\d{9,15}|(?P<gap>[ -])(?:\d{6}(?P=gap)\d{4,5}|\d{4}(?P=gap)\d{4}(?P=gap)\d{1,4}"
    r"(?:(?P=gap)\d{3})?))(?!\w|-\d)"
)
PHONE = re.compile(
    r"(?<![\w.+-])(?<!\d[ ().])(?:\+|\()?\d(?:[ ().-]{0,2}\d){7,14}(?![ ().-]{0,2}\d)(?![\w-])"
)
DATE = re.compile(
    r"(?<![\d+])(?<!\d[-/.])(?:\d{4}([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2\d{4})(?!\d)(?![-/.]\d)"
)
MACHINE = re.compile(  # four numbers of at most 255
    r"(?<![\d+])(?<!\d\.)(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?=\d)|(?!\d))){4}(?<!\.)"
    r"(?!\.\d)"
)
BOOK = re.compile(r"(?<![\w-])(?:ISBN(?:-1[03])?:? ?)?(?:\d[ -]?){9,12}[\dXx](?![\w-])")


def personal_data(text: str) -> dict[Item, str]:
    """{(kind, value in one spelling): as it is written} of all that is found in a text.

    Example:
        >>> personal_data("Ask Ann@example.org or +44 20 7946 0018.").keys()
        dict_keys([('e-mail', 'ann@example.org'), ('phone', '442079460018')])
    """
    mails = EMAIL.finditer(text) if "@" in text else ()
    found = {("e-mail", match[0].lower()): match[0] for match in mails}
    if not any(sign.isdigit() for sign in text):
        return found
    for written in _ibans(text):
        found["IBAN", _plain(written)] = written
        text = text.replace(written, " ")
    for written in _cards(text):
        found["card", _digits(written)] = written
        text = text.replace(written, " ")
    for match in PHONE.finditer(_without_others(text)):
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
    """Whether an IBAN, spaces and dashes aside, leaves 1 when divided by 97.

    Example:
        >>> is_iban("GB82 WEST 1234 5698 7654 32"), is_iban("GB82 WEST 1234 5698 7654 33")
        (True, False)
    """
    plain = _plain(number)
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _ibans(text: str) -> Iterator[str]:
    """Each IBAN, without words that follow it; one of letters alone is none."""
    for match in IBAN.finditer(text):
        shorter = [written for written in _shorter(match[0]) if len(_digits(written)) >= 8]
        yield from [written for written in shorter if is_iban(written)][:1]


def _cards(text: str) -> Iterator[str]:
    """Each card number, without the three digits of a security code that may follow it."""
    for match in CARD.finditer(text):
        shorter = [written for written in _shorter(match[0]) if len(_digits(written)) >= 13]
        yield from [written for written in reversed(shorter) if is_card(written)][:1]


def _shorter(written: str) -> list[str]:
    """What is written, and all of it that ends with a group before the last."""
    ends = [match.start() for match in re.finditer("[ -]", written)]
    return [written[:end] for end in (len(written), *reversed(ends))]


def _without_others(text: str) -> str:
    """A text without dates, addresses of machines and numbers of books."""
    for pattern in (DATE, MACHINE):
        text = pattern.sub(",", text)
    return BOOK.sub(lambda match: "," if _is_book(match[0]) else match[0], text)


def _is_book(written: str) -> bool:
    """Whether it is called an ISBN, or is one of 13 digits whose last checks the others."""
    digits = _digits(written)
    if not written[0].isdigit():
        return True
    checked = sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits))
    return len(digits) == 13 and digits[:3] in ("978", "979") and checked % 10 == 0


def _is_phone(written: str) -> bool:
    """Nine to fifteen digits that are set apart as phone numbers are, or begin as they do."""
    groups = re.findall(r"\d+", written)
    count, single = sum(map(len, groups)), sum(len(group) == 1 for group in groups)
    apart = written[0] in "+(0" or len(groups) >= 3
    return 9 <= count <= 15 and apart and 2 * single <= len(groups)


def _plain(number: str) -> str:
    return number.replace(" ", "").replace("-", "").upper()


def _digits(written: str) -> str:
    return "".join(sign for sign in written if sign.isdigit())
