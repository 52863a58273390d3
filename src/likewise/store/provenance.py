"""Marks that say a file was made by a model, inside the file where its format allows it.

A PNG carries two marks: an XMP packet with the IPTC term `DigitalSourceType` that other programs
read (IPTC, "Photo metadata standard", 2023: trainedAlgorithmicMedia), and a text chunk
`likewise` with the provenance as JSON. Formats without room for either get a sidecar file bound
to them by a hash. A mark is a statement, not a proof: who rewrites a file can take it off, so
"no mark" never means "real".
"""

import binascii
import hashlib
import json
import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from likewise.core.errors import DataError, StoreError
from likewise.store.files import whole

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SOURCE_KEY = "DigitalSourceType"
SIDECAR_SUFFIX = ".likewise.json"
_CIRCUMSTANCES = {SOURCE_KEY, "created", "generator", "sha256"}
MAX_TEXT = 1 << 18  # a mark is a few hundred bytes; more than this is not read

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_OWN_KEYWORD = b"likewise"
_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<xmp:CreatorTool>Likewise</xmp:CreatorTool>"
    f"<Iptc4xmpExt:{SOURCE_KEY}>{SOURCE_TYPE}</Iptc4xmpExt:{SOURCE_KEY}>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
# The term may be written as an element, an attribute or a resource; all have it close behind.
_TERM = re.compile(
    rf"{SOURCE_KEY}\b[^<]{{0,64}}?(https?://cv\.iptc\.org/newscodes/digitalsourcetype/\w{{1,64}})"
)


def mark_png(png: bytes, provenance: Mapping[str, str]) -> bytes:
    """The bytes of a PNG with both marks; marks that it had are replaced.

    Args:
        png: a whole PNG file.
        provenance: such as {"family": "flow", "model": "3f2a..."}; plain text on both sides.

    Raises:
        DataError: the bytes are not a PNG.
    """
    if not png.startswith(_SIGNATURE) or png[12:16] != b"IHDR":
        raise DataError("only a PNG can be marked as a PNG; these bytes are of another format.")
    end_of_header = len(_SIGNATURE) + 12 + int.from_bytes(png[8:12], "big")
    own = json.dumps({SOURCE_KEY: SOURCE_TYPE, **provenance}, sort_keys=True).encode("ascii")
    marks = _chunk(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0\0" + _XMP.encode())
    marks += _chunk(b"tEXt", _OWN_KEYWORD + b"\0" + own)
    return png[:end_of_header] + marks + _without_marks(png[end_of_header:])


def read_png(path: Path) -> dict[str, str] | None:
    """The provenance that a PNG carries, or None if it is no PNG or carries none.

    Sizes that the file states are never trusted: a text chunk beyond `MAX_TEXT`, one whose
    checksum is wrong and one that unpacks to more are passed over.

    Returns:
        the provenance, with `DigitalSourceType` where the file states it.

    Raises:
        StoreError: the file cannot be opened.
    """
    found: dict[str, str] = {}
    try:
        with Path(path).open("rb") as file:
            for kind, body in _text_chunks(file):
                keyword, _, rest = body.partition(b"\0")
                if kind == b"iTXt" and keyword == _XMP_KEYWORD:
                    term = _TERM.search(_international(rest))
                    found = ({SOURCE_KEY: term[1]} if term else {}) | found
                elif kind == b"tEXt" and keyword == _OWN_KEYWORD:
                    found |= _strings(_parse(rest))
    except OSError as error:
        raise StoreError(f"'{path}' cannot be read ({error.strerror}).") from error
    return found or None


def read_mark(path: Path) -> dict[str, str] | None:
    """The provenance of a file, in it or beside it, or None if it carries none.

    Raises:
        StoreError: the file cannot be read, or is not the one that was marked.
    """
    return read_png(path) or read_sidecar(path)


def same_making(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two marks name the same sample of the same model; when it was made counts not.

    Example:
        >>> same_making({"seed": "1", "created": "now"}, {"seed": "1", "created": "then"})
        True
    """
    keys = (one.keys() | other.keys()) - _CIRCUMSTANCES
    return all(one.get(key) == other.get(key) for key in keys)


def write_sidecar(path: Path, provenance: Mapping[str, str]) -> Path:
    """Write the mark of a file beside it, bound to its bytes; returns the sidecar's path."""
    mark = {SOURCE_KEY: SOURCE_TYPE, **provenance, "sha256": _hash(path)}
    target = path.with_name(path.name + SIDECAR_SUFFIX)
    with whole(target) as part:
        part.write_text(json.dumps(mark, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    return target


def read_sidecar(path: Path) -> dict[str, str] | None:
    """The provenance in the sidecar of a file, or None if it has no sidecar.

    Raises:
        StoreError: the sidecar is damaged, or the file has changed since it was marked.
    """
    sidecar = path.with_name(path.name + SIDECAR_SUFFIX)
    if not sidecar.is_file():
        return None
    with sidecar.open("rb") as file:
        mark = _strings(_parse(file.read(MAX_TEXT)))
    if "sha256" not in mark:
        raise StoreError(f"'{sidecar}' is not a mark that Likewise wrote, or it is damaged.")
    if mark["sha256"] != _hash(path):
        raise StoreError(f"'{path}' has changed since it was marked: its hash is another.")
    return mark


def _chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk: length, kind, body, checksum."""
    checksum = binascii.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def _without_marks(chunks: bytes) -> bytes:
    """PNG chunks less the text chunks that `mark_png` writes."""
    kept, at = [], 0
    while at + 12 <= len(chunks):
        end = at + 12 + int.from_bytes(chunks[at : at + 4], "big")
        kind, keyword = chunks[at + 4 : at + 8], chunks[at + 8 : end].split(b"\0", 1)[0]
        if (kind, keyword) not in ((b"iTXt", _XMP_KEYWORD), (b"tEXt", _OWN_KEYWORD)):
            kept.append(chunks[at:end])
        at = end
    return b"".join(kept)


def _text_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of the whole text chunks of a PNG; the others are stepped over."""
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in (b"tEXt", b"iTXt") or length > MAX_TEXT:
            file.seek(length + 4, os.SEEK_CUR)
            continue
        body, checksum = file.read(length), file.read(4)
        if int.from_bytes(checksum, "big") == binascii.crc32(kind + body):
            yield kind, body


def _international(rest: bytes) -> str:
    """The text of an iTXt chunk behind its keyword: flag, method, language, title, text."""
    compressed, fields = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    text = fields[-1] if len(fields) == 3 else b""
    if compressed:
        try:
            text = zlib.decompressobj().decompress(text, MAX_TEXT)
        except zlib.error:
            return ""
    return text.decode("utf-8", errors="replace")


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _strings(data: Any) -> dict[str, str]:
    """Only what is text on both sides; anything else was not written by `mark_png`."""
    if not isinstance(data, dict):
        return {}
    return {key: value for key, value in data.items() if isinstance(value, str)}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
