"""What is said of data before training: counted again here, by other means, and shown safely."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import likewise as lw
from likewise.cli.data import contact_sheet, show_facts
from likewise.core.errors import UsageError
from likewise.core.records import Records, Skipped
from likewise.domains.images import Images
from likewise.workbench.data import Prepared
from likewise.workbench.data_page import check_page, facts_of, some_pictures, write_page

SIZES = [[32, 48, 5], [64, 64, 2], [90, 20, 3]]
HOSTILE = "<script>alert(1)</script>[red]"
BROKEN = "\udce4\x07"  # as in a file name that is not UTF-8


def records(n=60, classes=3, side=8, channels=1, **changes):
    draw = np.random.default_rng(0)
    whole = Records(
        domain="images",
        items=draw.integers(0, 256, (n, side, side, channels), dtype=np.uint8),
        ids=tuple(f"{i}.png" for i in range(n)),
        conditions={"label": tuple(str(8 + i % classes) for i in range(n))} if classes else {},
        origin="somewhere/set",
        facts={"levels": 256},
    )
    return replace(whole, **changes)


def printed(facts, width=80):
    out = io.StringIO()
    show_facts(facts, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_facts_are_counted_right():
    data = records(
        facts={
            "levels": 256,
            "sizes": SIZES,
            "formats": {"JPEG": 6, "PNG": 4},
            "near": {"pictures": 2, "clusters": 1, "examples": [["3.png", "4.png"]]},
        },
        skipped=(Skipped("a.txt", "no"), Skipped("b.png", "cut"), Skipped("c.txt", "no")),
    )
    facts, prepared = facts_of(data, {"size": 8})
    assert facts["records"] == 60
    assert sum(facts["counts"].values()) == 60
    assert list(facts["classes"].items()) == [("8", 20), ("9", 20), ("10", 20)]
    assert facts["sizes"] == {
        "different": 3,
        "smallest": [32, 48],
        "largest": [64, 64],
        "shapes": {"wide": 5, "square": 2, "tall": 3},
        "bars": {"48 × 32": 5, "20 × 90": 3, "64 × 64": 2},
    }
    assert facts["oddities"] == [
        {"why": "no", "count": 2, "first": ["a.txt", "c.txt"]},
        {"why": "cut", "count": 1, "first": ["b.png"]},
    ]
    assert facts["near"]["examples"] == [["3.png", "4.png"]]
    assert facts["choice"]["size"] == "8 × 8"
    assert facts["choice"]["scored on"] == f"{prepared.most_samples()} held-out records"
    assert facts["command"] == "likewise run somewhere/set --load size=8"


def test_many_sizes_are_binned_by_the_smaller_side():
    draw = np.random.default_rng(1)
    pairs = {tuple(pair) for pair in draw.integers(20, 700, (200, 2)).tolist()}
    facts, _ = facts_of(records(facts={"sizes": [[h, w, 2] for h, w in pairs]}))
    bars = facts["sizes"]["bars"]
    assert sum(bars.values()) == 2 * len(pairs)
    for words, count in bars.items():
        low, high = (int(word) for word in words.replace(",", "").split(" to "))
        assert count == 2 * sum(low <= min(pair) <= high for pair in pairs)


def test_columns_and_captions():
    data = records(
        conditions={
            "caption": ("a red thing", None, *["two words"] * 58),
            "hue": ("red", *["blue"] * 57, None, None),
            "year": tuple(range(1960, 2020)),
            "odd": tuple([i, i] for i in range(60)),
        }
    )
    facts, _ = facts_of(data)
    assert facts["classes"] == {}
    assert facts["captions"] == {"records": 59, "words": 2, "example": "a red thing"}
    hue, year, odd = facts["columns"]
    assert (hue["missing"], hue["values"]) == (2, {"blue": 57, "red": 1})
    assert year["numbers"] == [1960, 1989.5, 2019]
    assert odd["different"] == 60
    said = printed(facts)
    assert "59 of 60, such as “a red thing”" in said
    assert "blue 57, red 1; 2 missing" in said
    assert "1960 to 2019, median" in said


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_terminal_is_never_too_narrow(width):
    data = records(classes=30, notes=("x" * 300,), skipped=(Skipped("n" * 200, "w" * 90),))
    said = printed(facts_of(data)[0], width)
    assert max(map(len, said.splitlines())) <= width
    assert "and 18 more" in said
    assert "classes" in said


def test_data_that_a_run_refuses_is_described_all_the_same(tmp_path):
    data = records(n=2, classes=0)
    facts, _ = facts_of(data)
    assert "at least 3 different records" in facts["refused"]
    assert (facts["counts"], facts["choice"]) == ({}, {})
    assert "a run would refuse this data" in printed(facts)
    write_page(data, tmp_path / "data.html")
    assert "A run would refuse this data" in (tmp_path / "data.html").read_text()


def embedded(page):
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_the_page_stands_alone_and_says_that_it_is_private(tmp_path):
    near = {"pictures": 2, "clusters": 1, "examples": [["3.png", "4.png"]]}
    data = records(facts={"levels": 256, "near": near, "sizes": SIZES})
    write_page(data, tmp_path / "data.html")
    page = (tmp_path / "data.html").read_text(encoding="utf-8")
    assert "<strong>Private.</strong> This page shows records" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "default-src 'none'" in page
    pictures = embedded(page)
    assert len(pictures) == 3 + 1  # a sheet a class, a pair
    pair = pictures[-1]
    for at, row in enumerate((3, 4)):
        left = 3 + at * 43
        assert np.array_equal(pair[3:43:5, left : left + 40 : 5], data.items[row, :, :, 0])
    for name in ("8", "9", "10"):
        assert f"<strong>{name}</strong>" in page


def test_sheets_are_even_and_small(tmp_path):
    write_page(records(n=200, classes=2, side=200, channels=3), tmp_path / "data.html")
    pictures = embedded((tmp_path / "data.html").read_text())
    assert [max(picture.shape) for picture in pictures] == [720, 720]
    data = records(n=300, classes=100)
    write_page(data, tmp_path / "data.html")
    page = (tmp_path / "data.html").read_text()
    assert len(embedded(page)) == 60
    assert "60 of 100 classes are shown." in page


def test_names_like_markup_stay_names(tmp_path):
    data = records(
        conditions={"label": (HOSTILE, *["b"] * 59), HOSTILE: ("{{ 7 * 7 }}",) * 60},
        notes=(HOSTILE + BROKEN,),
        skipped=(Skipped(HOSTILE + BROKEN, HOSTILE),),
        origin=HOSTILE + BROKEN,
    )
    facts = write_page(data, tmp_path / "data.html")
    page = (tmp_path / "data.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7 * 7 }}" in page
    assert "<script>alert(1)</script>[red]" in printed(facts).replace("\n", "")


@pytest.mark.parametrize("name", ["toy_points", "toy_grids", "toy_strings", "toy_rows"])
def test_data_of_any_kind_has_a_page(name, tmp_path):
    data = lw.load(name, domain=name)
    facts = write_page(data, tmp_path / "data.html")
    assert facts["choice"]["tensors"]
    assert "data:image/svg+xml" in (tmp_path / "data.html").read_text()
    printed(facts)


def test_the_toy_pictures_have_a_page_and_other_names_are_refused(tmp_path):
    write_page(Images.toy(), tmp_path / "data.html")
    for name in ("data.txt", "data", "."):
        with pytest.raises(UsageError, match=r"the page must be a file that ends in \.html"):
            check_page(tmp_path / name)


def test_records_that_leave_the_part_they_came_in_are_told(tmp_path):
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    for number, values in enumerate(pictures):
        part = "train" if number < 30 else "test"
        (tmp_path / part).mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / part / f"{number}.png")
    assert not any("moved" in note for note in Prepared.of(lw.load(tmp_path)).facts()["notes"])
    for number in range(5):
        Image.fromarray(pictures[number]).save(tmp_path / "test" / f"again{number}.png")
    prepared = Prepared.of(lw.load(tmp_path))
    (note,) = (note for note in prepared.facts()["notes"] if "moved" in note)
    assert note.startswith("5 records were moved to another part than the one given: a record of")


def test_a_contact_sheet_in_the_terminal_shows_the_pixels():
    top, bottom = (200, 10, 30), (0, 120, 255)
    values = np.zeros((16, 16, 3), np.uint8)
    values[::2], values[1::2] = top, bottom
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    sheet = contact_sheet([file.getvalue()] * 2)
    assert sheet.plain.split("\n") == ["▀" * 16 + " " + "▀" * 16 + " "] * 8
    styles = {str(span.style) for span in sheet.spans}
    assert styles == {"rgb(200,10,30) on rgb(0,120,255)"}


def test_of_some_pictures_every_class_is_there_before_a_second_of_any():
    data = records(n=60, classes=3)
    domain = Prepared.of(data).domain
    assert len(some_pictures(domain, data, 6)) == 3
    assert len(some_pictures(domain, data, 2)) == 2
    assert len(some_pictures(domain, replace(data, conditions={}), 5)) == 5
