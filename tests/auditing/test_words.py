"""Words of groups that a person gives: what is checked, and the rule that they make."""

import json
from dataclasses import replace

import pytest

from likewise.auditing.texts import RealTexts, Texts
from likewise.auditing.texts_balance import checked
from likewise.auditing.texts_rules import audit_texts, texts_left_out
from likewise.core.errors import StoreError, UsageError
from likewise.workbench.texts import words_file
from tests.auditing.test_texts_balance import talk

GROUPS = {"women": ["she", "her"], "men": ["he", "him"]}


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({}, r"groups must be at least two lists of words; got \[\]\. Write them as \{\"women\""),
        ({"women": ["she"]}, r"at least two lists of words; got \['women'\]"),
        (["she", "he"], "at least two lists of words; got 'list'"),
        ("she", "at least two lists of words; got 'str'"),
        (None, "at least two lists of words; got 'NoneType'"),
        ({f"g{i}": [f"w{i}"] for i in range(17)}, "groups must be 16 at most; got 17"),
        ({"women": "she", "men": ["he"]}, r"group 'women' must be a list of words; got 'str'"),
        ({"women": [], "men": ["he"]}, r"group 'women' must be a list of words; got \[\]"),
        ({"women": None, "men": ["he"]}, r"group 'women' must be a list of words; got None"),
        ({"women": ["she", 3], "men": ["he"]}, r"of group 'women' must be single words.*\[3"),
        ({"a": ["the queen"], "b": ["he"]}, r"got \['the queen'\]\. A phrase, or a part of a"),
        ({"a": ["don't"], "b": ["he"]}, r"got \[\"don't\"\]"),
        ({"a": [""], "b": ["he"]}, r"got \[''\]"),
        ({"": ["she"], "b": ["he"]}, "the name of a group must be of 1 to 40 characters; got ''"),
        ({"a" * 41: ["she"], "b": ["he"]}, "the name of a group must be of 1 to 40 characters"),
        ({"a\x1b": ["she"], "b": ["he"]}, r"the name of a group must be printable; got 'a\\x1b'"),
        ({"a\ud800": ["she"], "b": ["he"]}, "the name of a group must be printable"),
        ({"a": ["She"], "b": ["she", "he"]}, r"words of groups must be in one group.*\['s"),
    ],
)  # fmt: skip
def test_groups_that_cannot_be_judged_are_refused(groups, said):
    with pytest.raises(UsageError, match=said):
        checked(groups)


def test_a_word_may_be_there_twice_and_in_any_script():
    groups = {"frauen": ["sie", "Sie", "königin"], "男": ["他"]}
    assert checked(groups) is groups


def test_a_file_of_words_is_read(tmp_path):
    path = tmp_path / "words.json"
    path.write_text(json.dumps(GROUPS))
    assert words_file(path) == GROUPS
    for content, kind, said in (
        ("[", StoreError, "words.json is damaged"),
        ("", StoreError, "words.json is damaged"),
        (b"\xff\xfe\x00", StoreError, "words.json is damaged"),
        ('{"women": ["she"]}', UsageError, "at least two lists of words"),
        (json.dumps({"a": ["x" * 70_000], "b": ["y"]}), UsageError, "must be of at most 64 KiB"),
    ):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(kind, match=said):
            words_file(path)
    for place in (tmp_path, tmp_path / "nowhere.json"):
        with pytest.raises(UsageError, match=r"words must be a file of JSON; got .*\"women\""):
            words_file(place)


def test_the_audit_has_a_finding_for_the_groups_that_are_given():
    real = RealTexts(train=talk(60, 0), valid=talk(300, 1), test=talk(300, 2))
    honest = Texts(samples=talk(600, 3), reference=real)
    name = "balance of women and men"
    assert name not in [finding.rule for finding in audit_texts(honest)]
    assert name in [finding.rule for finding in audit_texts(honest, groups=GROUPS)]
    shifted = replace(honest, samples=talk(600, 3, women=0.1))
    (found,) = (f for f in audit_texts(shifted, groups=GROUPS) if f.rule == name)
    assert found.outcome == "fail"
    strange = {"cats": ["cat"], "dogs": ["dog"]}
    assert "balance of cats and dogs" in texts_left_out(honest, groups=strange)
