"""Small pictures, and the files that hold them."""

import io
import zipfile

import numpy as np
from PIL import Image


def noise(h=8, w=8, c=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (h, w, c), dtype=np.uint8)
    return values[:, :, 0] if c == 1 else values


def encoded(values=None, kind="PNG", mode=None, **options):
    picture = Image.fromarray(noise() if values is None else values)
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, format=kind, **options)
    return buffer.getvalue()


def fill(folder, contents):
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def zipped(path, contents):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def picture_set(names):
    return {name: encoded(noise(seed=i)) for i, name in enumerate(names)}


def opened(data):
    return np.array(Image.open(io.BytesIO(data)))
