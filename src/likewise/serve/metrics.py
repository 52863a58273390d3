"""What a server counts, in the text form of Prometheus (exposition format 0.0.4)."""

from collections import Counter
from collections.abc import Iterator

BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """Counts since the start.

    Attributes:
        read, made: tokens of prompts, and tokens made.

    Example:
        >>> metrics = Metrics()
        >>> metrics.served("/v1/models", 200, 0.02)
        >>> 'likewise_requests_total{path="/v1/models",status="200"} 1' in metrics.text(0, 0)
        True
    """

    def __init__(self) -> None:
        self.read = 0
        self.made = 0
        self._served: Counter[tuple[str, int]] = Counter()
        self._within = [0] * len(BOUNDS)
        self._seconds = 0.0
        self._count = 0

    def served(self, path: str, status: int, seconds: float) -> None:
        """One more request is over; 499 where the client left."""
        self._served[path, status] += 1
        for place, bound in enumerate(BOUNDS):
            self._within[place] += seconds <= bound
        self._seconds += seconds
        self._count += 1

    def text(self, running: int, waiting: int) -> str:
        """All of it, with how many requests run and wait at this moment."""
        return "".join(f"{line}\n" for line in self._lines(running, waiting))

    def _lines(self, running: int, waiting: int) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Requests that are over.")
        for (path, status), count in sorted(self._served.items()):
            yield f'likewise_requests_total{{path="{path}",status="{status}"}} {count}'
        for name, kind, what, value in (
            ("prompt_tokens_total", "counter", "Tokens of prompts.", self.read),
            ("generated_tokens_total", "counter", "Tokens that were made.", self.made),
            ("requests_running", "gauge", "Texts in the batch.", running),
            ("requests_waiting", "gauge", "Texts that wait for a slot.", waiting),
        ):
            yield from _head(name, kind, what)
            yield f"likewise_{name} {value}"
        name = "request_seconds"
        yield from _head(name, "histogram", "Seconds from a request to the end of its answer.")
        for bound, count in zip(BOUNDS, self._within, strict=True):
            yield f'likewise_{name}_bucket{{le="{bound}"}} {count}'
        yield f'likewise_{name}_bucket{{le="+Inf"}} {self._count}'
        yield f"likewise_{name}_sum {self._seconds}"
        yield f"likewise_{name}_count {self._count}"


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP likewise_{name} {what}"
    yield f"# TYPE likewise_{name} {kind}"
