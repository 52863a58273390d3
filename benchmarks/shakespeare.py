"""Tiny Shakespeare, characters: nats a character on the last tenth, beside the seconds it took.

    python -m benchmarks.shakespeare FILE [--rows peer,quarter,ten,hour,rnn,ngram] [--out FOLDER]

The first 90 % of the characters train. Validation is one full pass over the last 10 %: passages
of at most 128 characters, each after the 128 characters that stand before it, so every character
but the first few sees at least 128; the end of the text is counted as one more. `peer` is the
recipe for processors of a well-known small code base as a plain PyTorch loop (4 layers, 4 heads,
128 wide, context 64, batch 12, 2,000 steps), scored in the same way with its own context. Each
row is written as soon as it is there, and not made again.
"""

import argparse
import json
import math
import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from likewise.core import registry
from likewise.core.config import from_json, override, to_json
from likewise.domains.text import Text
from likewise.store.files import write_json
from likewise.train.counting import count
from likewise.train.job import Job
from likewise.train.loop import Trainer
from likewise.workbench.data import gather
from likewise.workbench.fitting import build, steered

SHARE = 0.9
LOSS = 1.886


@dataclass(frozen=True)
class Row:
    """What is trained: a family, the changes to its Config, and seconds."""

    family: str
    changes: dict[str, str]
    seconds: float
    arithmetic: str = "bfloat16"


SMALL = {"width": "128", "hidden": "352", "heads": "2", "groups": "2", "batch": "8", "ema": "0.9",
         "forgotten": "0.3", "dropout": "0.0"}  # fmt: skip
ROWS = {
    "quarter": Row("transformer", SMALL, 0.0),
    "ten": Row("transformer", {}, 590),
    "hour": Row("transformer", {}, 2200),
    "rnn": Row("rnn", {}, 590),
    "ngram": Row("ngram", {}, 600),
}


class Peer(nn.Module):
    """The recipe's network: learned places, layer norm, GELU, a tied head."""

    def __init__(
        self, tokens: int, *, width: int = 128, depth: int = 4, context: int = 64
    ) -> None:
        super().__init__()
        self.context = context
        self.table, self.places = nn.Embedding(tokens, width), nn.Embedding(context, width)
        layer = [
            nn.ModuleDict(
                {
                    "one": nn.LayerNorm(width, bias=False),
                    "inward": nn.Linear(width, 3 * width, bias=False),
                    "outward": nn.Linear(width, width, bias=False),
                    "two": nn.LayerNorm(width, bias=False),
                    "up": nn.Linear(width, 4 * width, bias=False),
                    "down": nn.Linear(4 * width, width, bias=False),
                }
            )
            for _ in range(depth)
        ]
        self.layers = nn.ModuleList(layer)
        self.last = nn.LayerNorm(width, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                deep = name.endswith(("outward.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * depth) if deep else 0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.table(x) + self.places.weight[: x.shape[1]]
        n, w, d = h.shape
        for layer in self.layers:
            three = layer["inward"](layer["one"](h)).view(n, w, 3, 4, d // 4)
            q, k, v = three.permute(2, 0, 3, 1, 4)  # (n, w, 3, h, s) -> (3, n, h, w, s)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + layer["outward"](y.transpose(1, 2).reshape(n, w, d))
            h = h + layer["down"](F.gelu(layer["up"](layer["two"](h))))
        return self.last(h) @ self.table.weight.T


def peer(train: torch.Tensor, valid: torch.Tensor, tokens: int) -> dict[str, float]:
    """The recipe: 2,000 steps, AdamW, cosine from 1e-3 to 1e-4 after 100 steps of warm-up."""
    torch.manual_seed(0)
    net = Peer(tokens)
    decayed = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    start = time.perf_counter()
    for step in range(2000):
        rows = torch.randint(len(train) - net.context - 1, (12,))
        x = torch.stack([train[row : row + net.context] for row in rows])
        y = torch.stack([train[row + 1 : row + 1 + net.context] for row in rows])
        cosine = 0.5 * (1 + math.cos(math.pi * max(0, step - 100) / 1900))
        rate = 1e-3 * (step + 1) / 100 if step < 100 else 1e-4 + 9e-4 * cosine
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = F.cross_entropy(net(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - start
    return {"nats": peer_nats(net, valid), "seconds": seconds, "steps": 2000}


@torch.no_grad()
def peer_nats(net: Peer, valid: torch.Tensor) -> float:
    """Nats a character: every half context after the half before it; the first sees less."""
    half, total = net.context // 2, 0.0
    firsts = range(0, len(valid) - 1, half)
    for group in torch.tensor(list(firsts)).split(512):
        for first in group.tolist():
            low = max(0, first - half)
            x, y = valid[low : first + half], valid[low + 1 : first + half + 1]
            logits = net(x[None, : len(y)])[0, first - low :]
            total += float(F.cross_entropy(logits, y[first - low :], reduction="sum"))
    return total / (len(valid) - 1)


def make(row: Row, domain: Text, records: object, valid: object) -> dict[str, float]:
    """Train a row within its seconds, the probe of the pace included, and score it."""
    start = time.perf_counter()
    kind = registry.get("families", row.family)
    space = next(s for s in reversed(domain.views()) if kind.refuses(s) is None)
    conditions = steered(kind, domain.conditions())
    config = override(kind.preset("s", space, conditions), row.changes)
    source = domain.source(records, space, train=True)

    def fresh() -> object:
        return build(kind, from_json(kind.Config, to_json(config)), space, conditions, seed=0,
                     name=row.family)  # fmt: skip

    family = fresh()
    batch = getattr(config, "batch", 256)
    job = Job(name=row.family, steps=100_000, batch=batch, ema=getattr(config, "ema", 0.0),
              arithmetic=row.arithmetic)  # fmt: skip
    if kind.claims.learning == "counting":
        outcome = count(family, source, replace(job, steps=20, arithmetic="float32"))
    else:
        probe = Trainer(fresh(), source, job)
        probe.start()
        paces = []
        for _ in range(6):
            before = time.perf_counter()
            probe.advance()
            paces.append(time.perf_counter() - before)
        pace = sorted(paces[1:])[len(paces) // 2]
        left = row.seconds - (time.perf_counter() - start)
        told = replace(job, steps=int(left / pace), seconds=left)
        outcome = Trainer(family, source, told).run()
    seconds = time.perf_counter() - start
    nats, counted = cost(family, domain, valid)
    return {
        "nats": nats / counted,
        "seconds": seconds,
        "steps": outcome.steps,
        "parameters": sum(p.numel() for p in family.parameters()),
        "characters": counted,
        "settings": to_json(config),
    }


@torch.no_grad()
def cost(family: object, domain: Text, valid: object) -> tuple[float, float]:
    """Nats of the whole held-out text, and its characters with the end."""
    family.eval()
    x, c = gather(domain.source(valid, family.space, train=False))
    total = 0.0
    for first in range(0, len(x), 256):
        rows = slice(first, first + 256)
        told = {name: (v[rows], p[rows]) for name, (v, p) in c.items()}
        total -= float(family.log_prob(x[rows], told).double().sum())
    sizes = domain.sizes(valid)
    return total + float(sizes.outside.sum()), float(sizes.units["character"].sum())


def main() -> None:
    """Make and print the rows that are not there yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", default="peer,quarter,ten,rnn,ngram,hour")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--out", type=Path, default=Path("runs/shakespeare"))
    given = parser.parse_args()
    torch.set_num_threads(2)
    text = given.file.read_text()
    cut = int(SHARE * len(text))
    records, valid = Text.load([text[:cut]]), Text.load([text[cut:]])
    domain = Text()
    domain.fit(records)
    ids = torch.from_numpy(domain.codec.vocabulary.encode([text])[0].astype("int64"))
    for name in given.rows.split(","):
        place = given.out / f"{name}.json"
        if not place.exists():
            if name == "peer":
                found = peer(ids[:cut], ids[cut:], domain.codec.vocabulary.size)
            else:
                row = ROWS[name]
                if not row.seconds:  # a quarter of the peer's
                    known = json.loads((given.out / "peer.json").read_text())
                    row = replace(row, seconds=known["seconds"] / 4)
                changes = {**row.changes, **dict(pair.split("=") for pair in given.set)}
                row = replace(row, changes=changes, seconds=given.seconds or row.seconds)
                found = make(row, domain, records, valid)
            write_json(place, {**found, "torch": torch.__version__, "machine": platform.machine()})
        found = json.loads(place.read_text())
        size = found.get("parameters", 0)
        words = f"{name:8} {found['nats']:.4f} nats {found['seconds']:8.1f} s"
        print(f"{words} {found['steps']} steps {size:,} parameters", flush=True)


if __name__ == "__main__":
    main()
