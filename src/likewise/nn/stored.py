"""Tensors whose shapes the data decides: a number of components, of training records."""

from typing import Any

from torch import Tensor, nn


class Stored(nn.Module):
    """Buffers of fixed names and free shapes, saved and loaded by `state_dict`.

    A module built afresh holds them empty; loading gives each the shape that was saved. The
    number of axes and the type stay as they were declared.

    Args:
        empty: by name, a tensor without entries that has the right type.

    Example:
        >>> import torch
        >>> trained, fresh = Stored(mean=torch.zeros(0, 2)), Stored(mean=torch.zeros(0, 2))
        >>> trained.put(mean=torch.ones(3, 2))
        >>> _ = fresh.load_state_dict(trained.state_dict())
        >>> tuple(fresh["mean"].shape)
        (3, 2)
    """

    def __init__(self, **empty: Tensor) -> None:
        super().__init__()
        for name, tensor in empty.items():
            self.register_buffer(name, tensor)

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(name)

    def put(self, **tensors: Tensor) -> None:
        """New contents, moved to where the old ones are and of their type."""
        for name, tensor in tensors.items():
            setattr(self, name, tensor.detach().to(self[name]).contiguous())

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **named: Any
    ) -> None:
        for name, old in list(self.named_buffers(recurse=False)):
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.dim() == old.dim():
                setattr(self, name, old.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)
