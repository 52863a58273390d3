"""A transformer's blocks as one compiled call that reads a few new places of each row.

Where a step reads little, what costs is to read the weights once and everything around the
products. `step.c` does all of a step in one call: the weights lie in the order in which it reads
them, and nothing is waited for between two operations but the other threads. It is compiled for
the processor it runs on when it is first needed, which takes a second or two, and is kept in the
cache. Without a C compiler, see `likewise.nn.reading`.

What a row gets does not depend on the other rows, nor on how many places are read at once.

Shapes: n rows, w new places, d width, h heads of size s, g heads of keys and values.
"""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.machine import cache
from likewise.nn.attention import Rotary, Shape

SOURCE = Path(__file__).with_name("step.c")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")
FOLLOWS = {"nothing": 0, "swiglu": 1, "relu2": 2, "gelu": 3}
VARYING = ("processor", "cpu MHz", "bogomips", "BogoMIPS", "core id", "apicid", "initial apicid",
           "physical id", "siblings", "cpu cores", "cache size", "microcode")  # fmt: skip
PATIENCE = 120  # seconds that compiling may take
UNFINISHED = ".unfinished-step-"
FAR = 1 << 62  # of a window that is none


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled step, or None where there is none."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    with suppress(OSError, subprocess.SubprocessError):
        path = cache() / f"step-{_digest(SOURCE)}.so"
        if not _whole(path):  # none yet, or a damaged one
            _compile(compiler, SOURCE, path)
        return _opened(path)
    return None


def _whole(path: Path) -> bool:
    """Whether a compiled file is the user's own, and as it was written."""
    with suppress(OSError):
        own = path.stat().st_uid == os.getuid()
        return own and _seal(path).read_text() == hashlib.sha256(path.read_bytes()).hexdigest()
    return False


def _seal(path: Path) -> Path:
    """The file with the hash of a compiled one."""
    return path.with_suffix(".sha256")


def _opened(path: Path) -> ctypes.CDLL:
    found = ctypes.CDLL(str(path))
    for function in (found.read_places, found.tell):
        function.argtypes, function.restype = [ctypes.POINTER(_Step)], None
    found.strip.argtypes, found.strip.restype = [], ctypes.c_int64
    return found


def _digest(source: Path) -> str:
    """Of all that the compiled file depends on: a cache may be shared by several machines."""
    processor = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    told = [line for line in processor.splitlines() if not line.startswith(VARYING)]
    parts = [source.read_text(), *FLAGS, *told]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _compile(compiler: str, source: Path, path: Path) -> None:
    """Make `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in path.parent.glob(f"{UNFINISHED}*"):  # by a process that was killed
        if time.time() - left.stat().st_mtime > 4 * PATIENCE:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=path.parent) as folder:
        half, whole = Path(folder) / "step.o", Path(folder) / "step.so"
        # Linked without OpenMP: its functions are those that torch has loaded, so that both work
        # with the same threads.
        for arguments in (
            [*FLAGS, "-c", str(source), "-o", str(half)],
            ["-shared", str(half), "-o", str(whole), "-lm"],
        ):
            subprocess.run(
                [compiler, *arguments], check=True, capture_output=True, timeout=PATIENCE
            )
        seal = _seal(whole)
        seal.write_text(hashlib.sha256(whole.read_bytes()).hexdigest())
        whole.replace(path)
        seal.replace(_seal(path))


class _Product(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
    )


class _Block(ctypes.Structure):
    _fields_ = (
        *((name, _Product) for name in ("inward", "outward", "up", "down")),
        ("gains", ctypes.c_void_p),
    )


_SIZES = ("rows", "places", "width", "heads", "groups", "size", "blocks", "room", "window",
          "feed", "layered", "threads")  # fmt: skip
_NUMBERS = ("cos", "sin", "lengths", "keys", "values", "x", "level", "all_heads", "seen", "inner",
            "scores", "logits")  # fmt: skip


class _Step(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in _SIZES),
        ("epsilon", ctypes.c_double),
        ("block", ctypes.POINTER(_Block)),
        ("head", _Product),
        *((name, ctypes.c_void_p) for name in _NUMBERS),
    )


class Affine(NamedTuple):
    """A linear layer's numbers: weight (outputs, inputs), bias (outputs,) or None."""

    weight: Tensor
    bias: Tensor | None


class Parts(NamedTuple):
    """What a block is made of, with the gains of its norms in the layers that follow them.

    Attributes:
        inward, outward: before and after attention.
        up, down: before and after what is not linear; of SwiGLU, `up` has the gates first.
        gains: (h + g, s) of the norms of queries and keys, or None.
    """

    inward: Affine
    outward: Affine
    up: Affine
    down: Affine
    gains: Tensor | None


def fits(weight: Tensor) -> bool:
    """Whether a transformer with this weight can be read by the compiled step."""
    here = weight.device.type == "cpu" and weight.dtype == torch.float32
    return here and library() is not None


class Compiled:
    """The blocks and the head of a transformer, as the compiled step reads them.

    Args:
        shape: of the blocks.
        blocks: one after another; float32, on the processor.
        head: with the gain of the last norm.

    Raises:
        RuntimeError: there is no compiled step here; see `fits`.
    """

    def __init__(self, shape: Shape, blocks: Sequence[Parts], head: Affine) -> None:
        found = library()
        if found is None:
            raise RuntimeError("There is no compiled step: no C compiler was found.")
        self.library, self.shape, self.depth = found, shape, len(blocks)
        self.kept: list[Tensor] = []  # what the pointers point to
        self.blocks = (_Block * len(blocks))(*(self._block(block) for block in blocks))
        self.head, self.tokens = self._product(head), len(head.weight)

    def read(
        self, x: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, rotary: Rotary
    ) -> Tensor:
        """x (n, w, d) of new places -> (n, w, d) of the last block.

        Args:
            x: what the first block gets.
            keys, values: (blocks, n, g, room, s), those of the new places are filled in.
            lengths: (n,) int64, how many places of each row are filled.
            rotary: angles of all places, or none.

        Raises:
            IndexError: the cache has no room for the new places, or there are no angles for them.
        """
        shape, (n, w, d) = self.shape, x.shape
        x, threads, room = x.clone(), torch.get_num_threads(), keys.shape[3]
        most = room if rotary.cos is None else min(room, len(rotary.cos))
        until = w + max(lengths.tolist(), default=0)
        if until > most:
            raise IndexError(f"{until} places do not fit into {most}")
        inner = shape.heads * shape.size
        given = {"x": x, "keys": keys, "values": values, "lengths": lengths}
        if rotary.cos is not None and rotary.sin is not None:
            given |= {"cos": rotary.cos, "sin": rotary.sin}
        scratch = {
            "level": x.new_empty(n, w, d),
            "all_heads": x.new_empty(n, w, inner + 2 * shape.groups * shape.size),
            "seen": x.new_empty(n, w, inner),
            "inner": x.new_empty(n, w, shape.hidden),
            "scores": x.new_empty(threads, room),
        }
        self._call(self.library.read_places, {**given, **scratch}, n, w, room, threads)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., tokens)."""
        x, m = x.contiguous(), x.shape[:-1].numel()
        found = x.new_empty(*x.shape[:-1], self.tokens)
        numbers = {"x": x, "level": torch.empty_like(x), "logits": found}
        self._call(self.library.tell, numbers, m, 1, 0, torch.get_num_threads())
        return found

    def _call(
        self, function: Callable[..., None], numbers: dict[str, Tensor],
        n: int, w: int, room: int, threads: int,
    ) -> None:  # fmt: skip
        shape = self.shape
        assert all(x.is_contiguous() for x in numbers.values())
        step = _Step(
            rows=n,
            places=w,
            width=shape.width,
            heads=shape.heads,
            groups=shape.groups,
            size=shape.size,
            blocks=self.depth,
            room=room,
            window=FAR if shape.window is None else shape.window,
            feed=FOLLOWS[shape.feed],
            layered=shape.norms == "layer",
            threads=threads,
            epsilon=shape.epsilon,
            block=self.blocks,
            head=self.head,
            **{name: x.data_ptr() for name, x in numbers.items()},
        )
        function(ctypes.byref(step))

    def _block(self, parts: Parts) -> _Block:
        gains = None if parts.gains is None else self._keep(parts.gains.contiguous())
        up = self._product(parts.up, paired=self.shape.feed == "swiglu")
        inward, outward, down = map(self._product, (parts.inward, parts.outward, parts.down))
        return _Block(inward, outward, up, down, gains)

    def _product(self, layer: Affine, paired: bool = False) -> _Product:
        """A layer in strips; `paired` if its first half of outputs gates the second."""
        weight, outputs = layer.weight, len(layer.weight) // (2 if paired else 1)
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias
        width = self.library.strip()
        strips, columns = (in_strips(x, width, paired) for x in (weight, bias[:, None]))
        return _Product(self._keep(strips), self._keep(columns), weight.shape[1], outputs)

    def _keep(self, x: Tensor) -> int:
        self.kept.append(x)
        return x.data_ptr()


def in_strips(weight: Tensor, width: int, paired: bool) -> Tensor:
    """(outputs, inputs) -> (strips, inputs, width), zeros where there are no more outputs.

    If paired, half of a strip is of the first half of the outputs and half of the second.
    """
    halves, inputs = weight.chunk(2) if paired else (weight,), weight.shape[1]
    each = width // len(halves)
    parts = [F.pad(x, (0, 0, 0, -len(x) % each)).view(-1, each, inputs) for x in halves]
    return torch.cat(parts, dim=1).transpose(1, 2).contiguous()  # (strips, inputs, width)
