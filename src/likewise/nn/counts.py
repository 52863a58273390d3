"""Runs of tokens that were counted, and how likely the next token is after them.

Interpolated modified Kneser-Ney smoothing (Kneser and Ney, "Improved backing-off for m-gram
language modeling", 1995; Chen and Goodman, "An empirical study of smoothing techniques for
language modeling", 1999, equations 26 to 28). A context is a node of a trie that is walked from
the newest token to the oldest, and has the number of its key among the sorted keys of its depth;
so no run is too long to be exact, and all look-ups are binary searches.

Shapes: N places; a table of runs is (order, N), its row 0 the tokens that were or may be next, its
row d the tokens d places before, `UNKNOWN` where nothing is known.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.nn.stored import Stored

Whole: TypeAlias = npt.NDArray[np.integer[Any]]
UNKNOWN = -1
FALLBACK = (0.5, 1.0, 1.5)  # discounts where there are too few counts to estimate them


class Level(NamedTuple):
    """What is known of contexts of one depth.

    Attributes:
        contexts: (m,) int64 sorted keys: number of the shorter context * vocabulary + token.
        runs: (g,) int64 sorted keys: number of the context * vocabulary + next token.
        mass: (g,) discounted share of the next token.
        rest: (m,) the share that the shorter context gives out.
    """

    contexts: Tensor
    runs: Tensor
    mass: Tensor
    rest: Tensor


def before(inputs: Tensor, depth: int, starts: tuple[int, ...]) -> Tensor:
    """(depth, n, w): row d is the input d places before each of inputs (n, w).

    Nothing is known beyond the first token of a row, nor beyond a token at which texts start.

    Example:
        >>> before(torch.tensor([[5, 9, 6]]), 3, starts=(9,)).tolist()
        [[[5, 9, 6]], [[-1, -1, 9]], [[-1, -1, -1]]]
    """
    rows, known = [], torch.ones_like(inputs, dtype=torch.bool)
    for back in range(depth):
        moved = F.pad(inputs, (back, 0), value=UNKNOWN)[:, : inputs.shape[1]]
        rows.append(torch.where(known, moved, UNKNOWN))
        for start in starts:
            known = known & (moved != start)
    return torch.stack(rows) if rows else inputs.new_zeros(0, *inputs.shape)


class KneserNey(Stored):
    """The mass of each next token after a context, by what was counted.

    Args:
        vocabulary: how many tokens there are.
        never: a token that is never next, or None.
        starts: tokens before which nothing counts; runs that begin with one have no token before
            them, so these count as often as they stood there.

    Example:
        >>> table = KneserNey(3, never=None, starts=())
        >>> table.learn(np.array([[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]]))
        >>> table.every(torch.tensor([[0]])).argmax(dim=1)
        tensor([1])
    """

    def __init__(self, vocabulary: int, *, never: int | None, starts: tuple[int, ...]) -> None:
        whole = torch.zeros(0, dtype=torch.int64)
        super().__init__(
            contexts=whole,
            runs=whole.clone(),
            mass=torch.zeros(0),
            rest=torch.zeros(0),
            sizes=torch.zeros(0, 2, dtype=torch.int64),  # of contexts and runs, by depth
        )
        self.vocabulary = vocabulary
        self.never = never
        self.starts = starts

    @property
    def order(self) -> int:
        """The length of the longest runs, the next token among them; 1 at least."""
        return max(1, len(self["sizes"]))

    def learn(self, runs: Whole) -> None:
        """Count runs (order, N); what was counted before is forgotten."""
        nodes, contexts = _nodes(runs, self.vocabulary)
        levels, events = [], np.empty(0, dtype=np.int64)
        for depth in reversed(range(len(nodes))):
            keys = nodes[depth].astype(np.int64) * self.vocabulary + runs[0]
            counted = self._counted(depth, runs, nodes, keys)
            events = np.concatenate([events, *counted])
            found, first, counts = np.unique(keys[events], return_index=True, return_counts=True)
            # each run counts once for the run without its oldest token
            events = events[first]
            mass, rest = _shares(found // self.vocabulary, counts, len(contexts[depth]))
            tensors = (torch.from_numpy(part) for part in (contexts[depth], found, mass, rest))
            levels.append(Level(*tensors))
        self._put(levels[::-1])

    def _counted(
        self, depth: int, runs: Whole, nodes: list[Whole], keys: Whole
    ) -> tuple[Whole, Whole]:
        """Places whose runs of this depth count by themselves, and not by a longer one."""
        longest = nodes[depth] >= 0
        if depth + 1 == len(nodes):
            return np.flatnonzero(longest), np.empty(0, dtype=np.int64)
        longest &= nodes[depth + 1] < 0
        first = np.isin(runs[depth], self.starts) if depth else np.zeros_like(longest)
        # what stood before the others is not known: one token, however often
        others = np.flatnonzero(longest & ~first)
        _, once = np.unique(keys[others], return_index=True)
        return np.flatnonzero(longest & first), others[once]

    def _put(self, levels: list[Level]) -> None:
        sizes = [[len(level.contexts), len(level.runs)] for level in levels]
        joined = Level(*(torch.cat(parts) for parts in zip(*levels, strict=True)))
        self.put(sizes=torch.tensor(sizes), **joined._asdict())

    def levels(self) -> Iterator[Level]:
        """By depth, that without a context first."""
        sizes = self["sizes"].tolist()
        if not sizes:
            return
        counts, totals = [size[0] for size in sizes], [size[1] for size in sizes]
        yield from map(
            Level,
            torch.split(self["contexts"], counts),
            torch.split(self["runs"], totals),
            torch.split(self["mass"], totals),
            torch.split(self["rest"], counts),
        )

    def masses(self, runs: Tensor) -> Tensor:
        """(N,) float64: how likely the token of row 0 of runs (order, N) is."""
        mass = self._even().expand(runs.shape[1])
        for level, node, known in self._walk(runs[1:]):
            place, seen = _find(level.runs, node * self.vocabulary + runs[0])
            here = torch.where(seen, level.mass[place], 0.0) + level.rest[node] * mass
            mass = torch.where(known, here, mass)
        return mass

    def every(self, context: Tensor) -> Tensor:
        """(N, vocabulary) float64: how likely each token is after a context (order - 1, N)."""
        n, vocabulary = context.shape[1], self.vocabulary
        mass = self._even().repeat(n, vocabulary)
        if self.never is not None:
            mass[:, self.never] = 0.0
        for level, node, known in self._walk(context):
            first = torch.searchsorted(level.runs, node * vocabulary)
            after = torch.searchsorted(level.runs, (node + 1) * vocabulary)
            size = torch.where(known, after - first, 0)
            row = torch.repeat_interleave(torch.arange(n, device=node.device), size)
            skipped = (size.cumsum(0) - size - first)[row]
            place = torch.arange(len(row), device=node.device) - skipped
            here = mass * torch.where(known, level.rest[node].double(), 1.0)[:, None]
            here[row, level.runs[place] % vocabulary] += level.mass[place]
            mass = here
        return mass

    def _even(self) -> Tensor:
        """What every token has where nothing was counted."""
        choices = self.vocabulary - (self.never is not None)
        return torch.tensor(1.0 / choices, dtype=torch.float64, device=self["mass"].device)

    def _walk(self, context: Tensor) -> Iterator[tuple[Level, Tensor, Tensor]]:
        """By depth: the level, the numbers of the contexts (N,), and which it knows (N,) bool."""
        node = context.new_zeros(context.shape[1])
        known = torch.ones_like(node, dtype=torch.bool)
        for depth, level in enumerate(self.levels()):
            if depth:
                token = context[depth - 1]
                place, found = _find(level.contexts, node * self.vocabulary + token)
                known = known & found & (token >= 0)
                node = torch.where(known, place, 0)
            yield level, node, known


def _find(keys: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """Where asked (N,) stand in sorted keys, and whether they do."""
    place = torch.searchsorted(keys, asked).clamp_(max=len(keys) - 1)
    return place, keys[place] == asked


def _nodes(runs: Whole, vocabulary: int) -> tuple[list[Whole], list[Whole]]:
    """By depth: the number of each place's context (N,), UNKNOWN if it is shorter; their keys."""
    nodes: list[Whole] = [np.zeros(runs.shape[1], dtype=np.int32)]
    contexts: list[Whole] = [np.zeros(1, dtype=np.int64)]
    for tokens in runs[1:]:
        known = tokens != UNKNOWN
        if not known.any():
            break
        keys, number = np.unique(
            nodes[-1][known].astype(np.int64) * vocabulary + tokens[known], return_inverse=True
        )
        node = np.full(runs.shape[1], UNKNOWN, dtype=np.int32)
        node[known] = number
        nodes.append(node)
        contexts.append(keys)
    return nodes, contexts


def _shares(
    node: Whole, counts: Whole, contexts: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What each run keeps of its context's mass, and what each context gives out."""
    discount = discounts(counts)[np.minimum(counts, 3) - 1]
    total = np.bincount(node, counts, contexts)
    rest = np.bincount(node, discount, contexts) / total
    return ((counts - discount) / total[node]).astype(np.float32), rest.astype(np.float32)


def discounts(counts: Whole) -> npt.NDArray[np.float64]:
    """(3,) what is taken off counts of 1, of 2, and of 3 or more.

    Chen and Goodman, 1999, equation 26; 0.5, 1 and 1.5 where that is not between 0 and the count.

    Example:
        >>> discounts(np.repeat([1, 2, 3, 4], [8, 4, 2, 1])).tolist()
        [0.5, 1.25, 2.0]
    """
    n = [int((counts == times).sum()) for times in range(1, 5)]
    if min(n) == 0:
        return np.array(FALLBACK)
    share = n[0] / (n[0] + 2 * n[1])
    found = [times - (times + 1) * share * n[times] / n[times - 1] for times in (1, 2, 3)]
    inside = all(0 < value < times for times, value in enumerate(found, 1))
    return np.array(found if inside else FALLBACK)
