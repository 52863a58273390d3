"""Files and folders of texts: which are read, how they are opened, and what is left out."""

import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, cast

from likewise.core.errors import DataError
from likewise.core.parts import CALLED
from likewise.core.records import Skipped
from likewise.core.text import printable

TEXTS = (".txt", ".text", ".md", ".markdown", ".rst", ".org", ".tex", ".srt", ".log", ".smi")
CODE = (
    *(".py", ".pyi", ".js", ".mjs", ".ts", ".jsx", ".tsx", ".c", ".h", ".cc", ".cpp", ".cxx"),
    *(".hh", ".hpp", ".cu", ".java", ".kt", ".scala", ".go", ".rs", ".rb", ".php", ".pl", ".pm"),
    *(".lua", ".r", ".jl", ".m", ".swift", ".cs", ".fs", ".hs", ".ml", ".mli", ".ex", ".exs"),
    *(".erl", ".clj", ".lisp", ".el", ".scm", ".sh", ".bash", ".zsh", ".ps1", ".sql", ".html"),
    *(".htm", ".css", ".scss", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".vue", ".zig"),
    *(".dart", ".f90", ".f", ".pas", ".v", ".vhd", ".asm", ".s", ".cmake", ".tcl", ".abc"),
)
ROWS = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv")
SUFFIXES = (*TEXTS, *CODE)
PICTURES = (  # or what may hold them
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".zip", ".tar", ".tgz", ".npy", ".npz"),
)
OTHER = (  # what is known to be no text; a file of any other ending is one if its bytes are
    *PICTURES,
    *(".heic", ".ico", ".svg", ".psd", ".eps", ".ps", ".mp3", ".wav", ".flac", ".ogg", ".m4a"),
    *(".mid", ".midi", ".mp4", ".mkv", ".avi", ".mov", ".bz2", ".xz", ".zst", ".7z", ".rar"),
    *(".jar", ".whl", ".deb", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx"),
    *(".odt", ".ods", ".epub", ".pt", ".pth", ".ckpt", ".safetensors", ".gguf", ".onnx", ".h5"),
    *(".mat", ".pkl", ".pickle", ".joblib", ".parquet", ".arrow", ".feather", ".db", ".sqlite"),
    *(".bin", ".exe", ".dll", ".so", ".o", ".a", ".class", ".pyc", ".wasm", ".ttf", ".otf"),
)
NAMED = (".txt", ".text", *ROWS, *TABLES)  # whose names may say their part
ACCEPTED = (
    "a .txt file, a folder of texts or source files, JSONL or CSV with a column text, dialogues "
    "(JSONL with messages, or lines of USER: and SYSTEM:), each also as .gz"
)
LINKED = "is a link to a folder: such links are not followed"
IGNORED = ("__MACOSX", "__pycache__", "node_modules", "Thumbs.db", "desktop.ini")
MAX_UNPACKED = 1 << 34
MAX_RATIO = 200  # text that unpacks further than this, beyond the next line, is a bomb
RATIO_FROM = 1 << 26


class Bounded(io.RawIOBase):
    """A packed file that unpacks no further than the limits; DataError beyond them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = gzip.GzipFile(path, "rb")
        self.most = min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * path.stat().st_size))
        self.got = 0

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        try:
            data = self.file.read(size)
        except (EOFError, OSError, ValueError, zlib.error) as error:
            raise DataError(f"'{self.path}' cannot be unpacked ({error}).") from error
        self.got += len(data)
        if self.got > self.most:
            raise DataError(
                f"'{self.path}' would unpack to more than {MAX_UNPACKED >> 30} GiB or to more "
                f"than {MAX_RATIO} times its size. Unpack it and bring a part of it."
            )
        return data

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()
        super().close()


def opened(path: Path) -> BinaryIO:
    """A file to read, unpacked on the way where it is packed.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        if path.suffix.lower() == ".gz":
            return cast(BinaryIO, Bounded(path))
        return path.open("rb")
    except OSError as error:
        raise DataError(f"'{path}' cannot be opened ({error.strerror or error}).") from error


def kind(path: Path) -> str:
    """The ending of a name that says what it holds, in lower case, without .gz."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def parts_of(found: list[tuple[str, Path]]) -> dict[str, str]:
    """The part of each file that a folder gives, by name; empty if it gives fewer than two.

    A folder train/, valid/ or test/ names the part of what is in it, and so does a file train.csv
    or train.txt at the top. Code does not: a train.py beside a test.py is no split.

    Example:
        >>> parts_of([(name, Path(name)) for name in ("train.csv", "val.csv", "more/a.txt")])
        {'train.csv': 'train', 'val.csv': 'valid'}
    """
    words: dict[str, str] = {}
    for name, path in found:
        top, below, _ = name.lower().partition("/")
        if not below:
            top = top.split(".")[0] if kind(path) in NAMED else ""
        words[name] = CALLED.get(top, "")
    parts = {name: part for name, part in words.items() if part}
    return parts if len(set(parts.values())) > 1 else {}


def walk(root: Path, skipped: list[Skipped]) -> Iterator[tuple[str, Path]]:
    """(name, path) of the files below a folder that may be texts, in order of their names.

    Links are followed to files within the folder, and to nothing else.
    """
    real = os.path.realpath(root)
    found = []

    def closed(error: OSError) -> None:
        why = f"is a folder that cannot be opened ({error.strerror})"
        skipped.append(Skipped(_name(Path(error.filename), root), why))

    for place, folders, names in os.walk(root, onerror=closed):
        folders[:] = sorted(name for name in folders if not _ignored(name))
        linked = [path for name in folders if (path := Path(place) / name).is_symlink()]
        skipped.extend(Skipped(_name(path, root), LINKED) for path in linked)
        found += [Path(place) / name for name in names if not _ignored(name)]
    for path in sorted(found):
        why = _refused(path, real)
        if why:
            skipped.append(Skipped(_name(path, root), why))
        else:
            yield _name(path, root), path


def _name(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix())


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in IGNORED


def _refused(path: Path, real: str) -> str:
    """Why a file of a folder is not read, or ""."""
    ending = kind(path)
    if ending in OTHER:
        return f"ends in {ending!r}, which is no text or code"
    try:
        if path.is_symlink() and os.path.commonpath([real, os.path.realpath(path)]) != real:
            return "is a link that leads out of the folder"
        if not stat.S_ISREG(path.stat().st_mode):
            return "is a pipe, a socket or a device, not a file"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return ""


def missing(path: Path) -> str:
    """That a path does not exist, and what is near it."""
    parent = path.absolute().parent
    try:
        there = sorted(entry.name for entry in parent.iterdir())
    except OSError:  # no folder, or one that may not be looked into
        there = []
    close = " or ".join(f"'{printable(n)}'" for n in get_close_matches(path.name, there, n=3))
    hint = f"; did you mean {close}?" if close else "."
    return f"'{printable(str(path))}' does not exist{hint}"
