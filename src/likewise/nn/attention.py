"""Causal attention: the blocks of a decoder-only transformer.

Shapes: n rows, w places, d width, h heads of size s, g heads of keys and values.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.errors import UsageError, must
from likewise.nn.fused import levelled, rotate

# numbers that a description of slower rotary angles needs, by its "rope_type"
SCALINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": (
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a block of a transformer is made of.

    Attributes:
        width: d.
        heads: h of the queries.
        groups: g of the keys and values (Ainslie et al., "GQA", 2023).
        hidden: width of the feed-forward layer.
        head_dim: s, an even number; None for d / h.
        feed: "swiglu" (Shazeer, "GLU variants improve transformer", 2020), "relu2", the square of
            ReLU (So et al., "Primer", 2021), or "gelu" as of GPT-2.
        normed: queries and keys go through an RMS norm (Henry et al., "Query-key normalization",
            2020).
        norms: "rms" (Zhang and Sennrich, "Root mean square layer normalization", 2019) or
            "layer" (Ba et al., "Layer normalization", 2016).
        epsilon: of the norms.
        biased: whether linear layers have biases.
        qkv_biased: whether queries, keys and values have, though other layers have none (Yang et
            al., "Qwen2 technical report", 2024).
        base: of the rotary angles (Su et al., "RoFormer", 2021); None for no rotation.
        window: how far back a place sees (Beltagy et al., "Longformer", 2020); None for all.
        dropout: share of what a block adds that is dropped, the same in all places of a row (Gal
            and Ghahramani, "A theoretically grounded application of dropout", 2016).
    """

    width: int
    heads: int
    groups: int
    hidden: int
    head_dim: int | None = None
    feed: str = "swiglu"
    normed: bool = True
    norms: str = "rms"
    epsilon: float = 1e-6
    biased: bool = False
    qkv_biased: bool = False
    base: float | None = 10_000.0
    window: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.head_dim is None and self.width % (2 * self.heads):
            raise UsageError(
                must("width", f"a multiple of twice the heads ({2 * self.heads})", self.width)
            )
        if self.size % 2:
            raise UsageError(must("head_dim", "even", self.head_dim))
        if self.heads % self.groups:
            raise UsageError(must("groups", f"a divisor of the heads ({self.heads})", self.groups))

    @property
    def size(self) -> int:
        """Of a head."""
        return self.width // self.heads if self.head_dim is None else self.head_dim


def rates(size: int, base: float, scaling: Mapping[str, Any] | None = None) -> Tensor:
    """(s / 2,) float64: how far each pair of a head turns from one place to the next, in radians.

    Args:
        size: s, even.
        base: above 1.
        scaling: how a longer context is reached, in the words of a checkpoint: None or
            {"rope_type": "default"} for not at all; "linear" turns all pairs `factor` times as
            slowly (Chen et al., "Extending context window of large language models via positional
            interpolation", 2023); "llama3" those that turn fewer than `low_freq_factor` times
            over `original_max_position_embeddings` places, none of those that turn more than
            `high_freq_factor` times, and those between by less (Grattafiori et al., "The Llama 3
            herd of models", 2024).

    Raises:
        UsageError: the scaling is of another kind, or a number of it is missing or cannot be.

    Example:
        >>> rates(4, 100.0, {"rope_type": "linear", "factor": 2})
        tensor([0.5000, 0.0500], dtype=torch.float64)
    """
    rate = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    kind, numbers = _described({} if scaling is None else scaling)
    if kind == "linear":
        return rate / numbers["factor"]
    if kind == "llama3":
        low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
        turns = numbers["original_max_position_embeddings"] * rate / (2 * math.pi)
        kept = ((turns - low) / (high - low)).clamp(0, 1)  # 1: as fast as without a scaling
        return rate * (kept + (1 - kept) / numbers["factor"])
    return rate


def _described(scaling: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    """The rope_type of a scaling, and its numbers."""
    kind: Any = None
    if isinstance(scaling, Mapping):
        kind = scaling.get("rope_type", scaling.get("type", "default"))
    if not isinstance(kind, str) or kind not in SCALINGS:
        raise UsageError(must("scaling", f"of the rope_type {' or '.join(SCALINGS)}", scaling))
    numbers: dict[str, float] = {}
    for name in SCALINGS[kind]:
        got = scaling.get(name)
        if not isinstance(got, (int, float)) or got is True or not 0 < got < math.inf:
            raise UsageError(must(f"{name} of scaling {kind}", "a number above 0", got))
        numbers[name] = got
    if kind == "llama3" and not numbers["low_freq_factor"] < numbers["high_freq_factor"]:
        least = f"above low_freq_factor ({numbers['low_freq_factor']})"
        raise UsageError(must("high_freq_factor", least, numbers["high_freq_factor"]))
    return kind, numbers


class Rotary(nn.Module):
    """Cosines and sines of the rotary angles of places below `places`; none without a base.

    Both stand twice, for both numbers of a pair; the sines of the first are below 0, see `rotate`.
    `scaling` makes the angles of some pairs smaller, see `rates`.
    """

    def __init__(
        self,
        size: int,
        places: int,
        base: float | None,
        scaling: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.cos: Tensor | None = None
        self.sin: Tensor | None = None
        if base is None:
            return
        rate = rates(size, base, scaling)
        angle = torch.arange(places, dtype=torch.float64)[:, None] * rate  # (places, s / 2)
        cos, sin = angle.cos().float(), angle.sin().float()
        del self.cos, self.sin
        self.register_buffer("cos", torch.cat([cos, cos], dim=1), persistent=False)
        self.register_buffer("sin", torch.cat([-sin, sin], dim=1), persistent=False)

    def at(self, place: Tensor | slice) -> "Angles":
        """Cosines and sines of places (...,) int64: (..., 1, s) each, for (..., heads, s)."""
        if self.cos is None or self.sin is None:
            return None
        return self.cos[place][..., None, :], self.sin[place][..., None, :]


Angles: TypeAlias = tuple[Tensor, Tensor] | None


class Norm(nn.Module):
    """An RMS norm with a gain, or a layer norm with a gain and a bias."""

    def __init__(self, width: int, kind: str, epsilon: float) -> None:
        super().__init__()
        self.width, self.epsilon = width, epsilon
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if kind == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width), in the type of x."""
        gain = self.gain.to(x.dtype)
        if self.bias is None:
            return levelled(x, self.epsilon) * gain
        return F.layer_norm(x, (self.width,), gain, self.bias.to(x.dtype), self.epsilon)


class Attention(nn.Module):
    """Multi-head causal attention with rotary places."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        both = (shape.heads + 2 * shape.groups) * shape.size
        self.inward = nn.Linear(shape.width, both, bias=shape.biased or shape.qkv_biased)
        self.outward = nn.Linear(shape.heads * shape.size, shape.width, bias=shape.biased)
        self.query_norm = Norm(shape.size, "rms", shape.epsilon) if shape.normed else None
        self.key_norm = Norm(shape.size, "rms", shape.epsilon) if shape.normed else None

    def gains(self) -> Tensor | None:
        """(h + g, s) of the norms of queries and keys, if they have one."""
        if self.query_norm is None or self.key_norm is None:
            return None
        shape = self.shape
        gains = ((self.query_norm.gain, shape.heads), (self.key_norm.gain, shape.groups))
        return torch.cat([gain.expand(times, -1) for gain, times in gains])

    def heads(self, x: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (n, h, w, s), keys and values (n, g, w, s) of x (n, w, d)."""
        shape, (n, w, _) = self.shape, x.shape
        all_heads = self.inward(x).view(n, w, -1, shape.size)  # (n, w, h + 2g, s)
        both, v = all_heads.split([shape.heads + shape.groups, shape.groups], dim=2)
        gains = self.gains()
        if gains is not None:
            both = levelled(both, shape.epsilon) * gains.to(both.dtype)
        if angles is not None:
            both = rotate(both, *angles)
        q, k = both.split([shape.heads, shape.groups], dim=2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def forward(self, x: Tensor, angles: Angles, mask: Tensor | None) -> Tensor:
        """x (n, w, d) -> (n, w, d); `mask` (n or 1, 1, w, w) says who sees whom, None: causal."""
        q, k, v = self.heads(x, angles)
        n, h, w, s = q.shape
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=h != k.shape[1]
        )
        return self.outward(y.transpose(1, 2).reshape(n, w, h * s))  # (n, h, w, s) -> (n, w, hs)


class FeedForward(nn.Module):
    """Two linear layers with something between them that is not linear: see `Shape.feed`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.feed
        first = 2 * shape.hidden if shape.feed == "swiglu" else shape.hidden
        self.inward = nn.Linear(shape.width, first, bias=shape.biased)
        self.outward = nn.Linear(shape.hidden, shape.width, bias=shape.biased)

    def forward(self, x: Tensor) -> Tensor:
        """(n, w, d) -> (n, w, d)."""
        h = self.inward(x)
        if self.kind == "swiglu":
            gate, up = h.chunk(2, dim=-1)
            h = F.silu(gate) * up
        elif self.kind == "relu2":
            h = F.relu(h).square()
        else:
            h = F.gelu(h, approximate="tanh")
        return self.outward(h)


class Block(nn.Module):
    """x plus attention of its norm, plus a feed-forward layer of its norm (Xiong et al., 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.before_attention = Norm(shape.width, shape.norms, shape.epsilon)
        self.attention = Attention(shape)
        self.before_feed = Norm(shape.width, shape.norms, shape.epsilon)
        self.feed = FeedForward(shape)
        self.share = shape.dropout

    def forward(self, x: Tensor, angles: Angles, mask: Tensor | None) -> Tensor:
        """(n, w, d) -> (n, w, d)."""
        x = x + self._dropped(self.attention(self.before_attention(x), angles, mask))
        return x + self._dropped(self.feed(self.before_feed(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        """x (n, w, d) without some of its d numbers, the same in all places of a row."""
        if not (self.training and self.share):
            return x
        return x * F.dropout(torch.ones_like(x[:, :1]), self.share)


def visible(place: Tensor, others: Tensor, window: int | None) -> Tensor:
    """(n, 1, w, m) bool: whether places (n, w) see places (m,): none later, none too far back."""
    back = place[:, None, :, None] - others
    seen = back >= 0
    return seen if window is None else seen & (back < window)
