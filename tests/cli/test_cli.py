"""The command line, as a person meets it: exit codes, sentences, files, help."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

LIKEWISE = [sys.executable, "-m", "likewise.cli.main"]


def likewise(*words, cwd, code=0, timeout=300):
    """Run the command; the exit code is what it should be and there is never a traceback."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [*LIKEWISE, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small trained run of digits."""
    folder = tmp_path_factory.mktemp("cli")
    likewise("train", "gmm", "digits", "--steps", 3, "--out", "run", cwd=folder)
    return folder / "run"


def test_help_shows_every_verb(tmp_path):
    done = likewise("--help", cwd=tmp_path)
    for verb in ("run", "data", "train", "sample", "evaluate", "audit", "report"):
        assert f" {verb} " in done.stdout


def test_help_says_which_families_are_audited(tmp_path):
    said = " ".join(likewise("audit", "--help", cwd=tmp_path).stdout.split())
    assert "Which family of the run; all if not given." in said
    assert "its best if not given" not in said


def test_version(tmp_path):
    assert likewise("--version", cwd=tmp_path).stdout.startswith("likewise 0.")


def test_data_says_what_is_in_it(tmp_path):
    facts = json.loads(likewise("data", "digits", "--json", cwd=tmp_path).stdout)
    assert facts["records"] == 1797
    assert facts["counts"]["train"] + facts["counts"]["valid"] + facts["counts"]["test"] == 1797
    assert "1,797 images" in likewise("data", "digits", cwd=tmp_path).stdout


def test_samples_are_written_and_marked_as_model_made(run):
    from likewise.store.provenance import read_png

    done = likewise("sample", run, "-n", 3, "--where", "label=3", "--json", cwd=run.parent)
    files = json.loads(done.stdout)["files"]
    assert len(files) == 3
    with Image.open(run.parent / files[0]) as picture:
        assert picture.size == (8, 8)
    mark = read_png(run.parent / files[0])
    assert mark["family"] == "gmm"
    assert "trainedAlgorithmicMedia" in (run.parent / files[0]).read_bytes().decode("latin-1")


def test_a_sample_is_made_again_alone_and_a_command_is_not_done_twice(run, tmp_path):
    words = ["sample", run, "--seed", 5, "--json"]
    whole = json.loads(likewise(*words, "-n", 20, "--out", "all", cwd=tmp_path).stdout)
    some = json.loads(likewise(*words, "--only", "17", "--out", "one", cwd=tmp_path).stdout)
    (name,) = (file.rpartition("/")[2] for file in some["files"])
    assert name.startswith("00017-")
    one, other = (np.array(Image.open(tmp_path / place / name)) for place in ("one", "all"))
    assert np.abs(one.astype(int) - other).max() <= 16  # a level of digits
    assert (whole["made"], whole["present"]) == (20, 0)
    again = likewise("sample", run, "--seed", 5, "-n", 22, "--out", "all", cwd=tmp_path)
    assert again.stdout.strip() == "2 samples in all; 20 more were there already"


def test_ctrl_c_while_sampling_leaves_whole_pictures(run, tmp_path):
    process = subprocess.Popen(
        [*LIKEWISE, "sample", str(run), "-n", "300000", "--out", "made"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        time.sleep(0.1)
        if (tmp_path / "made").is_dir() and len(os.listdir(tmp_path / "made")) > 20:
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    files = list((tmp_path / "made").rglob("*"))
    assert process.returncode == 130, said
    assert f"stopped  {len(files)} of 300000 samples are in made, each of them whole." in said
    assert "Traceback" not in said
    assert all(Image.open(file).size == (8, 8) for file in files)


def test_a_page_of_data_is_written_where_it_is_asked_for(tmp_path):
    done = likewise("data", "digits", "--out", "data.html", cwd=tmp_path)
    assert "page: data.html. It shows records of the data: private." in done.stdout
    assert "Private." in (tmp_path / "data.html").read_text()
    done = likewise("data", "nowhere", "--out", "data.txt", cwd=tmp_path, code=2)
    assert "the page must be a file that ends in .html" in done.stderr


def test_a_run_is_scored_audited_and_reported_alone(run):
    board = json.loads(likewise("evaluate", run, "--json", cwd=run.parent).stdout)
    assert board["rows"][0]["name"] == "gmm"
    audits = likewise("audit", run, "--family", "copier", "--json", cwd=run.parent, code=3)
    assert json.loads(audits.stdout)["copier"]["verdict"] == "hold"
    likewise("report", run, cwd=run.parent)
    assert (run / "report.html").exists()


def test_files_of_any_origin_are_scored(run):
    likewise("sample", run, "-n", 80, "--out", "made", cwd=run.parent)
    scores = json.loads(likewise("evaluate", "made", "digits", "--json", cwd=run.parent).stdout)
    assert scores["fd_classifier"]["n"] == 80
    assert scores["coverage"]["value"] > 0.1


def test_a_training_is_not_done_twice(run):
    before = (run / "gmm" / "model.safetensors").stat().st_mtime_ns
    likewise("train", "gmm", "digits", "--steps", 3, "--out", "run", cwd=run.parent)
    assert (run / "gmm" / "model.safetensors").stat().st_mtime_ns == before


def picture(path, size=8, value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(path)) + hash(path.name) % 1000)
    pixels = (
        np.full((size, size), value) if value is not None else rng.integers(0, 256, (size, size))
    )
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run", "digts"], 1, "did you mean 'digits'"),
        (["run", "nowhere/"], 1, "does not exist"),
        (["run", "digits", "--time", "1s"], 2, "time must be at least 5s"),
        (["run", "digits", "--time", "soon"], 2, "time must be such as 90s, 3m or 1h30m"),
        (["run", "digits", "--families", "flwo"], 2, "did you mean 'flow'"),
        (["run", "digits", "--tme", "3m"], 2, "No such option: --tme"),
        (["run", "digits", "--load", "sise=8"], 2, "did you mean 'size'"),
        (["run", "digits", "--load", "size"], 2, "--load must be of the form KEY=VALUE"),
        (["run", "digits", "--device", "tpu"], 2, "device must be one that is here"),
        (["run", "digits", "--plan", "nowhere"], 1, "is not a run folder"),
        (["train", "vae", "digits", "--set", "widht=3"], 2, "setting 'widht' is unknown"),
        (["train", "vae", "digits", "--preset", "xl"], 2, "preset 'xl' is unknown"),
        (["sample", "nowhere"], 1, "nowhere"),
        (["sample", "nowhere", "-n", "0"], 2, "n must be a whole number above 0; got 0"),
        (["sample", "nowhere", "--only=-3"], 2, "only must be numbers of samples from 0 on"),
        (["audit", "nowhere"], 1, "is not a run folder"),
        (["report", "nowhere"], 1, "is not a run folder"),
        (["evaluate", "nowhere"], 2, "name the real data"),
        (["bogus"], 2, "No such command"),
        (["run"], 2, "Missing argument"),
    ],
)
def test_mistakes_are_said_in_words(words, code, sentence, tmp_path):
    done = likewise(*words, cwd=tmp_path, code=code)
    assert sentence in " ".join(done.stderr.split())
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"]


def test_an_empty_folder_and_too_few_pictures_are_said_in_words(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in likewise("run", "empty", cwd=tmp_path, code=1).stderr
    picture(tmp_path / "one" / "a.png")
    done = likewise("run", "one", cwd=tmp_path, code=1)
    assert "at least 3 different records" in " ".join(done.stderr.split())
    for i in range(5):
        picture(tmp_path / "grey" / f"{i}.png", value=7)
    done = likewise("run", "grey", cwd=tmp_path, code=1)
    assert "got 1 among 5" in " ".join(done.stderr.split())


def test_what_cannot_be_read_is_skipped_and_said(tmp_path):
    for i in range(9):
        picture(tmp_path / "mixed" / f"picture{i}.png")
    (tmp_path / "mixed" / "zero.png").write_bytes(b"")
    (tmp_path / "mixed" / "notes.txt").write_text("not a picture")
    (tmp_path / "mixed" / "cut.png").write_bytes(
        (tmp_path / "mixed" / "picture0.png").read_bytes()[:60]
    )
    facts = json.loads(likewise("data", "mixed", "--json", cwd=tmp_path).stdout)
    assert facts["records"] == 9
    assert {item["what"] for item in facts["skipped"]} == {"zero.png", "notes.txt", "cut.png"}
    assert all(item["why"] for item in facts["skipped"])


def test_a_run_in_use_is_refused(run):
    from likewise.store.files import locked

    with locked(run):
        done = likewise("audit", run, cwd=run.parent, code=1)
    assert "is in use by another process" in " ".join(done.stderr.split())


def test_a_tampered_model_is_refused(run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    weights = copy / "gmm" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    done = likewise("sample", copy, "-n", 2, "--out", "made", cwd=tmp_path, code=1)
    assert "is not the file that was saved" in " ".join(done.stderr.split())
    assert not (tmp_path / "made").exists()


def interrupted(words, folder, after):
    """Send Ctrl-C after some seconds; what the command said, and its exit code."""
    process = subprocess.Popen(
        [*LIKEWISE, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    return said, process.returncode


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(tmp_path):
    words = ["train", "vae", "digits", "--steps", "4000"]
    said, code = interrupted([*words, "--out", "run"], tmp_path, 14)
    assert code == 130, said
    assert "give the same command again to go on" in said
    assert "Traceback" not in said
    state = json.loads((tmp_path / "run" / "run.json").read_text())["states"]
    assert state.get("vae", {}).get("state", "training") == "training"


def test_a_report_needs_a_leaderboard(tmp_path):
    likewise("train", "gmm", "digits", "--steps", 2, "--out", "run", cwd=tmp_path)
    done = likewise("report", "run", cwd=tmp_path, code=1)
    assert "has nothing to report yet" in " ".join(done.stderr.split())


def test_samples_are_not_mixed_with_the_data(run, tmp_path):
    picture(tmp_path / "mine" / "a.png")
    done = likewise("sample", run, "-n", 2, "--out", tmp_path / "mine", cwd=tmp_path, code=2)
    assert "samples need a folder of their own" in " ".join(done.stderr.split())
    assert len(list((tmp_path / "mine").iterdir())) == 1


TAMPERED = {
    "not a run": {"schema": 1, "states": {}},
    "a word for a schema": {"schema": "a"},
    "a foreign plan": {"plan": {"x": 1}},
    "a word for a state": {"states": {"gmm": "done"}},
    "a path for a name": {"states": {"../../x": {"state": "done"}}},
}


@pytest.mark.parametrize("what", list(TAMPERED))
def test_a_tampered_run_is_refused_in_words(what, run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    data = json.loads((copy / "run.json").read_text())
    whole = TAMPERED[what] if what == "not a run" else {**data, **TAMPERED[what]}
    (copy / "run.json").write_text(json.dumps(whole))
    done = likewise("audit", copy, cwd=tmp_path, code=1)
    assert "damaged" in done.stderr


def test_what_can_be_made_again_is_made_again(run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    for file in ("samples/samples.safetensors", "scorecard.json"):
        if (copy / "gmm" / file).exists():
            (copy / "gmm" / file).write_bytes(b"half")
    likewise("evaluate", copy, "-q", cwd=tmp_path)
    assert json.loads((copy / "gmm" / "scorecard.json").read_text())["name"] == "gmm"


def test_a_control_is_not_sampled(run):
    # So small a set gives its records away to a full mixture: the audit holds it.
    likewise("audit", run, "-q", cwd=run.parent, code=3)
    done = likewise("sample", run / "copier", "-n", 2, cwd=run.parent, code=2)
    assert "holds training records" in " ".join(done.stderr.split())


def test_a_terminal_says_how_far_reading_has_come_unless_it_is_quiet(capsys):
    import logging

    from likewise.cli.show import Terminal

    log = logging.getLogger("likewise.domains.images.files")
    level = logging.getLogger("likewise").level
    with Terminal():
        log.info("%d of %d files read, %.0f s left", 5, 9, 30)
        log.debug("of no interest")
    with Terminal(quiet=True):
        log.info("not wanted")
    log.info("nobody listens")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("s  5 of 9 files read, 30 s left")
    assert logging.getLogger("likewise").level == level


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(13, "Permission denied", "/closed/a"),
            "'/closed/a' cannot be used (Perm",
        ),
        (
            OSError(28, "No space left on device"),
            "a file cannot be used (No space left on",
        ),
        (OSError(5, "Input/output error", "a\x1b[31m"), r"'a\x1b[31m' cannot be used (Input"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(capsys, error, said):
    from likewise.cli.main import guarded

    def call():
        raise error

    assert guarded(call) == 1
    assert said in capsys.readouterr().err


def test_a_name_that_is_too_long_is_said_in_words(tmp_path):
    done = likewise("data", "x" * 5000, cwd=tmp_path, code=1)
    assert "cannot be used (File name too long). Check its name" in done.stderr
