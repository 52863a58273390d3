"""Names of files as a user writes them."""

import errno
import os
from pathlib import Path

from likewise.core.errors import DataError
from likewise.core.text import printable

SHOWN = 60  # characters of what is no name
LIST = "A text itself is given in a list: [text]."


def brought(data: "str | os.PathLike[str]") -> Path:
    """The path of data that a user names, whether it exists or not.

    Raises:
        DataError: there can be no such file, or it cannot be looked at.

    Example:
        >>> brought("photos").name
        'photos'
    """
    name = printable(os.fspath(data))
    shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
    try:
        path = Path(data).expanduser()
        path.stat()
    except RuntimeError as error:
        raise DataError(
            f"'{name}' must begin with the name of a user of this machine; got one that is not "
            "known. Write the whole path."
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        if "\n" in os.fspath(data):
            raise DataError(f"'{shown}' is no name of a file. {LIST}") from error
    except ValueError as error:
        raise DataError(f"'{name}' is no name of a file ({error}).") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            why = f"cannot be used ({error.strerror}). Check its name"
            raise DataError(f"'{shown}' {why}. {LIST}") from error
        raise DataError(f"'{name}' cannot be opened ({error.strerror}).") from error
    return path
