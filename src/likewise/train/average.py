"""The running average of parameters that is kept, validated and saved."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of parameters; buffers are taken as they are.

    The decay warms up as min(decay, (1 + t) / (10 + t)), so short runs do not average in their
    random start. With decay 0 the average is the parameters themselves.

    Args:
        module: whose parameters are averaged.
        decay: share of the old average kept at each step, in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.values = [p.detach().clone() for p in module.parameters()] if decay else []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after step number `step`."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = [p.detach() for p in self.module.parameters()]
        torch._foreach_lerp_(self.values, parameters, 1.0 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The module with averaged parameters, for the length of a `with`."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """The module's state_dict with averaged parameters, as copies."""
        with self.swapped():
            return {name: tensor.clone() for name, tensor in self.module.state_dict().items()}

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, value in zip(self.module.parameters(), self.values, strict=False):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)
