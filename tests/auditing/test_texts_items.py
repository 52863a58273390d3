"""What in a text is personal: found as it is written, and nothing that only looks like it."""

import time

import pytest

from likewise.auditing.texts_items import is_card, is_iban, personal_data


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to Ann.B+x@mail.example.co.uk.", "e-mail", "ann.b+x@mail.example.co.uk"),
        ("write to ünal@exämple.com,", "e-mail", "ünal@exämple.com"),
        ("пишите: Иван@пример.рф", "e-mail", "иван@пример.рф"),
        ("call 707-763-2700 now", "phone", "7077632700"),
        ("(555) 123 4567", "phone", "5551234567"),
        ("call +49 (0)30 901820!", "phone", "49030901820"),
        ("appelez 01.23.45.67.89", "phone", "0123456789"),
        ("call 1-800-555-0199", "phone", "18005550199"),
        ("on 2019-03-12 10:30 call 707-763-2700", "phone", "7077632700"),
        ("call 030.123.45.67", "phone", "0301234567"),
        ("0 306 40615 2", "phone", "0306406152"),
        ("card 4111-1111-1111-1111,", "card", "4111111111111111"),
        ("amex 378282246310005", "card", "378282246310005"),
        ("amex 3782 822463 10005", "card", "378282246310005"),
        ("4111 1111 1111 1111 12/25", "card", "4111111111111111"),
        ("4111 1111 1111 1111 123", "card", "4111111111111111"),
        ("4111 1111 1111 1111 1225 123", "card", "4111111111111111"),
        ("4111-1111-1111-1111 exp 12/25 cvv 123", "card", "4111111111111111"),
        ("4111111111111111 123", "card", "4111111111111111"),
        ("4111111111111111/12/25", "card", "4111111111111111"),
        ("DE89 3704 0044 0532 0130 00 THANK YOU", "IBAN", "DE89370400440532013000"),
        ("GB82WEST12345698765432", "IBAN", "GB82WEST12345698765432"),
        ("gb82west12345698765432.", "IBAN", "GB82WEST12345698765432"),
        ("de89 3704 0044 0532 0130 00 for it", "IBAN", "DE89370400440532013000"),
        ("DE89-3704-0044-0532-0130-00", "IBAN", "DE89370400440532013000"),
    ],
)
def test_what_is_personal_is_found(text, kind, value):
    assert list(personal_data(text)) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "on 2024-11-21 at 12:30:45.123456",
        "2019-03-12 10:30",
        "from 12.03.2019 10.30 to 13/03/2019 11.30",
        "at 192.168.100.123",
        "192.168.100.123:8080, 10.0.0.255",
        "ISBN 978-3-16-148410-0",
        "978-3-16-148410-0",
        "ISBN-10: 0-306-40615-2",
        "ISBN 978-3-16-148410-0x",
        "1 2 3 4 5 6 7 8 9",
        "0-1-2-3-4-5-6-7-8-9",
        "1.5 2.5 3.5",
        "4111 1111 1111 1112",  # the last digit is wrong, and it is too long for a phone
        "DE89 3704 0044 0532 0130 01",
        "user @ example.org, a@b, ünal@exämple",
        "version 1234567890123",
        "3.14159265358979",
        "2019-2019-2019-2019-2019",
    ],
)
def test_what_is_not_is_not(text):
    assert personal_data(text) == {}


def test_check_digits_catch_any_single_slip():
    for known, passes in (("4539578763621486", is_card), ("FR1420041010050500013M02606", is_iban)):
        assert passes(known)
        for place, sign in enumerate(known):
            for other in "0123456789" if sign.isdigit() else ():
                changed = known[:place] + other + known[place + 1 :]
                assert passes(changed) == (other == sign)


@pytest.mark.parametrize(
    "part",
    ["a", "1", "1 ", "a.", "A1 ", "ab12", "ab12 ", "1.", "1-", "4111 ", "4111-", "a@b.", "@", "é",
     "2019-", "(1) ", "ISBN ", "DE89 3704 ", "255."],
)  # fmt: skip
def test_long_runs_of_signs_take_no_time(part):
    start = time.process_time()
    found = personal_data(part * (100_000 // len(part)))
    assert not [kind for kind, _ in found if kind != "phone"]
    assert time.process_time() - start < 2.0  # one second a megabyte and more would be quadratic
