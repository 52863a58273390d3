"""How much is measured: one number of records for all rows, within the time that is kept."""

import random
import re
from dataclasses import replace

import pytest

import likewise as lw
from likewise.store.files import read_json
from likewise.train.plan import FamilyPlan, Plan, from_json, to_json
from likewise.workbench.measuring import COUNTED_DRAWS, MOST_DRAWS, comparing, measuring
from likewise.workbench.planning import LEAST_N, Costs, Probe

WORDS = ["river", "stone", "cloud", "amber", "violet", "thunder", "meadow", "copper", "orchard"]


def story(n, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(4, 9))) + "." for _ in range(n)]


def plan_of(*names, **changes):
    stage = FamilyPlan(config={}, preset="s", steps=10, batch=8)
    facts = {"seconds": 100.0, "threads": 1, "n": 900, "samples": 1000, "features": 1}
    return Plan(**{**facts, "families": dict.fromkeys(names, (stage,)), **changes})


def test_all_families_together_decide_how_many_records_are_read():
    costs = {"gmm": Costs(1e-3, 1e-3), "copier": Costs(1e-3, 5e-3), "vae": Costs(1e-3, 6e-3)}
    plan = measuring(plan_of(*costs), costs, test=5000, seconds=30.0)
    assert plan.judged == 1000  # 12 seconds by 12 ms
    assert measuring(plan_of(*costs), costs, test=700, seconds=30.0).judged == 700
    assert measuring(plan_of(*costs), costs, test=5000, seconds=0.3).judged == LEAST_N


def test_draws_of_noise_fill_the_time_that_is_left():
    costs = dict.fromkeys(("gmm", "copier", "vae", "flow"), Costs(1e-3, 1e-5))
    costs["flow"] = Costs(1e-3, 1e-2)
    plan = measuring(plan_of(*costs), costs, test=100, seconds=30.0)
    draws = {name: stages[0].draws for name, stages in plan.families.items()}
    assert draws == {"gmm": COUNTED_DRAWS, "copier": 1, "vae": MOST_DRAWS, "flow": 2}


def test_all_draw_as_many_samples_as_half_of_the_time_allows():
    plan = measuring(plan_of("gmm"), {"gmm": Costs(0.06, 0.0)}, test=300, seconds=30.0)
    assert (plan.n, plan.samples, plan.judged) == (200, 200, 300)
    plan = measuring(plan_of("gmm"), {}, test=300, seconds=30.0)
    assert (plan.n, plan.samples) == (900, 1000)


@pytest.mark.parametrize(
    ("seconds", "row", "compared"),
    [
        (300.0, 1.0, 1000),
        (30.0, 1.0, 1000),
        (30.0, 4.0, 162),
        (18.0, 5.0, 100),
        (2.0, 1.0, 100),
    ],
)
def test_fewer_texts_are_compared_where_the_time_is_short(seconds, row, compared):
    costs = {"copier": Costs(1e-3, 1e-3), "ngram": Costs(1e-3, 1e-3, 0.02)}
    plan = plan_of(*costs, judged=500)
    # 2 seconds for 1000 samples, 3 for likelihoods; 80 ms for each text that is asked about
    assert comparing(plan, costs, row=row, seconds=seconds) == compared
    few = replace(plan, samples=64)
    assert comparing(few, costs, row=row, seconds=seconds) == 64
    del costs["ngram"]  # nobody writes on: nothing is asked, and time says nothing
    assert comparing(plan, costs, row=row, seconds=seconds) == 1000


def test_a_run_compares_as_many_texts_as_its_plan_says(tmp_path, monkeypatch):
    monkeypatch.setattr(Probe, "asking", lambda self, model: 1.0)
    board = lw.run(story(1000), time="6s", families="ngram", out=tmp_path / "run")
    compared = read_json(board.path / "run.json")["plan"]["compared"]
    assert 64 <= compared <= 100
    assert {row["scores"]["verbatim"]["n"] for row in board.rows} == {compared}


def test_a_plan_of_the_first_version_reads_what_all_its_families_read():
    known = to_json(plan_of("ngram", "rnn"))
    del known["judged"]
    for name, count in {"ngram": 500, "rnn": 892}.items():
        known["families"][name][0]["judged"] = count
    assert from_json(known) == plan_of("ngram", "rnn", judged=500)


@pytest.mark.parametrize("slow", [False, True])
def test_every_row_is_read_on_the_same_records(slow, tmp_path, monkeypatch):
    if slow:
        monkeypatch.setattr(Probe, "density", lambda self, model: 1.0)
    wishes = {"time": "6s", "families": ["ngram"]}
    board = lw.run(story(500), out=tmp_path / "run", **wishes)
    rows = {row["name"]: row["scores"] for row in board.rows if row["role"] != "floor"}
    assert set(rows) == {"ngram", "independent", "copier"}
    wanted = LEAST_N if slow else 75
    for name in ("bits_per_byte", "nll", "perplexity"):
        assert {scores[name]["n"] for scores in rows.values()} == {wanted}
    how = rows["ngram"]["bits_per_byte"]["how"]
    assert f"; {wanted} of 75 test records of up to " in how
    page, card = ((board.path / file).read_text() for file in ("report.html", "README.md"))
    assert f"{wanted} of 75 test records" in page.split("What each measure means")[0]
    assert f"{wanted} of 75 test records" in card
    if slow:
        monkeypatch.undo()
        again = lw.run(story(500), out=tmp_path / "again", plan=board.path, **wishes)
        assert again.data["rows"][0]["scores"] == board.data["rows"][0]["scores"]


def test_the_context_rule_stands_with_the_number(tmp_path):
    """Of one long text, a record is read after what stands before it, as far as there is room."""
    out = tmp_path / "run"
    text = " ".join(story(600))
    board = lw.run(
        [text], tokenizer="characters", context=64, time="6s", families="ngram", out=out
    )
    rows = {row["name"]: row["scores"] for row in board.rows}
    n = rows["ngram"]["bits_per_byte"]["n"]
    after, alone = (rows[name]["bits_per_byte"]["how"] for name in ("ngram", "copier"))
    said = rf"{n} of {n} test records of up to (30|31|32) tokens, each"
    assert re.search(f"{said} after up to 32 before it$", after)
    assert re.search(f"{said} by itself$", alone)
    assert after in (out / "README.md").read_text()
