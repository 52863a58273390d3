"""A transformer that reads few tokens at a time: its cache, and its weights laid out for that.

Where few places are read at once, most of the time goes into reading the weights. On a processor
with a C compiler one compiled call does a whole step, see `likewise.nn.compiled`. Without one
oneDNN keeps the weights in an order of its own, reads them faster than as they stand, and does
what follows a product in the same pass. Elsewhere the products are the plain ones. The layout is
a second copy of the weights.

Shapes: n rows, w places, d width, h heads of size s, g heads of keys and values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.nn.attention import Angles, Block, Norm, Rotary, Shape, visible
from likewise.nn.compiled import Affine, Compiled, Parts, fits
from likewise.nn.fused import turned

# what may follow a product, as oneDNN calls it, by the name of the feed-forward layer
FOLLOWING = {"swiglu": ("swish", ""), "relu2": ("relu", ""), "gelu": ("gelu", "tanh")}


class Product:
    """x W^T + b with what follows it; (..., inputs) -> (..., outputs).

    Args:
        weight: (outputs, inputs).
        bias: (outputs,) or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.packed = fast(weight)
        self.bias = None if bias is None else bias.detach()
        self.weight = weight.detach()
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def __call__(self, x: Tensor) -> Tensor:
        """The product."""
        if self.packed:
            return self._ours(x, "none", "")
        return F.linear(x, self.weight, self.bias)

    def then(self, x: Tensor, feed: str) -> Tensor:
        """SiLU, ReLU or GELU of the product; see FOLLOWING."""
        if self.packed:
            return self._ours(x, *FOLLOWING[feed])
        y = self(x)
        if feed == "gelu":
            return F.gelu(y, approximate="tanh")
        return F.silu(y) if feed == "swiglu" else F.relu(y)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product and `other` (..., outputs)."""
        return self._joined(x, other, "add") if self.packed else self(x).add_(other)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product times `other` (..., outputs)."""
        return self._joined(x, other, "mul") if self.packed else self(x).mul_(other)

    def _ours(self, x: Tensor, name: str, kind: str) -> Tensor:
        found = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], kind)
        return cast(Tensor, found)

    def _joined(self, x: Tensor, other: Tensor, name: str) -> Tensor:
        found = torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, name)
        return cast(Tensor, found)


def fast(weight: Tensor) -> bool:
    """Whether a product with this weight is one that oneDNN does better here."""
    here = weight.device.type == "cpu" and weight.dtype == torch.float32
    return here and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def affine(layer: nn.Module, norm: Norm | None = None) -> Affine:
    """A linear layer of what a norm without gain and bias gives out: they are folded in."""
    return folded(cast(Tensor, layer.weight), cast("Tensor | None", layer.bias), norm)


def folded(weight: Tensor, bias: Tensor | None, norm: Norm | None) -> Affine:
    """Weight (outputs, inputs) and bias with the gain and the bias of a norm that comes before."""
    if norm is None:
        return Affine(weight, bias)
    if norm.bias is not None:
        shift = weight @ norm.bias.to(weight.dtype)
        bias = shift if bias is None else bias + shift
    return Affine(weight * norm.gain.to(weight.dtype), bias)


def parts(block: Block) -> Parts:
    """What a block is made of."""
    attention, feed = block.attention, block.feed
    return Parts(
        inward=affine(attention.inward, block.before_attention),
        outward=affine(attention.outward),
        up=affine(feed.inward, block.before_feed),
        down=affine(feed.outward),
        gains=attention.gains(),
    )


class Level:
    """A norm without its gain and bias: they are in the product that follows.

    Args:
        norm: of numbers (..., width).
    """

    def __init__(self, norm: Norm) -> None:
        self.width, self.least = norm.width, norm.epsilon
        self.epsilon = norm.gain.new_tensor(norm.epsilon)
        self.layered = norm.bias is not None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        if self.layered:
            return F.layer_norm(x, (self.width,), eps=self.least)
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return torch.addcmul(self.epsilon, size, size, value=1 / self.width).rsqrt_().mul(x)


class Layer:
    """A block, laid out; see `Block`.

    Args:
        block: of a transformer.
    """

    def __init__(self, block: Block) -> None:
        found, self.shape = parts(block), block.attention.shape
        self.first, self.second = Level(block.before_attention), Level(block.before_feed)
        self.inward, self.outward = Product(*found.inward), Product(*found.outward)
        self.gains, self.level = found.gains, None
        if block.attention.query_norm is not None:
            self.level = Level(block.attention.query_norm)
        weight, bias = found.up
        halves = 2 if self.shape.feed == "swiglu" else 1
        biases = [None] * halves if bias is None else bias.chunk(halves)
        self.gate, *more = map(Product, weight.chunk(halves), biases)
        self.up = more[0] if more else None
        self.kind, self.down = self.shape.feed, Product(*found.down)

    def read(self, x: Tensor, angles: Angles, at: "Places", number: int) -> Tensor:
        """x (n, w, d) of new places; their keys and values go into the cache of this block."""
        shape, (n, w, _) = self.shape, x.shape
        heads = self.inward(self.first(x)).view(n, w, -1, shape.size)  # (n, w, h + 2g, s)
        both, v = heads.split([shape.heads + shape.groups, shape.groups], dim=2)
        if self.level is not None and self.gains is not None:
            both = self.level(both).mul_(self.gains)
        if angles is not None:
            both = turned(both, *angles)
        q, k = both.split([shape.heads, shape.groups], dim=2)
        keys, values = at.seen(number, k, v)
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            keys,
            values,
            attn_mask=at.mask,
            is_causal=at.causal,
            enable_gqa=shape.heads != shape.groups,
        )
        x = self.outward.plus(y.transpose(1, 2).reshape(n, w, -1), x)  # (n, h, w, s) -> (n, w, hs)
        level = self.second(x)
        h = self.gate.then(level, self.kind)
        if self.up is not None:
            h = self.up.times(level, h)
        return self.down.plus(h.square_() if self.kind == "relu2" else h, x)


class Laid:
    """A transformer's blocks and head, laid out as they are now.

    Args:
        shape: of the blocks.
        blocks: one after another.
        norm: what comes before the head.
        weight, bias: of the head, (tokens, d) and (tokens,) or None.
    """

    def __init__(
        self,
        shape: Shape,
        blocks: Iterable[nn.Module],
        norm: Norm,
        weight: Tensor,
        bias: Tensor | None,
    ) -> None:
        known, head = [cast(Block, block) for block in blocks], folded(weight, bias, norm)
        self.window, self.compiled = shape.window, None
        if fits(weight):
            self.compiled = Compiled(shape, [parts(block) for block in known], head)
            return
        self.layers = [Layer(block) for block in known]
        self.last, self.head = Level(norm), Product(*head)

    def read(self, x: Tensor, cache: "Cache", rotary: Rotary) -> Tensor:
        """x (n, w, d) of new places -> (n, w, d) of the last block.

        The keys and values of the new places go into the cache; it has room for them.
        """
        if self.compiled is not None:
            return self.compiled.read(x, cache.keys, cache.values, cache.lengths, rotary)
        at = Places(cache, x.shape[1], self.window)
        angles = at.angles(rotary)
        for number, layer in enumerate(self.layers):
            x = layer.read(x, angles, at, number)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., tokens)."""
        return self.head(self.last(x)) if self.compiled is None else self.compiled.logits(x)


@dataclass
class Cache:
    """Keys and values of all blocks for rows of unequal length.

    Attributes:
        keys, values: (blocks, n, g, room, s); what is not filled may hold anything from the
            longest row's end on, and is finite before.
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
        keys = like.new_empty(blocks, n, shape.groups, room, shape.size)
        return cls(keys, torch.empty_like(keys), torch.zeros(n, dtype=torch.int64))

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
            room, filled = max(places, min(2 * places, most)), self.longest
            self.keys = _roomy(self.keys, room, filled, 0)
            self.values = _roomy(self.values, room, filled, 0)

    def keep(self, rows: Tensor) -> "Cache":
        """Some of the rows, in the order asked for; a row may be asked for twice."""
        place = rows.to(self.keys.device)
        return Cache(self.keys[:, place], self.values[:, place], self.lengths[rows])

    def join(self, other: "Cache") -> "Cache":
        """The rows of both."""
        room = max(self.keys.shape[3], other.keys.shape[3])
        longest = max(self.longest, other.longest)
        parts = [
            [_roomy(x, room, c.longest, longest - c.longest) for c, x in pair]
            for pair in (
                ((self, self.keys), (other, other.keys)),
                ((self, self.values), (other, other.values)),
            )
        ]
        keys, values = (torch.cat(pair, dim=1) for pair in parts)
        return Cache(keys, values, torch.cat([self.lengths, other.lengths]))


def _roomy(x: Tensor, room: int, filled: int, zeros: int) -> Tensor:
    """The filled places of x (blocks, n, g, places, s) among `room`, then so many zeros."""
    y = x.new_empty(*x.shape[:3], room, x.shape[4])
    y[:, :, :, :filled] = x[:, :, :, :filled]
    y[:, :, :, filled : filled + zeros] = 0.0
    return y


class Places:
    """Where the new places of each row stand in a cache, and what they see.

    Args:
        cache: with the rows as they are, and room for the new places.
        w: how many new places every row gets.
        window: how far back a place sees, or None.
    """

    def __init__(self, cache: Cache, w: int, window: int | None) -> None:
        self.start = cache.lengths.to(cache.keys.device)
        self.until = cache.longest + w
        self.first = cache.longest if cache.equal else None
        place = self.start[:, None] + torch.arange(w, device=self.start.device)
        self.place = place  # (n, w)
        self.rows = torch.arange(len(place), device=place.device)[:, None]
        alone = cache.equal and (window is None or self.until <= window)
        self.causal = alone and cache.longest == 0 and w > 1
        self.mask: Tensor | None = None
        if not (alone and (w == 1 or cache.longest == 0)):
            self.mask = visible(place, torch.arange(self.until, device=place.device), window)
        # views of all blocks at once: (n, g, room, s) to write into and (n, g, until, s) to see
        both = (cache.keys, cache.values)
        self.rooms = list(zip(*(x.unbind(0) for x in both), strict=True))
        self.views = list(zip(*(x.narrow(3, 0, self.until).unbind(0) for x in both), strict=True))
        self.spots = None
        if self.first is not None:
            spots = (x.narrow(3, self.first, w).transpose(2, 3).unbind(0) for x in both)
            self.spots = list(zip(*spots, strict=True))
        else:  # shorter rows do not fill these places now, and what is masked must be finite
            for x in both:
                x.narrow(3, cache.longest, w).zero_()

    def angles(self, rotary: Rotary) -> Angles:
        """Cosines and sines of the places, of a shape that goes with (n, w, h, s)."""
        if self.first is not None:
            return rotary.at(slice(self.first, self.until))
        return rotary.at(self.place)

    def seen(self, number: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values (n, g, until, s) of a block, with new ones (n, w, g, s)."""
        if self.spots is not None:
            for spot, new in zip(self.spots[number], (k, v), strict=True):
                spot.copy_(new)
        else:
            for room, new in zip(self.rooms[number], (k, v), strict=True):
                room[self.rows, :, self.place] = new
        return self.views[number]
