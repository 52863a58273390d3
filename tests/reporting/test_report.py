"""The three files of a report, for whole runs, broken runs and runs that lack any one file."""

import base64
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from likewise.core.errors import StoreError
from likewise.reporting import page, report
from likewise.reporting.card import as_markdown
from likewise.reporting.folder import open_folder
from likewise.reporting.page import as_html
from likewise.reporting.view import collect
from tests.reporting import runs

VOID = {"meta", "img", "br", "input", "link", "hr"}
LOADING = {"src", "srcset", "data", "poster", "action", "formaction", "background", "ping"}


class Reader(HTMLParser):
    """Checks that tags balance, and collects what a test asks about."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.sources = [], [], [], []
        self.tags, self.words = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attributes:
            self.ids += [value] if key == "id" else []
            self.links += [value] if key in {"href", "xlink:href"} else []
            self.sources += [value] if key in LOADING else []
            assert not key.startswith("on"), f"{tag} has {key}"

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.words.append(data)


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def said(reader: Reader) -> str:
    return re.sub(r"\s+", " ", " ".join(reader.words))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = runs.whole(tmp_path_factory.mktemp("whole"))
    report(run)
    return run


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    run = runs.broken(tmp_path_factory.mktemp("broken") / "run")
    runs.png(run.parent.parent / "outside" / "samples" / "grid.png")
    report(run)
    return run


@pytest.mark.parametrize("kind", ["whole", "broken"])
def test_the_page_is_one_valid_file_that_loads_nothing(kind, request):
    path = request.getfixturevalue(kind) / "report.html"
    reader, source = read(path), path.read_text(encoding="utf-8")
    assert len(reader.ids) == len(set(reader.ids))
    assert all(link.startswith("#") and link[1:] in reader.ids for link in reader.links)
    assert all(place.startswith("data:image/png;base64,") for place in reader.sources)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in reader.tags}
    assert "@import" not in source
    assert "url(" not in source
    assert path.stat().st_size < 1_000_000


def test_only_the_sealed_script_may_run(whole):
    source = (whole / "report.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    assert len(scripts) == 1
    seal = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', source)[1]
    assert f"script-src 'sha256-{seal}'" in policy
    assert "default-src 'none'" in policy


def test_every_table_and_every_head_can_be_heard(whole):
    tags = read(whole / "report.html").tags
    names = [tag for tag, _ in tags]
    assert names.count("table") == names.count("caption") > 3
    assert all(facts.get("scope") in {"col", "row"} for tag, facts in tags if tag == "th")
    assert all(facts.get("alt") for tag, facts in tags if tag == "img")
    assert names.count("h1") == 1
    charts = [facts for tag, facts in tags if "chart" in (facts.get("class") or "").split()]
    assert charts
    assert all(facts["role"] == "img" and facts["aria-label"] for facts in charts)


def test_the_verdict_comes_first_with_numbers_and_ties(whole):
    text = said(read(whole / "report.html"))
    first = "diffusion is best by Fréchet distance (classifier), 4.21, and may be released; "
    assert text.index(first + "flow ties with it.") < text.index("ranked by")
    assert "3.87 to 4.55" in text
    assert "evidence of resistance to the attacks run" in text
    assert "independent" in text
    assert "the loss was not finite at step 12" in text
    assert "the budget is too short for its sampler" in text
    assert "not a picture" in text


@pytest.mark.parametrize("name", ["report.html", "README.md", "report.json"])
def test_no_file_promises_what_an_audit_cannot(whole, name):
    text = (whole / name).read_text(encoding="utf-8").lower()
    assert "anonym" not in text
    assert "complian" not in text


def test_the_json_holds_every_number_of_the_leaderboard(whole):
    shown = json.loads((whole / "report.json").read_text(encoding="utf-8"))
    board = json.loads((whole / "leaderboard.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in shown["board"]["rows"]}
    for row in board["rows"]:
        for measure, score in row["scores"].items():
            cell = rows[row["name"]]["scores"][measure]
            assert [cell[k] for k in ("value", "low", "high")] == [
                score[k] for k in ("value", "low", "high")
            ]
    assert [row["name"] for row in rows.values() if row["rank"]] == [
        "diffusion",
        "flow",
        "gan",
        "vae",
    ]


def test_the_same_folder_gives_the_same_bytes(whole):
    names = ("report.html", "README.md", "report.json")
    before = [(whole / name).read_bytes() for name in names]
    assert report(whole) == whole / "report.html"
    assert before == [(whole / name).read_bytes() for name in names]


def test_what_may_be_passed_on_shows_no_training_record(tmp_path):
    run = runs.whole(tmp_path)
    private = report(run, with_train=True)
    assert private == run / "private" / "report.html"
    public = (run / "report.html").read_text()
    for name in ("private/flow-nearest.png", "copier/samples/grid.png", "gan/samples/grid.png"):
        picture = base64.b64encode((run / name).read_bytes()).decode()
        assert picture not in public, name
        assert picture in private.read_text(), name
    assert "a control repeats training records" in public
    assert "nearest.png" not in (run / "report.json").read_text()
    assert "This page shows training records" in said(read(private))
    assert "This page shows training records" not in public


def test_hostile_names_stay_names(broken):
    for name in ("report.html", "README.md"):
        text = (broken / name).read_text(encoding="utf-8")
        if name == "README.md":  # front matter is quoted, and code blocks show markup as it is
            body = re.sub(
                r"(`{3,})sh\n.*?\n\1\n", "", text.split("\n---\n", 1)[1], flags=re.DOTALL
            )
        else:
            body = text
        assert "<script>alert" not in body
        assert "<img src=https" not in body
        assert "<b>spike" not in body
        assert "&lt;script&gt;alert" in body
    assert "<script>alert(1)</script>" in said(read(broken / "report.html"))


def test_a_name_that_is_a_path_opens_nothing(broken):
    outside = (broken.parent.parent / "outside" / "samples" / "grid.png").read_bytes()
    assert base64.b64encode(outside).decode() not in (broken / "report.html").read_text()


def test_what_could_not_be_read_is_named(broken):
    troubles = "\n".join(json.loads((broken / "report.json").read_text())["troubles"])
    assert "leaderboard.json has schema 9" in troubles
    assert "gan/audit.json is damaged" in troubles
    assert "gan/samples/grid.png is not a PNG picture" in troubles
    assert "gan/log.jsonl has 2 unreadable lines" in troubles
    assert "flow/config.json is not a JSON object" in troubles
    assert str(broken) not in troubles
    assert "No family has been ranked yet." in said(read(broken / "report.html"))


@pytest.mark.parametrize(
    "lost",
    [
        "run.json",
        "leaderboard.json",
        "private/held-out.png",
        "flow",
        "flow/scorecard.json",
        "flow/audit.json",
        "flow/config.json",
        "flow/log.jsonl",
        "flow/samples",
        "features/features.json",
        "private/flow-nearest.json",
        "private",
    ],
)
def test_any_one_file_may_be_missing(tmp_path, lost):
    run = runs.whole(tmp_path)
    (shutil.rmtree if (run / lost).is_dir() else Path.unlink)(run / lost)
    text = said(read(report(run)))
    assert "flow" in text
    if lost in {"run.json", "leaderboard.json"}:
        assert f"{lost} is missing" in text


def test_no_value_of_any_file_can_stop_the_report(tmp_path):
    run, dice = runs.whole(tmp_path), random.Random(0)
    for log in run.glob("*/log.jsonl"):
        log.unlink()
    odd = [None, [], {}, "odd", -1, True, float("nan"), 1e308, [[]], {"a": {"b": [None]}}]
    names = ["run.json", "leaderboard.json", "flow/audit.json", "flow/config.json"]
    names += ["features/features.json"]
    kept = {name: json.loads((run / name).read_text()) for name in names}
    for _ in range(50):
        name = dice.choice(names)
        changed = json.loads(json.dumps(kept[name]))
        at, keys = changed, []
        while True:
            inner = at[keys[-1]] if keys else at
            if not isinstance(inner, (dict, list)) or not inner or (keys and dice.random() < 0.2):
                break
            at = inner
            keys.append(dice.choice(list(at) if isinstance(at, dict) else range(len(at))))
        at[keys[-1]] = dice.choice(odd)
        runs.write(run / name, changed)
        shown = collect(open_folder(run))
        Reader().feed(as_html(run, shown))
        assert as_markdown(shown).startswith("---\n")
        runs.write(run / name, kept[name])


def test_no_run_is_said_in_words(tmp_path):
    with pytest.raises(StoreError, match=r"the run must be a folder that `likewise run` wrote"):
        report(tmp_path / "nothing")
    with pytest.raises(StoreError, match=r"holds no run\.json and no leaderboard\.json"):
        report(tmp_path)


def test_no_torch_is_imported(tmp_path):
    run = runs.whole(tmp_path)
    program = (
        "import sys; from pathlib import Path; import likewise.reporting;"
        "assert 'jinja2' not in sys.modules;"
        f"likewise.reporting.report(Path({str(run)!r}));"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def rows_of(source: str, caption: str) -> list[str]:
    """The rows of the body of the table under a caption, as text."""
    table = source[source.index(caption) :].split("<tbody>")[1].split("</tbody>")[0]
    words = [re.sub(r"<[^>]+>", " ", row) for row in table.split("<tr")[1:]]
    return [" ".join(row.split()[1:]) for row in words]


def test_the_plan_stands_beside_what_was_taken(whole):
    source = (whole / "report.html").read_text(encoding="utf-8")
    rows = rows_of(source, 'id="plan-caption"')
    first, second = (row for row in rows if row.startswith("vae+flow"))
    assert first.startswith("vae+flow stage 1: vae xs bfloat16 900 batch 128")
    assert "stage 2: flow xs float32 150 of 900 planned" in second
    vae = next(row for row in rows if row.startswith("vae xs"))
    # 900 of 1200 steps of 128 out of 1257 records; 20.1 s where 20 s were expected
    assert "900 of 1,200 planned batch 128 91.6 20.0 s 20.1 s ±0 % 463" in vae
    counted = next(row for row in rows if row.startswith("independent"))
    assert "– counted 900 at most 200 – 20.1 s –" in counted
    text = said(read(whole / "report.html"))
    assert "The whole run was given 3 min and took 2 min 50 s (−5 %)." in text


def test_the_nets_are_named_with_what_they_did_not_rise_with(whole):
    text = said(read(whole / "report.html"))
    assert (
        "made worse step by step, and its distance must rise. pca did not rise with blur" in text
    )
    assert "It names 99.2 % of 268 held-out records rightly (97.3 to 99.8)." in text
    assert "bf35cdb521dc" in text
    assert "bf35cdb521dc8" not in text
    blur = rows_of((whole / "report.html").read_text(encoding="utf-8"), ">Blur<")
    assert blur == ["classifier 0.410 3.30 24.8 48.4 rises", "pca 2.30 4.20 4.10 35.3 not always"]
    assert "pca did not rise with blur" in (whole / "README.md").read_text(encoding="utf-8")


def test_rules_that_did_not_apply_are_named_once_with_the_reason(whole):
    text = said(read(whole / "report.html"))
    assert text.count("caption was not judged: it has 1701 different values.") == 1
    assert "membership by loss was not judged for gan: there is no density" in text


def test_what_augmentation_did_stands_by_the_leaderboard(whole):
    text = said(read(whole / "report.html"))
    assert text.index(runs.AUGMENTATION) < text.index("What each measure means")
    assert runs.AUGMENTATION in (whole / "README.md").read_text(encoding="utf-8")


def test_the_data_tells_what_steers_from_what_is_known_besides(whole):
    text = said(read(whole / "report.html"))
    assert "12 in 5 clusters; none straddles the splits" in text
    steered, besides = text.split("What it can be steered by")[1].split("What is known besides")
    assert "label" in steered
    assert "caption 1701 different values hand left 180" in besides
    card = (whole / "README.md").read_text(encoding="utf-8")
    assert "| Steered by | label |" in card
    assert "| Near-duplicates | 12 |" in card


def test_distances_of_pairs_stay_on_the_private_page(tmp_path):
    run = runs.whole(tmp_path)
    private = report(run, with_train=True).read_text(encoding="utf-8")
    assert rows_of(private, "Distances of each sample")[0].startswith("1 0.125 7.25 0.0170")
    for name in ("report.html", "report.json", "README.md"):
        text = (run / name).read_text(encoding="utf-8")
        assert "Distances of each sample" not in text
        assert "7.25" not in text


def test_the_page_says_what_was_shared_and_what_labels_there_were(tmp_path):
    run = runs.whole(tmp_path / "run")
    text = said(read(report(run)))
    assert "and one budget of 3 min for all of them together, and are scored" in text
    assert "not chosen, with labels in the shares of the training data." in text
    assert f"likewise report {run} --with-train" in text
    known = json.loads((run / "run.json").read_text())
    known["data"]["conditions"] = {}
    known["data"] |= {"documents": 150, "amount": "150 documents in 1,020 passages"}
    runs.write(run / "run.json", known)
    text = said(read(report(run)))
    assert "of each family, not chosen. Real records" in text
    assert text.count("150 documents in 1,020 passages") == 2
    assert "| Records | 150 documents in 1,020 passages |" in (run / "README.md").read_text()


def test_counted_families_are_told_in_passes_where_they_trained(tmp_path):
    run = runs.whole(tmp_path / "run")
    stages = [{"family": "independent", "config": {"bins": 64}}]
    runs.write(run / "independent" / "config.json", {"stages": stages})
    text = said(read(report(run)))
    assert "independent trained, 900 passes, 20.1 s" in text
    assert "flow trained, 900 steps, 20.1 s" in text


def test_the_button_offers_the_other_theme():
    script = (Path(page.__file__).parent / "templates" / "script.js").read_text()
    assert 'isDark() ? "Light" : "Dark"' in script
