"""Controls: how to sample, whatever the family."""

import math
from dataclasses import dataclass

from likewise.core.errors import UsageError, must


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How to sample; what a family honours is in its Claims.

    Attributes:
        temperature: scale of the noise (or of the logits); 1 is what was learned, 0 the likeliest.
        truncation: largest size of a latent draw, in standard deviations; None for no limit.
        guidance: strength of the condition; 1 is the learned conditional.
        steps: how many steps an iterative sampler takes; None for the family's own choice.
        stochastic: whether an iterative sampler adds noise on its way.
        top_k: only so many of the likeliest tokens are drawn from; None for all.
        top_p: only the likeliest tokens that together have this much (Holtzman et al., 2020).
        min_p: only tokens at least this share as likely as the likeliest (Nguyen et al., 2024).
        repetition: what lowers the logit of a token that stood before (Keskar et al., 2019).
    """

    temperature: float = 1.0
    truncation: float | None = None
    guidance: float = 1.0
    steps: int | None = None
    stochastic: bool = False
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0

    def __post_init__(self) -> None:
        for name in ("truncation", "steps", "top_k", "repetition"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(must(name, "above 0 and finite", value))
        for name in ("guidance", "temperature"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(must(name, "0 or above and finite", getattr(self, name)))
        if not 0 < self.top_p <= 1:
            raise UsageError(must("top_p", "above 0 and at most 1", self.top_p))
        if not 0 <= self.min_p < 1:
            raise UsageError(must("min_p", "from 0 to below 1", self.min_p))

    def changed(self) -> set[str]:
        """The names of the controls that are not at their default."""
        default = Controls()
        return {name for name in vars(default) if getattr(self, name) != getattr(default, name)}
