"""Pictures: a folder, a zip, arrays or the built-in digits in; marked PNG files out.

| file | responsibility |
|---|---|
| `codec.py` | `Images`, the Domain: what a model carries |
| `options.py` | what `load` can be asked for |
| `read.py` | from whatever was brought to Records |
| `files.py`, `layout.py`, `cache.py` | folders and archives, what folder names mean, read once |
| `decode.py`, `pictures.py` | files to pictures; any picture to one size and colour |
| `arrays.py` | arrays and lists of pictures |
| `source.py`, `augment.py` | training batches |
| `show.py`, `save.py`, `toy.py` | grids, files, a small generated set |
"""

from likewise.domains.images.codec import Images

__all__ = ["Images"]
