"""A stack of recurrent layers that reads rows from left to right and begins anew where it must.

Shapes: n rows, w places, d numbers a place, l layers.
"""

from collections.abc import Callable
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

State: TypeAlias = tuple[Tensor, ...]  # (l, n, d) each: hidden, and the cells of an LSTM

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"vanilla": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Vanilla (Elman, 1990), LSTM (Hochreiter and Schmidhuber, 1997) or GRU (Cho et al., 2014).

    Args:
        cell: "vanilla", "lstm" or "gru".
        width: d, of what goes in, of the state and of what comes out.
        depth: l, how many layers.
        dropout: share of what goes from one layer to the next (Zaremba et al., 2014).

    Example:
        >>> stack, x = Recurrent("gru", 4, 1, 0.0), torch.ones(1, 4, 4)
        >>> twice = stack(x, torch.tensor([[False, False, True, False]]))
        >>> torch.allclose(twice[:, :2], twice[:, 2:])
        True
    """

    def __init__(self, cell: str, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        between = dropout if depth > 1 else 0.0
        self.layers = CELLS[cell](width, width, depth, batch_first=True, dropout=between)
        if cell == "lstm":
            self._remember(width)

    def _remember(self, width: int) -> None:
        """Forget gates that begin open (Jozefowicz et al., 2015)."""
        for name, bias in self.layers.named_parameters():
            if name.startswith("bias_ih"):
                nn.init.ones_(bias.detach()[width : 2 * width])  # input, forget, cell, output

    def forward(self, x: Tensor, begins: Tensor | None = None, state: State = ()) -> Tensor:
        """(n, w, d) -> (n, w, d), the state at zero before places that begin a text.

        Args:
            x: (n, w, d).
            begins: (n, w) bool, or None where no place but the first may.
            state: before the first place; zero if it is not given.
        """
        if begins is not None:
            state = tuple(part * ~begins[:, :1] for part in state)  # (l, n, d) * (n, 1)
        if begins is None or not bool(begins[:, 1:].any()):
            return self._through(x, state)
        first = begins.clone()
        first[:, 0] = True
        flat, begin = x.flatten(0, 1), torch.nonzero(first.flatten())[:, 0]  # (n * w, d), (s,)
        sizes = torch.diff(begin, append=begin.new_tensor([len(flat)]))
        place = torch.arange(int(sizes.max()), device=x.device)
        inside = place < sizes[:, None]  # (s, longest): each text as a row of its own
        texts = flat[(begin[:, None] + place).clamp(max=len(flat) - 1)]
        row, column = begin // x.shape[1], begin % x.shape[1]
        state = tuple(part[:, row] * (column == 0)[:, None] for part in state)  # (l, s, d)
        return self._through(texts, state)[inside].view_as(x)  # (n * w, d) -> (n, w, d)

    def read(self, x: Tensor, lengths: Tensor) -> State:
        """The state after rows (n, w, d) of unequal lengths (n,), 1 at least."""
        rows = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self._state(self.layers(rows)[1])

    def step(self, x: Tensor, state: State) -> State:
        """The state after one more place (n, d) of each row."""
        return self._state(self.layers(x[:, None], self._given(state))[1])

    def _through(self, x: Tensor, state: State) -> Tensor:
        return cast(Tensor, self.layers(x, self._given(state))[0])

    def _given(self, state: State) -> Tensor | State | None:
        """A state as the layers take it."""
        return state[0] if len(state) == 1 else state or None

    def _state(self, found: Tensor | State) -> State:
        return (found,) if isinstance(found, Tensor) else found


def told(state: State) -> Tensor:
    """(n, d) what a stack says of the last place that it read."""
    return state[0][-1]
