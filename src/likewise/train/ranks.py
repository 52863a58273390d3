"""Several processes as one: torch.distributed under `torchrun`, never an engine of our own.

Each rank takes its rows of the global batch; gradients of a part meet in one flat all-reduce.
Draws are keyed by the row of the global batch, so ranks together do what one process does.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank() -> int:
    """The number of this process."""
    return dist.get_rank() if _many() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _many() else 1


def share(rows: int) -> slice:
    """This rank's part of a batch of `rows`."""
    size, number = world(), rank()
    return slice(rows * number // size, rows * (number + 1) // size)


def sum_gradients(parameters: Sequence[Tensor]) -> None:
    """Sum the gradients of a part over the ranks, in one flat all-reduce."""
    if not _many():
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    pieces = flat.split([gradient.numel() for gradient in gradients])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter).clone()


def broadcast(module: nn.Module) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    if not _many():
        return
    for tensor in [*module.parameters(), *module.buffers()]:
        dist.broadcast(tensor.detach(), src=0)


def agree(value: float) -> float:
    """The largest of all ranks' values, so that all decide alike."""
    return _reduce(value, "MAX")


def total(value: float) -> float:
    """The sum of all ranks' values."""
    return _reduce(value, "SUM")


def _reduce(value: float, how: str) -> float:
    if not _many():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(tensor, op=getattr(dist.ReduceOp, how))
    return float(tensor)


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
