"""Choosing tokens one after another: what every left-to-right family of sequences shares.

A family gives a `Reader`, which reads tokens and says what comes next; what is chosen of it, when
a row is over and how rows are sent on as they grow is here, and the same for all.
"""

from collections.abc import Collection, Generator, Iterator
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.condition import Batch
from likewise.core.contract import Controls
from likewise.core.rng import Draws
from likewise.core.space import Sequence


class Reader(Protocol):
    """Reads rows of tokens and says what comes next."""

    def begin(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """The logits (n, tokens) after rows (n, p), filled up on the right; lengths (n,)."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """The logits (n, tokens) after one more token of each row (n,)."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (m,) int64 alone; a row may be asked for twice."""
        ...


Reads = TypeVar("Reads", bound=Reader, covariant=True)


class Readable(Protocol[Reads]):
    """A family that reads from left to right; `Reads` says what its readers can do."""

    def reader(self, c: Batch | None, n: int) -> Reads:
        """What reads n rows under conditions; texts among them are given to `begin`."""
        ...


class Chosen(NamedTuple):
    """One token for each row that is still open.

    Attributes:
        rows: (m,) the numbers of the rows.
        tokens: (m,) int64.
    """

    rows: Tensor
    tokens: Tensor


class Kept(Protocol):
    """What is kept for each open row."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (m,) int64 alone."""
        ...


class Growing:
    """Rows that grow until they are over: with their `end`, at their most, or by a consumer.

    Args:
        most: (n,) tokens that each row gets at most.
        end: the token that closes a row.
        kept: readers and the like, which go on with the open rows alone.

    Attributes:
        rows: (m,) the numbers of the open rows.
        made: (m,) how many tokens each of them has got.
        most: (m,) how many it gets at most.
    """

    def __init__(self, most: Tensor, end: int, *kept: Kept) -> None:
        self.rows = torch.arange(len(most), device=most.device)
        self.made, self.most = torch.zeros_like(most), most
        self.end, self.kept = end, kept

    def grow(self, last: Tensor, by: Tensor | int, closed: Tensor | None) -> Tensor:
        """The last tokens of the rows that stay open; none if all are over.

        Args:
            last: (m,) the last token that each row got.
            by: how many it got, (m,) or the same for all.
            closed: the numbers of rows that a consumer closes, or None.
        """
        self.made = self.made + by
        going = (last != self.end) & (self.made < self.most)
        if closed is not None:
            going &= ~torch.isin(self.rows, closed.to(self.rows.device))
        if bool(going.all()):
            return last
        place = torch.nonzero(going)[:, 0]
        self.rows, self.made, self.most = (x[place] for x in (self.rows, self.made, self.most))
        for one in self.kept if len(place) else ():
            one.keep(place)
        return last[place]


def generate(
    reader: Reader,
    rows: Tensor,
    lengths: Tensor,
    *,
    most: Tensor,
    end: int,
    rng: Draws,
    controls: Controls = Controls(),
    never: int | None = None,
    over: tuple[int, ...] = (),
) -> Generator[Chosen, Tensor | None, None]:
    """Tokens that continue rows, one for each open row at a time.

    A row is over with its `end`, or when it has its `most` new tokens. A consumer that closes a
    row earlier sends its number: `chosen = stream.send(rows that are over)`.

    Args:
        reader: has read nothing yet.
        rows: (n, p) int64 what is continued, filled up on the right.
        lengths: (n,) of them, 1 at least.
        most: (n,) new tokens at most.
        end: the token that closes a row.
        rng: row i draws as its sample i.
        controls: temperature and the like.
        never: a token that is not chosen, or None.
        over: tokens that close a row besides `end`.
    """
    closing = torch.tensor(over, dtype=torch.int64, device=rows.device)
    points = rng.uniform(len(rows), max(1, int(most.max()))).to(rows.device).double()
    logits = reader.begin(rows, lengths)
    kept: list[Kept] = [reader]
    seen = None
    if controls.repetition != 1.0:
        seen = Seen(rows, lengths, logits.shape[-1])
        kept.append(seen)
    growing = Growing(most.to(rows.device), end, *kept)
    while len(growing.rows):
        if seen is not None:
            logits = seen.lowered(logits, controls.repetition)
        point = points[growing.rows, growing.made]
        tokens = choose(without(logits, never), controls, point)
        closed = yield Chosen(growing.rows, tokens)
        if over:
            spoken = growing.rows[torch.isin(tokens, closing)]
            closed = spoken if closed is None else torch.cat([spoken, closed.to(rows.device)])
        tokens = growing.grow(tokens, 1, closed)
        if not len(tokens):
            return
        if seen is not None:
            seen.add(tokens)
        logits = reader.step(tokens)


def without(logits: Tensor, token: int | None) -> Tensor:
    """Logits (..., K) with that of a token that is not drawn at -inf; as they are for None.

    Example:
        >>> without(torch.zeros(1, 3), 1)
        tensor([[0., -inf, 0.]])
    """
    if token is None:
        return logits
    others = logits.clone()
    others.select(-1, token).fill_(-torch.inf)
    return others


def choose(logits: Tensor, controls: Controls, points: Tensor) -> Tensor:
    """One token for each row: logits (n, K), points (n,) in (0, 1) -> (n,) int64.

    The inverse of the distribution, so that equal points give equal tokens.
    """
    if controls.temperature == 0.0:
        return logits.argmax(dim=-1)
    return picked(masses(logits, controls), points)


def masses(logits: Tensor, controls: Controls) -> Tensor:
    """What is drawn from: (..., K) float64 masses of sum 1; all on the likeliest at 0 degrees."""
    if controls.temperature == 0.0:
        return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).double()
    return filtered(logits, controls).double().softmax(dim=-1)


def picked(masses: Tensor, points: Tensor) -> Tensor:
    """(n,) int64: the inverse of distributions (n, K), of any sum above 0, at points (n,)."""
    upto = masses.cumsum(dim=-1)
    chosen = torch.searchsorted(upto, points[:, None] * upto[:, -1:], right=True)[:, 0]
    return chosen.clamp_(max=masses.shape[-1] - 1)


def filtered(logits: Tensor, controls: Controls) -> Tensor:
    """Logits (..., K) at a temperature, those of tokens that are not drawn from at -inf.

    The likeliest is always drawn from.
    """
    if controls.temperature != 1.0:
        # Below the likeliest's: what a small temperature sends out of range is -inf then.
        below = logits - logits.amax(dim=-1, keepdim=True)
        logits = below / max(controls.temperature, torch.finfo(logits.dtype).tiny)
    if controls.top_k is not None and controls.top_k < logits.shape[-1]:
        likeliest = logits.topk(controls.top_k, dim=-1).indices  # so many, also among ties
        rare = torch.ones_like(logits, dtype=torch.bool).scatter(-1, likeliest, False)
        logits = logits.masked_fill(rare, -torch.inf)
    if controls.top_p < 1.0:
        ordered, order = logits.sort(dim=-1, descending=True)
        share = ordered.softmax(dim=-1)
        before = share.cumsum(dim=-1) - share  # of all that are likelier
        rare = before >= controls.top_p
        rare[..., 0] = False  # a top_p that rounds to 0 leaves one too
        logits = logits.masked_fill(rare.scatter(-1, order, rare), -torch.inf)
    if controls.min_p > 0.0:
        share = logits.softmax(dim=-1)
        least = controls.min_p * share.amax(dim=-1, keepdim=True)
        logits = logits.masked_fill(share < least, -torch.inf)
    return logits


class Seen:
    """Which tokens stood before in each row: a repetition penalty lowers them.

    Args:
        rows: (n, p) int64 what was read, filled up on the right.
        lengths: (n,) of them.
        tokens: how many there are.
    """

    def __init__(self, rows: Tensor, lengths: Tensor, tokens: int) -> None:
        read = torch.arange(rows.shape[1], device=rows.device) < lengths.to(rows.device)[:, None]
        counts = torch.zeros(len(rows), tokens, device=rows.device)
        self.before = counts.scatter_add_(1, rows, read.float()) > 0  # (n, tokens)

    def lowered(self, logits: Tensor, penalty: float) -> Tensor:
        """Logits of tokens that stood before, divided by the penalty, or times it below 0."""
        lower = torch.where(logits > 0, logits / penalty, logits * penalty)
        return torch.where(self.before, lower, logits)

    def add(self, tokens: Tensor) -> None:
        """One more token of each row."""
        self.before.scatter_(1, tokens[:, None], True)

    def keep(self, rows: Tensor) -> None:
        """Some of the rows alone."""
        self.before = self.before[rows]


def written(
    reader: Reader,
    rows: Tensor,
    lengths: Tensor,
    most: Tensor,
    *,
    space: Sequence,
    rng: Draws,
    controls: Controls,
) -> Tensor:
    """(n, length) rows of a Space that continue `rows`, until their end; see `generate`."""
    stream = generate(
        reader,
        rows,
        lengths,
        most=most,
        end=space.end,
        rng=rng,
        controls=controls,
        never=space.unknown,
        over=space.over,
    )
    return filled(len(rows), space.length, space.pad, stream, rows.device)


def filled(
    n: int, length: int, pad: int, stream: Iterator[Chosen], device: torch.device
) -> Tensor:
    """What a stream chooses, as rows (n, length) filled up with padding."""
    x = torch.full((n, length), pad, device=device)
    for place, chosen in enumerate(stream):
        x[chosen.rows, place] = chosen.tokens
    return x


Beam: TypeAlias = tuple[list[int], float]  # its tokens, and their nats together


def beams(
    reader: Reader,
    row: Tensor,
    *,
    width: int,
    most: int,
    end: int,
    power: float = 1.0,
    never: int | None = None,
    over: Collection[int] = (),
) -> list[Beam]:
    """The likeliest continuations of one row by beam search, best first: (tokens, nats).

    Args:
        reader: has read nothing yet.
        row: (p,) int64.
        width: how many beams; as many are given back at most.
        most: new tokens at most.
        end: the token that closes a row; it is part of what is given back.
        power: of the length by which a log-probability is divided to compare beams (Wu et al.,
            "Google's neural machine translation system", 2016, without its constant).
        never: a token that no beam has, or None; the nats of the others are those of the model.
        over: tokens that close a row besides `end`, and are part of it too.

    Where open beams are left when all tokens are made, they count as the closed ones do.
    """
    logits = reader.begin(row[None], torch.tensor([len(row)]))
    alive: list[Beam] = [([], 0.0)]
    done: list[Beam] = []
    closing = {end, *over}
    for _ in range(most):
        log_probs = without(F.log_softmax(logits.double(), dim=-1).cpu(), never)
        total = (
            log_probs + torch.tensor([score for _, score in alive], dtype=torch.float64)[:, None]
        )
        values, places = total.flatten().topk(min(2 * width, total.numel()))
        grown: list[Beam] = []
        parents: list[int] = []
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            if value == -torch.inf:  # it cannot be
                break
            parent, token = divmod(place, total.shape[1])
            beam = ([*alive[parent][0], token], value)
            if token in closing:
                done.append(beam)
            elif len(grown) < width:
                grown.append(beam)
                parents.append(parent)
        done = _best(done, width, power)
        alive = grown
        if not alive:
            break
        if len(done) == width and _settled(alive, done, most, power):
            return done
        reader.keep(torch.tensor(parents))
        logits = reader.step(torch.tensor([beam[0][-1] for beam in alive], device=row.device))
    return _best([*done, *alive], width, power)


def _best(found: list[Beam], width: int, power: float) -> list[Beam]:
    """The likeliest beams, best first: by their nats over a power of their length."""
    return sorted(found, key=lambda beam: -beam[1] / len(beam[0]) ** power)[:width]


def _settled(alive: list[Beam], done: list[Beam], most: int, power: float) -> bool:
    """Whether no open beam can still overtake the closed ones: its log-probability only falls."""
    best = max(score for _, score in alive) / most**power
    tokens, score = done[-1]
    return best <= score / len(tokens) ** power
