"""Low-rank adapters: a trained layer learns anew through two thin matrices beside its own.

Hu et al., "LoRA: low-rank adaptation of large language models", 2021. A linear layer W becomes
W + alpha / rank * B A, with A (rank, inputs) and B (outputs, rank). W is frozen, B starts at zero,
so at first nothing changes; in the end B A is added to W, and the layer is plain again.
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.errors import UsageError, must, nearest


class Adapter(nn.Module):
    """A linear layer and a low-rank change to it; `adapt` freezes all but the change.

    Args:
        layer: (..., inputs) -> (..., outputs).
        rank: of the change, 1 to the smaller of inputs and outputs.
        alpha: strength of the change; it is scaled by alpha / rank.
        dropout: share of the inputs of the change that are dropped while training, below 1.

    Raises:
        UsageError: rank, alpha or dropout cannot be.

    Example:
        >>> layer, x = nn.Linear(6, 4), torch.ones(2, 6)
        >>> torch.equal(Adapter(layer, rank=2, alpha=4)(x), layer(x))
        True
    """

    def __init__(self, layer: nn.Linear, *, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        outputs, inputs = layer.weight.shape
        most = min(inputs, outputs)
        if not 1 <= rank <= most:
            shape = f"{inputs} to {outputs} numbers"
            raise UsageError(must("rank", f"1 to {most} for a layer of {shape}", rank))
        if not 0 < alpha < float("inf"):
            raise UsageError(must("alpha", "above 0 and finite", alpha))
        if not 0 <= dropout < 1:
            raise UsageError(must("dropout", "from 0 to below 1", dropout))
        self.layer = layer
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)
        # no linear layers of their own: AdamW steps both, as in the paper
        self.down = nn.Parameter(layer.weight.new_empty(rank, inputs))
        self.up = nn.Parameter(layer.weight.new_zeros(outputs, rank))
        nn.init.normal_(self.down, std=inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        change = F.linear(F.linear(self.dropout(x), self.down), self.up)
        known: Tensor = self.layer(x)
        return known + self.scale * change

    @property
    def weight(self) -> Tensor:
        """Of the plain layer that does the same."""
        return self.layer.weight + self.scale * (self.up @ self.down)

    @property
    def bias(self) -> Tensor | None:
        """The same."""
        return self.layer.bias

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer itself, with the change added to its weights."""
        self.layer.weight += self.scale * (self.up @ self.down)
        return self.layer


def adapt(
    module: nn.Module,
    *,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    names: Collection[str] | None = None,
) -> list[str]:
    """Freeze a module and put adapters on its plain linear layers, in place.

    Layers of a class of their own, such as a `Head`, stay as they are.

    Args:
        module: with `nn.Linear` layers somewhere inside.
        rank, alpha, dropout: of each `Adapter`.
        names: how the names of the layers end, such as "attention.inward"; None for all.

    Returns:
        The names of the layers that have an adapter now.

    Raises:
        UsageError: no layer has one of the names, there is an adapter already, or a value
            cannot be; nothing is changed then.

    Example:
        >>> net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> adapt(net, rank=2, alpha=4, names=["2"])
        ['2']
        >>> [name for name, one in net.named_parameters() if one.requires_grad]
        ['2.down', '2.up']
    """
    if any(isinstance(one, Adapter) for one in module.modules()):
        raise UsageError("the module has adapters already: call merge before adapt.")
    plain = layers(module)
    chosen = _chosen(plain, names)
    made = {
        name: Adapter(layer, rank=rank, alpha=alpha, dropout=dropout)
        for name, layer in chosen.items()
    }
    module.requires_grad_(False)
    for name, adapter in made.items():
        _put(module, name, adapter.train(plain[name].training))
    return list(made)


def layers(module: nn.Module) -> dict[str, nn.Linear]:
    """The plain linear layers inside a module by their names: those that can have adapters."""
    return {name: one for name, one in module.named_modules() if type(one) is nn.Linear and name}


def merge(module: nn.Module) -> nn.Module:
    """Fold the adapters into their layers, in place; every parameter can be learned again.

    Outputs stay what they are, to rounding, and `state_dict` has the names it had before `adapt`.

    Raises:
        UsageError: there is no adapter.
    """
    found = {n: one for n, one in module.named_modules() if isinstance(one, Adapter)}
    if not found:
        raise UsageError("the module has no adapters to merge: call adapt first.")
    for name, adapter in found.items():
        _put(module, name, adapter.merged())
    return module.requires_grad_(True)


def _chosen(plain: dict[str, nn.Linear], names: Collection[str] | None) -> dict[str, nn.Linear]:
    """The layers that are asked for; UsageError for a name that no layer has."""
    if not plain:
        raise UsageError("there is no linear layer to put an adapter on.")
    if names is None:
        return plain
    for end in names:
        if not any(_ends(name, end) for name in plain):
            known = {name.rpartition(".")[2] for name in plain}
            raise UsageError(f"no linear layer is named {end!r}; {nearest(end, known)}.")
    return {n: one for n, one in plain.items() if any(_ends(n, end) for end in names)}


def _ends(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")


def _put(module: nn.Module, name: str, child: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, child)
