"""One main job in a process of its own, measured from outside."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def measured_run(data: str, budget: str, seed: int, out: Path) -> dict[str, float]:
    """Run the main job; its wall seconds, processor seconds and peak memory in MiB.

    A run that is finished is not run again: what was measured lies beside it.
    """
    file = out / "outside.json"
    if not file.exists():
        start = time.monotonic()
        words = ["run", data, "--time", budget, "--seed", str(seed), "--out", str(out), "-q"]
        process = subprocess.Popen([sys.executable, "-m", "likewise.cli.main", *words])
        _, status, used = os.wait4(process.pid, 0)  # of this process, not of all that were
        if status:
            raise SystemExit(f"the run ended with status {os.waitstatus_to_exitcode(status)}")
        facts = {
            "wall": time.monotonic() - start,
            "processor": used.ru_utime,
            "peak_mib": used.ru_maxrss / 1024,
        }
        file.write_text(json.dumps(facts))
    facts = json.loads(file.read_text())
    return {name: float(value) for name, value in facts.items()}


def said(value: float | None, form: str) -> str:
    """A number in a form, or nothing where there is none."""
    return "" if value is None else format(value, form)
