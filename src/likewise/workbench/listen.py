"""What a person is told while work goes on; the command line and a notebook listen in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from likewise.train.job import Progress
    from likewise.workbench.forecast import Forecast


class Listener:
    """Hears of every phase, step and oddity; this one says nothing."""

    def phase(self, name: str, what: str) -> None:
        """A phase of a family (or of the whole run, name "") begins: "training", "sampling"."""

    def progress(self, name: str, progress: "Progress") -> None:
        """A step of training was taken."""

    def forecast(self, rows: "Sequence[Forecast]") -> None:
        """What each family is expected to take, before any of them trains."""

    def note(self, sentence: str) -> None:
        """Something worth saying once."""

    def done(self, name: str, what: str) -> None:
        """A family is done, failed or skipped, and what came out."""
