"""Randomness as an argument: streams by purpose, and draws that know which sample they are for.

Two kinds of stream:

* `fold(seed, "train", "flow", 3)` turns a seed and words into another seed, so that each purpose
  has a stream of its own and a new draw in one room changes nothing in another.
* `Draws(seed)` is a counter-based generator (Philox4x32-10: Salmon et al., "Parallel random
  numbers: as easy as 1, 2, 3", SC 2011). Row i of every draw depends on (seed, sample i, draw)
  alone, so sample 17 is the same sample at any batch size, on any rank and on any device, and
  a micro-batch sees the very noise that the whole batch would have seen.
"""

import hashlib
import math

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def fold(seed: int, *words: object) -> int:
    """A 63-bit seed for one purpose, from a seed and words that name the purpose.

    Example:
        >>> fold(0, "train") == fold(0, "train"), fold(0, "train") == fold(0, "sample")
        (True, False)
    """
    text = "\x1f".join([str(int(seed)), *map(str, words)])
    return (
        int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "big")
        >> 1
    )


def philox(counter: list[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Philox4x32-10: four 32-bit words out of four counter words (int64 tensors) and a key."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap, so a logical shift (shift, then mask) still finds the high word.
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((second >> 32) & _MASK) ^ c1 ^ k0,
            second & _MASK,
            ((first >> 32) & _MASK) ^ c3 ^ k1,
            first & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return [c0, c1, c2, c3]


class Draws:
    """Random draws keyed by (seed, sample, draw); row i belongs to sample `start + i`.

    Args:
        seed: any whole number; take it from `fold`.
        start: the number of the first sample.
        device: where the draws are made.

    Each call takes the next draw number, so two objects with equal arguments that are asked the
    same questions give the same answers, and a part of the rows gives that part of the answers.

    Example:
        >>> whole, part = Draws(0).normal(4, 2), Draws(0, start=2).normal(2, 2)
        >>> torch.equal(whole[2:], part)
        True
    """

    def __init__(self, seed: int, start: int = 0, device: torch.device | str = "cpu") -> None:
        self.seed = seed
        self.start = start
        self.device = torch.device(device)
        self.draw = 0

    def shifted(self, rows: int) -> "Draws":
        """The same draws for samples `rows` further on (the next batch of one stream)."""
        later = Draws(self.seed, self.start + rows, self.device)
        later.draw = self.draw
        return later

    def _words(self, rows: int, size: int) -> Tensor:
        """(rows, size) whole numbers in [0, 2^32)."""
        blocks = -(-size // 4)
        sample = torch.arange(self.start, self.start + rows, device=self.device)[:, None]
        block = torch.arange(blocks, device=self.device)[None, :]
        counter = [
            block.expand(rows, blocks),
            torch.full((rows, blocks), self.draw, device=self.device),
            (sample & _MASK).expand(rows, blocks),
            ((sample >> 32) & _MASK).expand(rows, blocks),
        ]
        self.draw += 1
        words = philox(counter, (self.seed & _MASK, (self.seed >> 32) & _MASK))
        return torch.stack(words, dim=-1).reshape(rows, 4 * blocks)[:, :size]  # (rows, size)

    def uniform(self, n: int, *shape: int) -> Tensor:
        """(n, *shape) float32 in the open interval (0, 1): never 0, never 1."""
        words = self._words(n, math.prod(shape))
        # 23 bits and a half step are exact in float32, so the ends are never rounded to.
        return ((words >> 9).float().add_(0.5).mul_(2.0**-23)).reshape(n, *shape)

    def normal(self, n: int, *shape: int) -> Tensor:
        """(n, *shape) float32 standard normal (Box and Muller, 1958)."""
        size = math.prod(shape)
        half = -(-size // 2)
        flat = self.uniform(n, 2 * half)
        radius = flat[:, :half].log().mul_(-2.0).sqrt_()
        angle = flat[:, half:].mul(2.0 * math.pi)
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return both[:, :size].reshape(n, *shape)  # (n, 2 * half) -> (n, *shape)

    def signs(self, *shape: int) -> Tensor:
        """-1 or 1 at random, float32 (Rademacher)."""
        return 2.0 * self.integers(2, *shape) - 1.0

    def integers(self, high: int, n: int, *shape: int) -> Tensor:
        """(n, *shape) int64 in [0, high), for high up to 2^31."""
        return (self._words(n, math.prod(shape)) * high >> 32).reshape(n, *shape)

    def categorical(self, logits: Tensor) -> Tensor:
        """One class for each row of `logits` (n, ..., K), by the inverse of the distribution.

        Returns:
            (n, ...) int64.
        """
        cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
        point = self.uniform(logits.shape[0], *logits.shape[1:-1]).double()
        chosen = (cumulative < (point * cumulative[..., -1])[..., None]).sum(dim=-1)
        return chosen.clamp_(max=logits.shape[-1] - 1)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for the places that need one (a permutation, an initialisation)."""
    return torch.Generator(device=device).manual_seed(seed)
