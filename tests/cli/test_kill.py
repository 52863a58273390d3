"""A training that is killed at any moment and given again ends with the same bits."""

import os
import random
import signal
import subprocess
import time

import pytest
import torch

from likewise.store.files import read_json, read_tensors
from tests.cli.test_cli import LIKEWISE, likewise

WORDS = ["train", "vae", "digits", "--steps", "40"]


def killed(folder, after):
    """Start the training and kill it after some seconds; whether it was still at work."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*LIKEWISE, *WORDS, "--out", "run"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after)
    working = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return working


def whole(folder):
    """Every file that is there is whole: no half-written file is ever seen under its name."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            if path.suffix == ".json":
                read_json(path)
            if path.suffix == ".safetensors":
                read_tensors(path)


def weights(folder):
    return read_tensors(folder / "run" / "vae" / "model.safetensors")[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights and the seconds of a training that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    likewise(*WORDS, "--out", "run", cwd=folder)
    return weights(folder), time.monotonic() - start


def resumes_to_the_same_bits(undisturbed, folder, moments):
    wanted, seconds = undisturbed
    disturbed = 0
    for share in moments:
        disturbed += killed(folder, share * seconds)
        whole(folder)
    likewise(*WORDS, "--out", "run", cwd=folder)
    assert disturbed
    assert not list(folder.rglob(".unfinished*"))
    found = weights(folder)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_three_kills_change_no_bit(undisturbed, tmp_path):
    resumes_to_the_same_bits(undisturbed, tmp_path, [0.5, 0.7, 0.9])


@pytest.mark.slow
@pytest.mark.parametrize("kill", range(20))
def test_a_kill_at_a_random_moment_changes_no_bit(undisturbed, tmp_path, kill):
    moment = random.Random(kill).uniform(0.3, 0.98)
    resumes_to_the_same_bits(undisturbed, tmp_path, [moment])
