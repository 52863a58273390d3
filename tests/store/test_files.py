"""Files are whole or absent; what was changed or cut is refused in words."""

import os
import struct
import subprocess
import sys

import pytest
import torch

from likewise.core.errors import StoreError
from likewise.store.files import (
    digest,
    locked,
    read_json,
    read_tensors,
    sweep,
    write_bytes,
    write_json,
    write_tensors,
)


def test_json_there_and_back_and_no_nan(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": [1, float("nan"), float("inf")], "ä": "ö"})
    assert read_json(path) == {"a": [1, None, None], "ä": "ö"}


def test_tensors_there_and_back(tmp_path):
    path = tmp_path / "a.safetensors"
    sha256 = write_tensors(path, {"w": torch.arange(6.0).reshape(2, 3).T}, {"step": 3})
    tensors, facts = read_tensors(path, sha256=sha256)
    assert torch.equal(tensors["w"], torch.arange(6.0).reshape(2, 3).T)
    assert facts == {"step": 3}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:4],
        lambda content: struct.pack("<Q", 2**62) + content[8:],
        lambda content: b"PK\x03\x04" + content,
        lambda content: content[:8] + b"[" * 20 + content[28:],
    ],
)
def test_damaged_tensors_are_refused(tmp_path, spoil):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.zeros(3)})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StoreError, match="is damaged"):
        read_tensors(path)


def test_one_changed_bit_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    sha256 = write_tensors(path, {"w": torch.zeros(3)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=r"its hash differs.*Take it again"):
        read_tensors(path, sha256=sha256)


@pytest.mark.parametrize("text", ["", "{", "[1,", "\x00", "[" * 100_000])
def test_damaged_json_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StoreError, match="is damaged"):
        read_json(tmp_path / "a.json")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_bytes(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"could not be written \(No space left on device\)"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_folder_in_use_is_refused_and_let_go(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from likewise.store.files import locked\n"
        "with locked(Path(sys.argv[1])): pass"
    )
    with locked(tmp_path):
        found = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True
        )
        assert "is in use by another process" in found.stderr
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_sweeping_leaves_what_another_process_is_writing(tmp_path):
    writing = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    file = tmp_path / f".unfinished-00001.png.{writing.pid}"
    file.write_bytes(b"half")
    sweep(tmp_path)
    assert file.exists()
    writing.communicate(b"\n")
    sweep(tmp_path)
    assert not file.exists()


def test_sweeping_removes_only_what_killed_writes_left(tmp_path):
    (tmp_path / ".unfinished-xyz").write_text("half")
    (tmp_path / "whole.json").write_text("{}")
    sweep(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["whole.json"]


def test_equal_data_has_equal_digests():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": (1, 2), "a": 1}) != digest({"a": 1})


def test_tensors_that_share_their_storage_are_each_written(tmp_path):
    one = torch.arange(6.0)
    write_tensors(tmp_path / "x.safetensors", {"a": one, "b": one, "c": one[2:]})
    found, _ = read_tensors(tmp_path / "x.safetensors")
    assert torch.equal(found["a"], found["b"])
    assert found["c"].tolist() == [2.0, 3.0, 4.0, 5.0]
