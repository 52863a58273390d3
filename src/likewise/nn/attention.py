"""Causal attention: the blocks of a decoder-only transformer, and its cache of keys and values.

Shapes: n rows, w places, d width, h heads of size s, g heads of keys and values.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.errors import UsageError, must


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a block of a transformer is made of.

    Attributes:
        width: d.
        heads: h of the queries.
        groups: g of the keys and values (Ainslie et al., "GQA", 2023).
        hidden: width of the feed-forward layer.
        feed: "swiglu" (Shazeer, "GLU variants improve transformer", 2020), "relu2", the square of
            ReLU (So et al., "Primer", 2021), or "gelu" as of GPT-2.
        normed: queries and keys go through an RMS norm (Henry et al., "Query-key normalization",
            2020).
        norms: "rms" (Zhang and Sennrich, "Root mean square layer normalization", 2019) or
            "layer" (Ba et al., "Layer normalization", 2016).
        epsilon: of the norms.
        biased: whether linear layers have biases.
        base: of the rotary angles (Su et al., "RoFormer", 2021); None for no rotation.
        window: how far back a place sees (Beltagy et al., "Longformer", 2020); None for all.
        dropout: share of what a block adds that is dropped.
    """

    width: int
    heads: int
    groups: int
    hidden: int
    feed: str = "swiglu"
    normed: bool = True
    norms: str = "rms"
    epsilon: float = 1e-6
    biased: bool = False
    base: float | None = 10_000.0
    window: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise UsageError(
                must("width", f"a multiple of twice the heads ({2 * self.heads})", self.width)
            )
        if self.heads % self.groups:
            raise UsageError(must("groups", f"a divisor of the heads ({self.heads})", self.groups))

    @property
    def size(self) -> int:
        """Of a head."""
        return self.width // self.heads


class Rotary(nn.Module):
    """Cosines and sines of the rotary angles of places below `places`; none without a base."""

    def __init__(self, size: int, places: int, base: float | None) -> None:
        super().__init__()
        self.cos: Tensor | None = None
        self.sin: Tensor | None = None
        if base is None:
            return
        rate = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angle = torch.arange(places, dtype=torch.float64)[:, None] * rate  # (places, s / 2)
        both = torch.cat([angle, angle], dim=1)
        del self.cos, self.sin
        self.register_buffer("cos", both.cos().float(), persistent=False)
        self.register_buffer("sin", both.sin().float(), persistent=False)

    def at(self, place: Tensor | slice) -> "Angles":
        """Cosines and sines of places (...,) int64: (..., s) each."""
        if self.cos is None or self.sin is None:
            return None
        return self.cos[place], self.sin[place]


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
        gain, width = self.gain.to(x.dtype), (self.width,)
        if self.bias is None:
            return F.rms_norm(x, width, gain, self.epsilon)
        return F.layer_norm(x, width, gain, self.bias.to(x.dtype), self.epsilon)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs (i, i + s / 2) of x (..., s) by their angles."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cos.to(x.dtype) + turned * sin.to(x.dtype)


@dataclass
class Cache:
    """Keys and values of all blocks for rows of unequal length.

    Attributes:
        keys, values: (blocks, n, g, room, s).
        lengths: (n,) int64, how many places of each row are filled.
    """

    keys: Tensor
    values: Tensor
    lengths: Tensor
    longest: int = field(init=False)
    equal: bool = field(init=False)

    def __post_init__(self) -> None:
        self.measure()

    def measure(self) -> None:
        """Note the longest row, and whether all are equally long."""
        sizes = self.lengths.tolist()
        self.longest = max(sizes, default=0)
        self.equal = min(sizes, default=0) == self.longest

    @classmethod
    def empty(cls, blocks: int, n: int, shape: Shape, room: int, like: Tensor) -> "Cache":
        """A cache with nothing in it, on the device and in the type of `like`."""
        keys = like.new_zeros(blocks, n, shape.groups, room, shape.size)
        return cls(keys, torch.zeros_like(keys), torch.zeros(n, dtype=torch.int64))

    def advance(self, by: Tensor | int = 1) -> None:
        """So many more places of each row are filled."""
        self.lengths = self.lengths + by
        if isinstance(by, int):
            self.longest += by
        else:
            self.measure()

    def reach(self, places: int, most: int) -> None:
        """Have room for so many places, and as many again, but no more than `most`."""
        if places > self.keys.shape[3]:
            room = max(places, min(2 * places, most))
            self.keys, self.values = _roomy(self.keys, room), _roomy(self.values, room)

    def keep(self, rows: Tensor) -> "Cache":
        """Some of the rows, in the order asked for; a row may be asked for twice."""
        place = rows.to(self.keys.device)
        return Cache(self.keys[:, place], self.values[:, place], self.lengths[rows])

    def join(self, other: "Cache") -> "Cache":
        """The rows of both."""
        room = max(self.keys.shape[3], other.keys.shape[3])
        pairs = ((self.keys, other.keys), (self.values, other.values))
        keys, values = (torch.cat([_roomy(a, room), _roomy(b, room)], dim=1) for a, b in pairs)
        return Cache(keys, values, torch.cat([self.lengths, other.lengths]))


def _roomy(x: Tensor, room: int) -> Tensor:
    return F.pad(x, (0, 0, 0, room - x.shape[3]))


class Attention(nn.Module):
    """Multi-head causal attention with rotary places."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        both = (shape.heads + 2 * shape.groups) * shape.size
        self.inward = nn.Linear(shape.width, both, bias=shape.biased)
        self.outward = nn.Linear(shape.width, shape.width, bias=shape.biased)
        self.query_norm = Norm(shape.size, "rms", shape.epsilon) if shape.normed else None
        self.key_norm = Norm(shape.size, "rms", shape.epsilon) if shape.normed else None

    def heads(self, x: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (n, h, w, s), keys and values (n, g, w, s) of x (n, w, d)."""
        shape, (n, w, _) = self.shape, x.shape
        both = self.inward(x).view(n, w, -1, shape.size).transpose(1, 2)  # (n, h + 2g, w, s)
        q, k, v = both.split([shape.heads, shape.groups, shape.groups], dim=1)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if angles is None:
            return q, k, v
        return rotate(q, *angles), rotate(k, *angles), v

    def forward(self, x: Tensor, angles: Angles, mask: Tensor | None) -> Tensor:
        """x (n, w, d) -> (n, w, d); `mask` (n or 1, 1, w, w) says who sees whom, None: causal."""
        q, k, v = self.heads(x, angles)
        return self.mixed(q, k, v, mask, causal=mask is None)

    def mixed(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, causal: bool
    ) -> Tensor:
        """What the places see of one another: (n, w, d)."""
        n, h, w, s = q.shape
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=h != k.shape[1]
        )
        return self.outward(y.transpose(1, 2).reshape(n, w, h * s))  # (n, h, w, s) -> (n, w, d)


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
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, angles: Angles, mask: Tensor | None) -> Tensor:
        """(n, w, d) -> (n, w, d)."""
        x = x + self.dropout(self.attention(self.before_attention(x), angles, mask))
        return x + self.dropout(self.feed(self.before_feed(x)))

    def read(
        self, x: Tensor, angles: Angles, keys: Tensor, values: Tensor, at: "Places"
    ) -> Tensor:
        """The same for new places; their keys and values go into the cache (n, g, room, s)."""
        attention = self.attention
        q, k, v = attention.heads(self.before_attention(x), angles)
        at.put(keys, k)
        at.put(values, v)
        seen, known = keys[:, :, : at.until], values[:, :, : at.until]
        x = x + attention.mixed(q, seen, known, at.mask, causal=at.causal)
        return x + self.feed(self.before_feed(x))


class Places:
    """Where the new places of each row stand in a cache, and what they see.

    Args:
        cache: with the rows as they are.
        w: how many new places every row gets.
        window: how far back a place sees, or None.
    """

    def __init__(self, cache: Cache, w: int, window: int | None) -> None:
        self.start = cache.lengths.to(cache.keys.device)
        self.until = cache.longest + w
        self.first = cache.longest if cache.equal else None
        self.w = w
        place = self.start[:, None] + torch.arange(w, device=self.start.device)
        self.place = place  # (n, w)
        self.rows = torch.arange(len(place), device=place.device)[:, None]
        alone = cache.equal and (window is None or self.until <= window)
        self.causal = alone and cache.longest == 0 and w > 1
        self.mask: Tensor | None = None
        if not (alone and (w == 1 or cache.longest == 0)):
            self.mask = visible(place, torch.arange(self.until, device=place.device), window)

    def angles(self, rotary: Rotary) -> Angles:
        """Cosines and sines of the places, of a shape that goes with (n, h, w, s)."""
        if self.first is not None:
            return rotary.at(slice(self.first, self.until))
        found = rotary.at(self.place)
        return None if found is None else (found[0][:, None], found[1][:, None])

    def put(self, room: Tensor, new: Tensor) -> None:
        """Write (n, g, w, s) into (n, g, room, s)."""
        if self.first is not None:
            room[:, :, self.first : self.first + self.w] = new
        else:
            room[self.rows, :, self.place] = new.transpose(1, 2)


def visible(place: Tensor, others: Tensor, window: int | None) -> Tensor:
    """(n, 1, w, m) bool: whether places (n, w) see places (m,): none later, none too far back."""
    back = place[:, None, :, None] - others
    seen = back >= 0
    return seen if window is None else seen & (back < window)
