"""The watchdog: notices what goes wrong in training, acts, and says so in a plain sentence.

| it sees | it does |
|---|---|
| a loss or gradient that is not finite | rolls back, halves the rate |
| a loss far above its recent range | rolls back, halves the rate |
| samples that have become alike (`pairwise_ratio` below 0.05) | rolls back, halves the rate |
| validation worse three times in a row | stops; the best weights are kept |
| a fourth roll-back | stops; the best weights are kept |
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Action = Literal["go", "back", "stop"]
PATIENCE = 3
ROLLBACKS = 4
SPIKE = 12.0
SETTLING = 50
ALIKE = 0.05
VARIED = 0.25


@dataclass
class Watchdog:
    """What one training has gone through; its state is plain data.

    Attributes:
        factor: by which every step size is multiplied.
        rollbacks: how often it had to roll back.
        worse: how many validations in a row were worse than the best.
        varied: whether samples have ever differed: a generator starts with samples all alike.
        alike: for how many steps in a row they have been alike.
        ranges: {part: [steps seen, running mean, running mean deviation]} of the losses.
    """

    factor: float = 1.0
    rollbacks: int = 0
    worse: int = 0
    varied: bool = False
    alike: int = 0
    ranges: dict[str, list[float]] = field(default_factory=dict)

    def after_loss(
        self, step: int, part: str, loss: float, norm: float, notes: Mapping[str, float]
    ) -> tuple[Action, str]:
        """Judge a loss before its step is taken; the sentence is empty if all is well."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = "loss" if not math.isfinite(loss) else "gradient"
            return self._back(step, f"the {what} of {part!r} was not finite")
        if self._spiked(part, loss):
            return self._back(step, f"the loss of {part!r} jumped to {loss:.3g}")
        if self._collapsed(notes):
            return self._back(step, "the samples had become alike (mode collapse)")
        return "go", ""

    def after_validation(self, step: int, worse: bool) -> tuple[Action, str]:
        """Judge a validation: `worse` means clearly worse than the best so far."""
        self.worse = self.worse + 1 if worse else 0
        if self.worse >= PATIENCE:
            return "stop", (
                f"stopped at step {step}: held-out samples got worse {PATIENCE} times in a row "
                f"(overfitting); the best weights are kept"
            )
        return "go", ""

    def _spiked(self, part: str, loss: float) -> bool:
        seen, mean, deviation = self.ranges.setdefault(part, [0.0, 0.0, 0.0])
        far = abs(loss - mean)
        spiked = seen >= SETTLING and loss > mean and far > SPIKE * max(deviation, 1e-3)
        if not spiked:
            blend = max(0.02, 1.0 / (seen + 1.0))
            deviation += blend * (far - deviation) if seen else 0.0
            self.ranges[part] = [seen + 1.0, mean + blend * (loss - mean), deviation]
        return spiked

    def _collapsed(self, notes: Mapping[str, float]) -> bool:
        """Whether samples that once differed have been alike for a while."""
        ratio = notes.get("pairwise_ratio")
        if ratio is not None:
            self.varied = self.varied or ratio > VARIED
            self.alike = self.alike + 1 if ratio < ALIKE else 0
        return self.varied and self.alike >= SETTLING

    def _back(self, step: int, why: str) -> tuple[Action, str]:
        self.rollbacks += 1
        self.alike = 0
        self.ranges.clear()
        if self.rollbacks >= ROLLBACKS:
            return "stop", (
                f"stopped at step {step}: {why}, after {ROLLBACKS - 1} roll-backs; the best "
                f"weights are kept"
            )
        self.factor /= 2
        return "back", f"at step {step} {why}; rolled back and halved the rate"

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        vars(self).update(state)
