"""How a training works on its numbers: their width, their order in memory, compiled or not.

Nothing of it changes what is computed but by rounding, and all of it is undone when the training
ends. A plan keeps an arithmetic in words: "float32" or "bfloat16", then "channels last" and
"compiled" where they are used.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import nn

from likewise.core.errors import UsageError, must

WIDTHS = ("float32", "bfloat16")
CHANNELS_LAST, COMPILED = "channels last", "compiled"


class Arithmetic(NamedTuple):
    """How a training works on its numbers.

    Attributes:
        width: "float32", or "bfloat16" (autocast: weights stay float32).
        channels_last: whether convolutions find the channels of a pixel side by side.
        compiled: whether networks go through `torch.compile`.

    Example:
        >>> str(Arithmetic("bfloat16", channels_last=True))
        'bfloat16, channels last'
        >>> Arithmetic.of("float32, compiled").compiled
        True
    """

    width: str = "float32"
    channels_last: bool = False
    compiled: bool = False

    @classmethod
    def of(cls, words: str) -> "Arithmetic":
        """What words say; UsageError if they say nothing that is known."""
        width, *rest = words.split(", ")
        found = cls(width, CHANNELS_LAST in rest, COMPILED in rest)
        if width not in WIDTHS or str(found) != words:
            wanted = f"{' or '.join(WIDTHS)}, then perhaps {CHANNELS_LAST!r}, {COMPILED!r}"
            raise UsageError(must("an arithmetic", wanted, words))
        return found

    def __str__(self) -> str:
        more = ((CHANNELS_LAST, self.channels_last), (COMPILED, self.compiled))
        return ", ".join([self.width, *(word for word, used in more if used)])

    def begin(self, module: nn.Module) -> None:
        """Lay out the weights and compile the networks of a module."""
        if self.channels_last:
            for weight in _pictures(module):
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        if self.compiled:
            for net in _nets(module):
                net.forward = torch.compile(net.forward)

    def end(self, module: nn.Module) -> None:
        """As it was: samples do not depend on how a model was trained."""
        if self.channels_last:
            for weight in _pictures(module):
                weight.data = weight.data.contiguous()
        if self.compiled:
            for net in _nets(module):
                del net.forward  # the class has its own

    def autocast(self, device: str) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        if self.width == "float32":
            return nullcontext()
        return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)

    def aside(self) -> AbstractContextManager[object]:
        """The context of a held-out check: its batches are of other sizes, so nothing compiles."""
        if not self.compiled:
            return nullcontext()
        return torch.compiler.set_stance("force_eager")


PLAIN = Arithmetic()


def _nets(module: nn.Module) -> list[nn.Module]:
    """The networks of a module that are compiled, each once.

    Nobody calls a list of networks, so those in it are meant. A recurrent layer is one kernel of a
    library, which a compiler cannot look into.
    """
    found: list[nn.Module] = []
    for net in module.children():
        if isinstance(net, (nn.ModuleList, nn.ModuleDict)):
            found += _nets(net)
        elif not any(isinstance(part, nn.RNNBase) for part in net.modules()):
            found.append(net)
    return list(dict.fromkeys(found))


def _pictures(module: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters of four axes, as those of convolutions."""
    return (weight for weight in module.parameters() if weight.dim() == 4)
