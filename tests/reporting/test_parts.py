"""The parts of a report: sentence, marks and ties, axes, numbers, front matter."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from likewise.reporting.board import board, score_of, worst
from likewise.reporting.card import as_markdown, escaped
from likewise.reporting.curves import MOST_POINTS, curves
from likewise.reporting.draw import MOST_TICKS, Axis, axis, bar, effect, labelled, panel
from likewise.reporting.folder import open_folder, text
from likewise.reporting.nets import nets
from likewise.reporting.planned import against, plan
from likewise.reporting.sentence import verdict
from likewise.reporting.view import collect
from likewise.reporting.words import change, number
from tests.reporting import runs

FINITE = st.floats(-1e300, 1e300)


def row(name, value, *, role="model", said="release", wide=0.5):
    score = {
        "value": value,
        "low": value - wide,
        "high": value + wide,
        "better": "lower",
        "n": 270,
    }
    return {"name": name, "role": role, "verdict": said, "scores": {"fd_pca": score}}


def told(rows, best):
    table = board({"rows": rows, "best": best, "headline": "fd_pca"}, {}, {})
    return verdict(table, [])


def test_a_clear_winner():
    found = told([row("flow", 4.0), row("gan", 9.0)], "flow")
    assert found["state"] == "release"
    assert (
        found["sentence"] == "flow is best by Fréchet distance (pca), 4.00, and may be released."
    )


def test_what_the_audit_did_is_not_confused_with_what_it_was_not_asked():
    notes = [told([row("flow", 4.0, said=said)], "flow")["notes"][0] for said in ("unknown", "")]
    assert notes == ["The audit could not show enough.", "It has not been audited."]


def test_commands_name_the_folder_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = collect(open_folder(runs.whole(Path("some") / "my run")))
    commands = [step["command"] for step in found["repeat"]]
    assert commands[0].startswith("likewise run ")
    assert commands[1] == f"{commands[0]} --plan 'some/my run'"
    assert commands[-1] == "likewise report 'some/my run'"
    card = as_markdown(found)
    assert "likewise audit 'some/my run'" in card


def test_ties_and_families_passed_over_are_named():
    rows = [row("gan", 3.6, said="hold"), row("flow", 4.0), row("vae", 4.4, said="unknown")]
    found = told(rows, "flow")
    assert found["sentence"].endswith("; gan (held) and vae tie with it.")
    assert any(note.startswith("gan (held) ranks above it") for note in found["notes"])


def test_an_undecided_winner_is_not_released():
    found = told([row("flow", 4.0, said="")], "flow")
    assert found["state"] == "unknown"
    assert "whether it may be released is not decided" in found["sentence"]


def test_a_baseline_that_is_not_beaten_and_a_floor_that_is_reached_are_named():
    rows = [
        row("real", 3.9, role="floor", said=""),
        row("flow", 4),
        row("mean", 4.2, role="baseline"),
    ]
    notes = " ".join(told(rows, "flow")["notes"])
    assert "does not clearly beat the baseline mean" in notes
    assert "cannot be told from real records" in notes


def test_all_held_means_none_may_be_released():
    found = told([row("flow", 4.0, said="hold")], None)
    assert (found["state"], found["sentence"]) == ("hold", "No family may be released.")


@pytest.mark.parametrize("role", ["control", "baseline", "floor"])
def test_what_is_no_model_is_never_best(role):
    found = told([row("copier", 1.0, role=role), row("flow", 4.0, said="unknown")], "copier")
    assert found["best"] is None
    assert "copier" not in found["sentence"]


def test_a_held_family_named_best_is_not_best():
    found = told([row("flow", 4.0, said="hold"), row("vae", 9.0)], "flow")
    assert found["best"] is None
    assert "names flow as best although it is held" in " ".join(found["notes"])


def test_marks_follow_the_direction_and_leave_out_what_is_no_model():
    rows = [row("copier", 1.0, role="control"), row("a", 4.0), row("b", 4.9), row("c", 5.2)]
    table = board({"rows": rows, "headline": "fd_pca"}, {}, {})
    marks = {entry["name"]: score_of(entry, "fd_pca")["mark"] for entry in table["rows"]}
    assert marks == {"a": "best", "b": "tie", "c": "", "copier": ""}
    for entry in rows:
        entry["scores"]["fd_pca"]["better"] = "higher"
    table = board({"rows": rows, "headline": "fd_pca"}, {}, {})
    assert score_of(table["rows"][2], "fd_pca")["mark"] == "best"


def test_the_stricter_of_two_verdicts_counts():
    assert worst("release", "hold") == "hold"
    assert worst("release", "unknown") == "unknown"
    assert worst("", "release") == "release"
    assert worst("", "") == ""
    assert worst("maybe") == "unknown"


@given(st.lists(st.one_of(FINITE, st.none()), max_size=8))
@example([1801439850948200.0])  # half a unit more or less is hardly to be told there
def test_axes_hold_their_values_and_have_few_exact_ticks(values):
    scale = axis(values)
    assert all(0 <= scale.at(value) <= 1 for value in values if value is not None)
    ticks = scale.ticks()
    assert len(ticks) <= 3 * MOST_TICKS
    assert ticks == sorted(ticks)
    assert all(scale.low <= tick <= scale.high or scale.low == scale.high for tick in ticks)


def test_tick_labels_tell_ticks_apart():
    labels = [label for _, label in labelled(Axis(1000.2, 1003.9).ticks())]
    assert labels == ["1,001", "1,002", "1,003"]


def test_a_line_breaks_where_a_value_is_missing():
    points = [[1, 1.0], [2, 2.0], [3, None], [4, 1.0], [5, 3.0]]
    drawn = panel({"name": "loss", "points": points}, [{"step": 3, "event": "rolled back"}])
    assert [len(line.split()) for line in drawn["lines"]] == [2, 2]
    assert drawn["events"][0][1] == 1
    assert not drawn["log"]
    assert panel({"name": "loss", "points": [[1, 500.0], [2, 1.0]]}, [])["log"]


def test_bars_lie_on_their_scale():
    marks = bar({"value": 5.0, "low": 2.5, "high": 7.5}, Axis(0, 10))
    assert marks == {"value": 50.0, "ends": [25.0, 75.0], "outside": False}
    assert bar({"value": 11.0}, Axis(0, 10))["outside"]
    assert bar({"value": None}, Axis(0, 10)) is None
    found = effect({"effect": 0.0, "low": -0.1, "high": 0.1, "matters": 0.2})
    assert found["ends"][1] < found["matters"]
    assert found["beyond"] == "right"


@given(FINITE)
def test_numbers_keep_three_digits(value):
    shown = number(value).replace("−", "-").replace(",", "")
    mantissa, _, power = shown.partition("×10")
    exponent = int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))) if power else 0
    assert math.isclose(float(f"{mantissa}e{exponent}"), value, rel_tol=6e-3, abs_tol=0)
    assert len([sign for sign in mantissa.lstrip("-0.") if sign.isdigit()]) <= 6


def test_long_logs_are_thinned_and_keep_their_ends(tmp_path):
    lines = [json.dumps({"step": at, "loss": {"model": 1 / at}}) for at in range(1, 2001)]
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "log.jsonl").write_text("\n".join(lines))
    points = collect(open_folder(tmp_path))["families"][0]["curves"][0]["loss"][0]["points"]
    assert len(points) == MOST_POINTS
    assert (points[0][0], points[-1][0]) == (1, 2000)


@given(st.text("ab|`*[]<>\n\x00\\_", max_size=12))
def test_markdown_shows_any_text_letter_by_letter(value):
    shown = escaped(text(value))
    assert not any(sign in shown for sign in "<>\n\x00")
    assert all(at and shown[at - 1] == "\\" for at, sign in enumerate(shown) if sign in "|`*[")


def test_the_front_matter_names_license_library_and_numbers(tmp_path):
    front = as_markdown(collect(open_folder(runs.whole(tmp_path)))).split("---\n")[1]
    lines = front.splitlines()
    assert "license: unknown" in lines
    assert "library_name: likewise" in lines
    at = lines.index('- name: "flow"')
    assert '    - type: "nll"' in lines[at:]
    assert "      value: 1.21" in lines[at:]
    assert "copier" not in front
    assert "real vs real" not in front


def test_hostile_values_stay_inside_their_yaml_scalars(tmp_path):
    made = as_markdown(collect(open_folder(runs.broken(tmp_path / "run"))))
    front = made.split("\n---\n")[0]
    names = [line.split(": ", 1)[1] for line in front.splitlines() if line.startswith("- name: ")]
    assert [json.loads(name) for name in names] == ["<script>alert(1)</script>"]
    assert "````sh\nlikewise run 'a b' ``` </script>\n````" in made


def test_without_a_number_there_is_no_model_index(tmp_path):
    run = runs.whole(tmp_path)
    (run / "leaderboard.json").unlink()
    assert "model-index" not in as_markdown(collect(open_folder(run)))


def planned(name, stages, *, train=1280, **state):
    run = {"plan": {"families": {name: stages}}, "states": {name: state}}
    return plan({**run, "data": {"counts": {"train": train}}})["families"][0]


def test_the_plan_is_held_against_what_came_of_it():
    found = planned("vae", [runs.stage({"batch": 128}, steps=1200)], seconds=23.0, steps=900)
    [stage] = found["stages"]
    assert (stage["planned"], stage["done"]) == (1200, 900)
    assert stage["passes"] == 90  # 900 steps of 128 out of 1280 records
    assert (found["expected"], found["seconds"], found["difference"]) == (20.0, 23.0, 0.15)
    assert stage["other"] == {"draws": 8, "judged": "all", "checked": 256}


def test_a_family_that_has_not_trained_shows_the_passes_of_its_plan():
    found = planned("vae", [runs.stage({"batch": 128}, steps=1000)])
    assert found["stages"][0]["passes"] == 100
    assert (found["stages"][0]["done"], found["difference"]) == (None, None)


def test_a_counted_family_is_told_in_passes():
    [stage] = planned("gmm", [runs.stage({"bins": 64}, steps=200, batch=256)], steps=50)["stages"]
    assert stage["counted"]
    assert (stage["passes"], stage["planned"], stage["batch"]) == (50, 200, None)


def test_each_stage_of_a_chain_is_a_row_and_time_is_that_of_the_chain():
    stages = [
        runs.stage({"batch": 64}, steps=100, batch=64, expected=4.0),
        runs.stage({"batch": 64}, steps=300, batch=64, expected=6.0, shorten=[80, 150]),
    ]
    found = planned("vae+flow", stages, train=640, seconds=9.0, steps=250)
    assert [stage["name"] for stage in found["stages"]] == ["vae", "flow"]
    assert [stage["passes"] for stage in found["stages"]] == [10, 15]
    assert (found["expected"], found["difference"]) == (10.0, -0.1)
    stages[1]["expected"] = None  # what was not probed has no forecast, and so has the whole
    assert planned("vae+flow", stages, seconds=9.0)["expected"] is None


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_the_difference_leads_from_what_was_expected_to_what_was_taken(taken, expected):
    share = against(taken, expected)
    assert share is not None
    assert math.isclose(expected * (1 + share), taken, rel_tol=1e-6, abs_tol=6e-5 * expected)
    assert against(None, expected) is None
    assert against(taken, 0.0) is None


def test_nets_that_do_not_rise_are_named_with_what_they_did_not_rise_with():
    found = nets(runs.features())
    assert [net["hash"] for net in found["nets"]] == ["bf35cdb521dc", "95dda23c5c76"]
    assert found["careful"] == [
        {"net": "pca", "said": "did not rise with blur here: read its distances with care."}
    ]
    blur = next(check for check in found["checks"] if check["corruption"] == "blur")
    assert blur["strengths"] == [0.0, 0.5, 1.0, 2.0]
    assert {row["net"]: row["rises"] for row in blur["rows"]} == {"classifier": True, "pca": False}
    assert nets({})["nets"] == nets({})["checks"] == nets({})["careful"] == []


def test_the_stages_of_a_chain_have_curves_of_their_own(tmp_path):
    runs.chain_log(tmp_path / "vae+flow" / "log.jsonl")
    log = open_folder(tmp_path).log("vae+flow/log.jsonl")
    first, second = curves(log, "vae+flow")
    assert (first["stage"], second["stage"]) == ("vae", "flow")
    assert [step for step, _ in first["loss"][0]["points"]] == [10, 20]
    # A training that was rolled back repeats steps, and goes on.
    assert [step for step, _ in second["loss"][0]["points"]] == [10, 20, 10, 20, 30]


def test_a_difference_has_a_sign():
    assert [change(x) for x in (0.031, -0.214, 0.0, None)] == ["+3 %", "−21 %", "±0 %", "–"]
