"""Reading on processes: none of them outlives who started it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ENDLESS = """
import os, sys, time
from likewise.domains.images import parallel

def work(number):
    print(os.getpid(), flush=True)
    time.sleep(60)

parallel.cores = lambda: 2
list(parallel.in_parallel(work, [1, 2], lambda: None))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_processes_end_with_a_parent_that_was_killed():
    parent = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while any(alive(worker) for worker in workers) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(alive(worker) for worker in workers)


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
