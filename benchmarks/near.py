"""How many near-duplicates are found: pictures changed in known ways among others like them.

    python -m benchmarks.near ZIP [--count 1500] [--changed 150]

Of `count` pictures of an archive, `changed` are added again, each changed in one way; told are the
shares of those that were found as near-duplicates of their originals (exact copies left out), and
how many pairs were found that nobody made.
"""

import argparse
import io
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

from likewise.domains.images.near import near_duplicates


def saved(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def marked(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    picture.paste((255, 255, 255), (0, 0, picture.width // 5, picture.height // 10))
    return picture


def half(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2)).resize(picture.size)


def cropped(picture: Image.Image) -> Image.Image:
    w, h = picture.size
    return picture.crop((1, 1, w - 1, h - 1)).resize((w, h))


WAYS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 75": lambda p: saved(p, 75),
    "JPEG of quality 30": lambda p: saved(p, 30),
    "15 % brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.15),
    "half size and back": half,
    "a pixel cropped all around": cropped,
    "a white mark": marked,
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("zip")
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--changed", type=int, default=150)
    options = parser.parse_args()
    with zipfile.ZipFile(options.zip) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        some = names[:: max(1, len(names) // options.count)][: options.count]
        files = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in some]
    for name, change in WAYS.items():
        more = [change(picture) for picture in files[: options.changed]]
        items = np.stack([np.asarray(picture) for picture in [*files, *more]])
        differ = [i for i in range(len(more)) if (items[i] != items[len(files) + i]).any()]
        clusters = near_duplicates(items, 256)
        place = {row: number for number, rows in enumerate(clusters) for row in rows}
        found = sum(place.get(i, -1) == place.get(len(files) + i, -2) for i in differ)
        made = {frozenset((i, len(files) + i)) for i in differ}
        others = sum(frozenset(rows) not in made for rows in clusters)
        print(f"{name}: {found} of {len(differ)} found; clusters that nobody made: {others}")


if __name__ == "__main__":
    main()
