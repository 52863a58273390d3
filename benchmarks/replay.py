"""Two runs under one plan: are weights, samples, scores and findings the same, digit for digit?

    python benchmarks/replay.py RUN [--out runs/benchmark-replay]

RUN is a finished run of digits; it is run again under its plan, and every artefact is compared.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from likewise.store.files import read_tensors

TIMINGS = {"seconds", "samples_per_second", "inputs"}


def same_tensors(one: Path, other: Path) -> bool:
    a, b = read_tensors(one)[0], read_tensors(other)[0]
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def same_json(one: Path, other: Path) -> bool:
    a, b = (json.loads(path.read_text()) for path in (one, other))
    return all(a[key] == b[key] for key in a if key not in TIMINGS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-replay"))
    options = parser.parse_args()
    budget = json.loads((options.run / "run.json").read_text())["budget"]["seconds"]
    words = ["run", "digits", "--time", f"{budget}s", "--plan", str(options.run)]
    words += ["--out", str(options.out), "-q"]
    subprocess.run([sys.executable, "-m", "likewise.cli.main", *words], check=True)
    families = json.loads((options.run / "run.json").read_text())["states"]
    print("| family | weights | samples | scores | findings |\n|---|---|---|---|---|")
    for name in families:
        one, other = options.run / name, options.out / name
        samples = "samples/samples.safetensors"
        verdicts = [
            same_tensors(one / "model.safetensors", other / "model.safetensors"),
            same_tensors(one / samples, other / samples),
            same_json(one / "scorecard.json", other / "scorecard.json"),
            same_json(one / "audit.json", other / "audit.json"),
        ]
        print(f"| {name} | {' | '.join('equal' if same else 'DIFFERENT' for same in verdicts)} |")


if __name__ == "__main__":
    main()
