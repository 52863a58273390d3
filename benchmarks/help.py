"""Processor time of `likewise --help`, median of five, and whether torch was imported.

python benchmarks/help.py
"""

import resource
import statistics
import subprocess
import sys

CALL = [sys.executable, "-m", "likewise.cli.main", "--help"]
LOOK = (
    "import sys\nfrom likewise.cli.main import app\n"
    "try: app(['--help'], standalone_mode=False)\nexcept SystemExit: pass\n"
    "sys.stderr.write(str('torch' in sys.modules))"
)


def processor_seconds() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(CALL, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    seconds = [processor_seconds() for _ in range(5)]
    look = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True)
    print(
        f"likewise --help: {statistics.median(seconds):.3f} s of processor time (median of 5; "
        f"{min(seconds):.3f} to {max(seconds):.3f}); torch imported: {look.stderr}"
    )


if __name__ == "__main__":
    main()
