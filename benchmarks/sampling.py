"""Tokens a second of a transformer with its cache, beside `transformers.generate` and no cache.

    python -m benchmarks.sampling [--batches 1,16] [--tokens 256] [--threads 2] [--rounds 5]

Random weights of about 10 million parameters (8 blocks, 320 wide, 5 heads, Qwen3 by its layout) go
through `export`, so that both libraries hold the same; both draw greedily, in float32, and must
come to the same tokens. Runs alternate and medians are compared. The bare products are the
matrices of one step alone; the bound is the bytes of the weights over the speed at which this
machine reads memory, measured by summing a large array.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from likewise.core.contract import Controls
from likewise.core.rng import Draws
from likewise.domains.text import Text
from likewise.families.transformer import Config, Transformer
from likewise.nn.decoding import generate
from likewise.store.model import Model
from likewise.workbench.exchange import export

GREEDY = Controls(temperature=0.0)


def model_of(length: int) -> Model:
    """Random weights over bytes."""
    torch.manual_seed(0)
    domain = Text()
    domain.fit(Text.load(["some text to learn from, " * 200] * 2, tokenizer="bytes"))
    domain._codec = type(domain.codec)(**{**vars(domain.codec), "context": length})
    config = Config(width=320, depth=8, heads=5, groups=5, hidden=864, runs=0)
    space = domain.views()[-1]
    family = Transformer(config, space, domain.conditions()).eval()
    for parameter in family.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    return Model("transformer", family, domain, {}, {})


def ours(model: Model, rows: torch.Tensor, count: int) -> tuple[float, torch.Tensor]:
    """Seconds, and the tokens."""
    n, family = len(rows), model.family
    start = time.perf_counter()
    stream = generate(
        family.reader(None, n),
        rows,
        torch.full((n,), rows.shape[1]),
        most=torch.full((n,), count),
        end=-1,
        rng=Draws(0),
        controls=GREEDY,
    )
    tokens = torch.stack([chosen.tokens for chosen in stream], dim=1)
    return time.perf_counter() - start, tokens


def theirs(net: Any, rows: torch.Tensor, count: int, pad: int) -> tuple[float, torch.Tensor]:
    """The same of the library."""
    start = time.perf_counter()
    found = net.generate(
        rows,
        attention_mask=torch.ones_like(rows),
        do_sample=False,
        max_new_tokens=count,
        min_new_tokens=count,
        suppress_tokens=[pad],
        eos_token_id=None,
        pad_token_id=pad,
    )
    return time.perf_counter() - start, found[:, rows.shape[1] :]


@torch.no_grad()
def naive(model: Model, rows: torch.Tensor, count: int) -> tuple[float, torch.Tensor]:
    """The same without a cache."""
    start, known = time.perf_counter(), rows
    for _ in range(count):
        logits = model.family.logits(known)[:, -1]
        known = torch.cat([known, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return time.perf_counter() - start, known[:, rows.shape[1] :]


def bare(model: Model, n: int) -> float:
    """Seconds of the matrix products of one step."""
    weights = [p for p in model.family.parameters() if p.dim() == 2][1:]
    inputs = [torch.randn(n, weight.shape[1]) for weight in weights]
    times = []
    for _ in range(30):
        start = time.perf_counter()
        for x, weight in zip(inputs, weights, strict=True):
            F.linear(x, weight)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def bandwidth() -> float:
    """Bytes a second that a sum over a large array reads."""
    x = torch.ones(2**26)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        x.sum()
        times.append(time.perf_counter() - start)
    return 4 * 2**26 / statistics.median(times)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    from transformers import AutoModelForCausalLM

    model = model_of(640)
    pad = model.family.space.pad
    with tempfile.TemporaryDirectory() as folder:
        net = AutoModelForCausalLM.from_pretrained(export(model, Path(folder) / "hf")).eval()
    size = 4 * sum(p.numel() for p in model.family.parameters())
    print(f"{model.parameters / 1e6:.1f} million parameters; {given.threads} threads")
    speed = bandwidth()
    print(f"memory: {speed / 1e9:.1f} GB/s: at best {speed / size:.0f} steps a second")
    for n in map(int, given.batches.split(",")):
        rows = torch.randint(0, 250, (n, 16), generator=torch.manual_seed(1))
        pairs = [
            (ours(model, rows, given.tokens), theirs(net, rows, given.tokens, pad))
            for _ in range(given.rounds)
        ]
        same = bool((pairs[0][0][1] == pairs[0][1][1]).all())
        one, other = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
        each = 1e3 / given.tokens
        print(
            f"batch {n:2}: {n * given.tokens / one:,.0f} tokens/s, {one * each:.2f} ms a step; "
            f"transformers {other * each:.2f} ms: {other / one:.2f} times; same tokens: {same}; "
            f"bare products {1e3 * bare(model, n):.2f} ms",
            flush=True,
        )
    rows = torch.randint(0, 250, (1, 16), generator=torch.manual_seed(1))
    fast, slow = ours(model, rows, 512), naive(model, rows, 512)
    agree = float((fast[1] == slow[1]).double().mean())
    print(f"512 tokens, no cache: {slow[0] / fast[0]:.1f} times; {agree:.1%} of tokens alike")


if __name__ == "__main__":
    main()
