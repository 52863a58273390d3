"""Plain JPEG files by the shortest way: the same pixels as Pillow's, far sooner.

Of a small picture most of the time is not decoding but getting there. Both libraries stand on
libjpeg-turbo and are asked for its exact transforms, so pixels are equal to the bit; whatever is
not plain, or not whole, is left to Pillow and to what it says of it.
"""

from functools import cache
from typing import Any

from likewise.domains.images.pictures import Pixels, Size

START = b"\xff\xd8"
FRAMES = (0xC0, 0xC2)  # baseline and progressive
JFIF, SCAN = 0xE0, 0xDA
PLAIN = (JFIF, 0xC4, 0xDB, 0xDD, 0xFE)  # and tables, restarts and comments: nothing that turns
MODES = {1: "GRAY", 3: "RGB"}


def quickly(data: bytes, size: Size) -> Pixels | None:
    """(h, w, 1 or 3) of a plain JPEG of this very size; None if Pillow has to look at it.

    Plain is a JFIF file without EXIF, colour profile or Adobe's marks, grey or in colour.
    """
    decode = _decoder()
    mode = plain_mode(data, size) if decode else None
    if mode is None:
        return None
    try:
        pixels: Pixels = decode(data, mode, fastdct=False, fastupsample=False)
    except ValueError:  # cut or damaged
        return None
    return pixels


def plain_mode(data: bytes, size: Size) -> str | None:
    """ "GRAY" or "RGB" of a plain JPEG of this size by its segments, else None."""
    if not data.startswith(START):
        return None
    at, jfif, mode = 2, False, None
    while len(data) >= at + 10 and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if kind == SCAN:
            return mode if jfif else None
        if kind in FRAMES:
            own = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            mode = MODES.get(data[at + 9]) if data[at + 4] == 8 and own == size else None
        elif kind not in PLAIN:
            return None
        jfif = jfif or (kind == JFIF and data[at + 4 : at + 9] == b"JFIF\0")
        at += 2 + length
    return None


@cache
def _decoder() -> Any:
    """The decoder, or None where its library is not installed."""
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    return decode_jpeg
