"""Pictures: a folder, a zip, arrays or the built-in digits in; marked PNG files out.

| file | responsibility |
|---|---|
| `codec.py` | `Images`, the Domain: what a model carries |
| `options.py` | what `load` can be asked for |
| `recognise.py`, `read.py` | from whatever was brought to Records |
| `files.py`, `archives.py`, `cache.py` | folders, zip and tar, within limits; read once |
| `layout.py`, `metadata.py`, `columns.py` | what folder names, tables and texts beside mean |
| `decode.py`, `jpeg.py`, `pictures.py`, `profile.py` | files to pictures of one size and colour |
| `arrays.py`, `numpy_files.py`, `idx.py` | arrays and lists of pictures, and files of arrays |
| `source.py`, `augment.py` | training batches |
| `show.py`, `save.py`, `toy.py` | grids, files, a small generated set |
"""

from likewise.domains.images.codec import Images

__all__ = ["Images"]
