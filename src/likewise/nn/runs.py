"""Runs of tokens as vectors, looked up by hash: what a place knows of the tokens just before it.

After the hashed n-gram embeddings of Pagnoni et al., "Byte latent transformer", 2024: a table for
each length of run, so that a network of few layers need not spend them on finding short patterns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.nn.tokens import documents

HASH = 0x9E3779B1  # Knuth's multiplicative hash


class Runs(nn.Module):
    """The sum of the vectors of the runs of 2 to `longest` tokens that end at each place.

    Args:
        longest: run of tokens.
        buckets: rows of each table; runs that meet in one share their vector.
        width: of a vector.
        forgotten: share of the vectors that are left out in training, so that a network learns
            what to do where a long run was never met.
    """

    def __init__(self, longest: int, buckets: int, width: int, forgotten: float = 0.0) -> None:
        super().__init__()
        self.forgotten = forgotten
        self.longest = longest
        self.buckets = buckets
        # one block of rows a length; one look-up of all is one pass over its gradient
        self.table = nn.EmbeddingBag((longest - 1) * buckets, width, mode="sum")
        nn.init.zeros_(self.table.weight)

    def forward(self, inputs: Tensor, end: int, pad: int, before: Tensor | None = None) -> Tensor:
        """(n, w) -> (n, w, width); `before` (n, longest - 1) are the inputs before these."""
        n, w = inputs.shape
        if before is None:
            before = inputs.new_full((n, self.longest - 1), pad)
        whole = torch.cat([before, inputs], dim=1)
        number = documents(whole, end)
        key, rows = inputs * HASH, []
        for back in range(1, self.longest):
            place = slice(self.longest - 1 - back, self.longest - 1 - back + w)
            same = number[:, place] == number[:, self.longest - 1 :]
            key = (key ^ torch.where(same, whole[:, place] + 1, 0)) * HASH & 0xFFFFFFFFFF
            rows.append((back - 1) * self.buckets + (key >> 12) % self.buckets)
        bags = torch.stack(rows, dim=2).flatten(0, 1)  # (n, w, lengths) -> (n * w, lengths)
        kept = None
        if self.training and self.forgotten:
            kept = F.dropout(torch.ones_like(bags, dtype=torch.float32), self.forgotten)
        return self.table(bags, per_sample_weights=kept).view(n, w, -1)
