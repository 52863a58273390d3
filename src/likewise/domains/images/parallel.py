"""Work on all cores, in order: on processes, as most of the time of a small picture is Python's.

Processes are forked, as torch's loaders are, and only where that is safe and worth it; elsewhere
threads do the same work.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from likewise.core.errors import DataError
from likewise.core.machine import cores

In = TypeVar("In")
Out = TypeVar("Out")
MOST = 8  # processes

_function: Callable[[Any], Any] | None = None  # of a forked process


def in_parallel(
    function: Callable[[In], Out], items: Sequence[In], begin: Callable[[], None]
) -> Iterator[Out]:
    """`function` of each item, in order, and only a few ahead of what is taken.

    Args:
        function: whose results can be pickled.
        items: that can be pickled too; one alone is worked on right here.
        begin: called first in every process, to open anew what processes cannot share.

    Raises:
        DataError: a process was ended from without.
    """
    workers = min(MOST, cores(), len(items))
    if workers < 2:
        yield from map(function, items)
        return
    pool, call = _pool(workers, function, begin)
    waiting: deque[Future[Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that reads pictures was ended by the system, mostly because memory ran "
            "out. Close other programs, or give a smaller size, such as size=32."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(
    workers: int, function: Callable[[In], Out], begin: Callable[[], None]
) -> tuple[Executor, Callable[[In], Out]]:
    # Only Linux forks safely, and a process of a pool may have no children.
    if sys.platform == "linux" and not multiprocessing.current_process().daemon:
        fork = multiprocessing.get_context("fork")
        return ProcessPoolExecutor(workers, fork, _begin, (function, begin)), _call
    return ThreadPoolExecutor(workers), function


def _begin(function: Callable[[Any], Any], begin: Callable[[], None]) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to answer
    threading.Thread(target=_outlive_nobody, args=(os.getppid(),), daemon=True).start()
    begin()
    _function = function


def _outlive_nobody(parent: int) -> None:
    """End with the parent, even if it was killed and could not say so."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)
