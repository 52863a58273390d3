"""How a part is stepped: AdamW, and Muon for the matrices between a network's layers."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from likewise.core.config import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def optimizers(part: nn.Module, settings: Optimizer) -> list[torch.optim.Optimizer]:
    """The optimizers that step a part: no parameter is in two of them.

    Muon takes the weights of `nn.Linear` layers where `settings.matrices` is given; embeddings,
    gains, biases, convolutions and layers of a class of their own (a `Head`) go to AdamW.
    """
    trained = [p for p in part.parameters() if p.requires_grad]
    matrices = list(_matrices(part)) if settings.matrices else []
    taken = {id(p) for p in matrices}
    rest = [p for p in trained if id(p) not in taken]
    found: list[torch.optim.Optimizer] = []
    if rest:
        found.append(
            torch.optim.AdamW(
                rest,
                lr=settings.learning_rate,
                betas=(settings.beta1, settings.beta2),
                weight_decay=settings.weight_decay,
                fused=True,
            )
        )
    if matrices:
        found.append(Muon(matrices, weight_decay=settings.weight_decay))
    return found


def set_rate(optimizer: torch.optim.Optimizer, settings: Optimizer, rate: float) -> None:
    """Step by `rate`, which is of AdamW; Muon's moves in proportion."""
    if isinstance(optimizer, Muon) and settings.matrices:
        rate = rate * settings.matrices / settings.learning_rate
    for group in optimizer.param_groups:
        group["lr"] = rate


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal, for matrices.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. The step of a
    matrix (a, b) is scaled by the root of max(1, a / b).

    Args:
        matrices: parameters of two axes.
        momentum: decay of the mean of gradients, looked ahead (Nesterov).
        weight_decay: decoupled.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], *, momentum: float = 0.95, weight_decay: float
    ) -> None:
        super().__init__(matrices, {"lr": 0.0, "momentum": momentum, "decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step every matrix that has a gradient; those of one shape are worked on together."""
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike.setdefault(tuple(matrix.shape), []).append(matrix)
            for matrices in alike.values():
                self._step(matrices, group)

    def _step(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        decay = group["momentum"]
        ahead = []
        for matrix in matrices:
            gradient = matrix.grad
            assert gradient is not None
            mean = self.state[matrix].setdefault("mean", torch.zeros_like(matrix))
            mean.lerp_(gradient, 1 - decay)
            ahead.append(gradient.lerp(mean, decay))
        a, b = matrices[0].shape
        scale = max(1.0, a / b) ** 0.5
        for matrix, step in zip(matrices, orthogonal(torch.stack(ahead)), strict=True):
            matrix.mul_(1 - group["lr"] * group["decay"])
            matrix.add_(step, alpha=-group["lr"] * scale)


def orthogonal(x: Tensor) -> Tensor:
    """The orthogonal matrices next to x (m, a, b), about: singular values between 0.7 and 1.2.

    Five rounds of a Newton-Schulz iteration with Jordan's coefficients, in bfloat16.
    """
    a, b, c = NEWTON_SCHULZ
    wide = x.mT if x.shape[1] > x.shape[2] else x
    y = wide.to(torch.bfloat16)
    y = y / (torch.linalg.matrix_norm(wide)[:, None, None].to(y.dtype) + 1e-7)
    for _ in range(ROUNDS):
        square = y @ y.mT
        y = a * y + (b * square + c * (square @ square)) @ y
    return (y.mT if x.shape[1] > x.shape[2] else y).to(x.dtype)


def _matrices(part: nn.Module) -> Iterable[nn.Parameter]:
    """The weights of plain linear layers, each once."""
    seen = set()
    for module in part.modules():
        plain = type(module) is nn.Linear and module.weight.requires_grad
        if plain and id(module.weight) not in seen:
            seen.add(id(module.weight))
            yield cast(nn.Parameter, module.weight)
