"""Peak memory and speed of `likewise sample` for 10^3, 10^4 and 10^5 samples of digits.

    python -m benchmarks.streams [--most 100000] [--into folder,npz,zip]

Every count runs in a process of its own and writes to a temporary folder. Memory is the largest
resident set of that process (VmHWM), so it counts Python, torch and the model too.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import likewise as lw

PLACES = {"folder": "made", "npz": "made.npz", "zip": "made.zip"}
CHILD = """
import json, sys, time
from pathlib import Path
from likewise.workbench.samples import sample_to_files
start = time.monotonic()
made = sample_to_files(Path(sys.argv[1]), numbers=[range(int(sys.argv[3]))], where={}, family=None,
                       seed=0, controls={}, out=Path(sys.argv[2]))
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0])
print(json.dumps({"made": made.made, "kib": peak, "seconds": time.monotonic() - start}))
"""


def measure(model: Path, place: str, n: int) -> tuple[float, float]:
    """Peak MiB and samples a second of n samples, opening the model included."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", CHILD, str(model), f"{folder}/{PLACES[place]}", str(n)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["made"] == n
    return found["kib"] / 1024, n / found["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--into", default="folder,npz,zip")
    options = parser.parse_args()
    counts = [n for n in (1_000, 10_000, 100_000) if n <= options.most]
    print("| into | samples | peak MiB | against the fewest | samples/s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        data = lw.load("digits")
        model = lw.fit(data, "gmm", steps=5).save(Path(folder) / "model")
        for place in options.into.split(","):
            first = 0.0
            for n in counts:
                peak, rate = measure(model, place, n)
                first = first or peak
                share = f"{peak / first - 1:+.1%}"
                print(f"| {place} | {n} | {peak:.0f} | {share} | {rate:.0f} |", flush=True)


if __name__ == "__main__":
    main()
