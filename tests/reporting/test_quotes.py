"""Samples that are texts: shown as texts, escaped, and only where samples may be shown."""

import json

from likewise.reporting import report
from tests.reporting import runs


def quoted(run, name, said):
    (run / name / "samples" / "grid.png").unlink(missing_ok=True)
    runs.write(run / name / "samples" / "grid.json", {"texts": [said, "another"]})


def test_texts_are_shown_as_they_are_and_held_ones_only_in_private(tmp_path):
    run = runs.whole(tmp_path / "run")
    audits = {
        p.parent.name: json.loads(p.read_text())["verdict"] for p in run.glob("*/audit.json")
    }
    free = next(name for name, verdict in audits.items() if verdict == "release")
    quoted(run, free, "To be <b>or not</b>\n\nto\x00be\n")
    quoted(run, "copier", "SECRET of train")
    runs.write(run / "private" / "held-out.json", {"texts": ["HELD of test"]})
    page = report(run).read_text()
    assert "<li>To be &lt;b&gt;or not&lt;/b&gt;\n\nto be\n</li>" in page
    assert "SECRET" not in page
    assert "HELD of test" not in page
    assert "SECRET" not in (run / "report.json").read_text()
    private = report(run, with_train=True).read_text()
    assert "SECRET of train" in private
    assert "HELD of test" in private
