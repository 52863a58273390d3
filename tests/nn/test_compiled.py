"""The compiled step: the blocks it stands for, bit for bit the same however rows are read."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from likewise.nn import compiled
from likewise.nn.attention import Block, Norm, Rotary, Shape
from likewise.nn.compiled import Affine, Compiled, in_strips, library
from likewise.nn.reading import Cache, Laid, folded, parts

PLACES, TOKENS = 40, 37
SHAPES = {
    "plain": Shape(width=24, heads=2, groups=2, hidden=40),
    "groups": Shape(width=36, heads=6, groups=2, hidden=33, window=4),
    "gelu": Shape(width=20, heads=2, groups=1, hidden=17, feed="gelu", norms="layer",
                  normed=False, biased=True, base=None, epsilon=1e-5),
    "relu2": Shape(width=64, heads=2, groups=2, hidden=96, feed="relu2", biased=True),
}  # fmt: skip


def needs_a_compiler():
    if library() is None:
        pytest.skip("no C compiler")


def blocks_of(shape, depth=2, seed=0):
    """Blocks, a norm and a head with weights that are all in use."""
    torch.manual_seed(seed)
    blocks = torch.nn.ModuleList(Block(shape) for _ in range(depth)).eval()
    norm = Norm(shape.width, shape.norms, shape.epsilon)
    for parameter in [*blocks.parameters(), *norm.parameters()]:
        torch.nn.init.normal_(parameter, std=0.4)
    return blocks, norm, torch.randn(TOKENS, shape.width), torch.randn(TOKENS)


@torch.no_grad()
def plainly(shape, made, x):
    """The logits of rows x (n, w, d) by the modules themselves, without a cache."""
    blocks, norm, weight, bias = made
    w = x.shape[1]
    back = torch.arange(w)[:, None] - torch.arange(w)
    mask = (back >= 0) & (back < (shape.window or w))
    angles = Rotary(shape.size, PLACES, shape.base).at(slice(w))
    for block in blocks:
        x = block(x, angles, mask[None, None])
    return F.linear(norm(x), weight, bias)


@torch.no_grad()
def stepwise(shape, made, x, sizes):
    """The same by a cache and pieces of these sizes."""
    laid, rotary = Laid(shape, *made), Rotary(shape.size, PLACES, shape.base)
    assert laid.compiled is not None
    cache = Cache.empty(len(made[0]), len(x), shape, PLACES, x)
    found = []
    for piece in x.split(sizes, dim=1):
        found.append(laid.logits(laid.read(piece, cache, rotary)))
        cache.advance(piece.shape[1])
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("sizes", [[12], [1] * 12, [7, 1, 4]])
def test_it_is_what_the_blocks_do(name, sizes):
    needs_a_compiler()
    shape, x = SHAPES[name], torch.randn(3, 12, SHAPES[name].width)
    made = blocks_of(shape)
    torch.testing.assert_close(
        stepwise(shape, made, x, sizes), plainly(shape, made, x), atol=2e-4, rtol=2e-4
    )


@pytest.mark.parametrize("name", SHAPES)
def test_a_row_gets_the_same_bits_alone_among_others_and_at_once(name):
    needs_a_compiler()
    shape, x = SHAPES[name], torch.randn(11, 12, SHAPES[name].width)
    made = blocks_of(shape)
    whole = stepwise(shape, made, x, [12])
    assert torch.equal(whole, stepwise(shape, made, x, [5, 1, 1, 5]))
    for row in (0, 7, 10):
        assert torch.equal(whole[row], stepwise(shape, made, x[row, None], [1] * 12)[0])


def test_threads_change_no_bit():
    needs_a_compiler()
    shape, x, before = SHAPES["groups"], torch.randn(3, 12, 36), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(stepwise(shape, blocks_of(shape), x, [3] * 4))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("feed", ["swiglu", "relu2", "gelu"])
def test_what_follows_a_product_is_right_far_out(feed):
    """One block whose attention is silent and whose products are the identity: x + f(level)."""
    needs_a_compiler()
    shape = Shape(width=16, heads=2, groups=2, hidden=16, feed=feed, norms="layer", base=None)
    (block,), *_ = made = blocks_of(shape, depth=1)
    halves = 2 if feed == "swiglu" else 1
    with torch.no_grad():
        block.attention.outward.weight.zero_()
        block.feed.inward.weight.copy_(torch.eye(16).repeat(halves, 1))
        block.feed.outward.weight.copy_(torch.eye(16))
        block.before_feed.gain.fill_(60.0)
        block.before_feed.bias.zero_()
    x = torch.linspace(-2, 2, 16)[None, None]
    torch.testing.assert_close(
        stepwise(shape, made, x, [1]), plainly(shape, made, x), atol=1e-3, rtol=1e-5
    )


def test_places_beyond_the_cache_or_the_angles_are_refused():
    needs_a_compiler()
    shape = SHAPES["plain"]
    laid = Laid(shape, *blocks_of(shape))
    for room, angles in ((3, PLACES), (PLACES, 3)):
        cache = Cache.empty(2, 2, shape, room, torch.ones(1))
        cache.advance(2)
        with pytest.raises(IndexError, match="4 places do not fit into 3"):
            laid.read(torch.zeros(2, 2, 24), cache, Rotary(shape.size, angles, shape.base))


def test_no_rows_are_read_as_none():
    needs_a_compiler()
    shape = SHAPES["plain"]
    laid = Laid(shape, *blocks_of(shape))
    cache = Cache.empty(2, 0, shape, PLACES, torch.ones(1))
    x = laid.read(torch.zeros(0, 1, 24), cache, Rotary(shape.size, PLACES, shape.base))
    assert laid.logits(x).shape == (0, 1, TOKENS)


def test_nothing_hides_a_number_that_is_none():
    needs_a_compiler()
    shape = SHAPES["plain"]
    made = blocks_of(shape)
    with torch.no_grad():
        made[0][0].feed.outward.weight[3, 3] = torch.nan
    assert stepwise(shape, made, torch.randn(2, 3, 24), [1] * 3).isnan().all()


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("width", [8, 32])
def test_strips_hold_every_weight_once(paired, width):
    weight = torch.arange(1, 2 * 37 * 5 + 1).float().view(74, 5)
    strips = in_strips(weight, width, paired)
    each = width // 2 if paired else width
    assert strips.shape == (-(-(37 if paired else 74) // each), 5, width)
    for output, row in enumerate(weight):
        half, place = divmod(output, 37) if paired else (0, output)
        assert torch.equal(strips[place // each, :, place % each + width // 2 * half], row)
    assert strips.count_nonzero() == weight.numel()


def test_without_a_compiler_there_is_no_step(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert library.__wrapped__() is None
    monkeypatch.setattr(compiled, "library", lambda: None)
    assert not compiled.fits(torch.ones(1))
    with pytest.raises(RuntimeError, match="no C compiler"):
        Compiled(SHAPES["plain"], [], Affine(torch.ones(2, 24), None))


@pytest.mark.parametrize(
    "failure", [subprocess.CalledProcessError(1, "gcc"), subprocess.TimeoutExpired("gcc", 1)]
)
def test_a_compiler_that_fails_leaves_nothing(monkeypatch, tmp_path, failure):
    def fail(*args, **more):
        raise failure

    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: "gcc")
    monkeypatch.setattr(subprocess, "run", fail)
    assert library.__wrapped__() is None
    assert not list(tmp_path.iterdir())


def test_what_a_killed_compiler_left_is_cleared_away(monkeypatch, tmp_path):
    needs_a_compiler()
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    old, new = (tmp_path / f"{compiled.UNFINISHED}{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "step.o").write_bytes(b"half")
    os.utime(old, (0, 0))
    assert library.__wrapped__() is not None
    assert new.exists()  # another process may be at it
    assert not old.exists()


@pytest.mark.parametrize("kept", [0, 1000, -1])
def test_a_damaged_file_in_the_cache_is_made_anew(monkeypatch, tmp_path, kept):
    needs_a_compiler()
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    assert library.__wrapped__() is not None
    (path,) = tmp_path.glob("step-*.so")
    whole = path.read_bytes()
    path.unlink()  # the one that is open stays as it is
    path.write_bytes(whole[:kept])
    assert library.__wrapped__() is not None
    assert path.read_bytes() == whole
    assert sorted(one.suffix for one in tmp_path.iterdir()) == [".sha256", ".so"]


@pytest.mark.parametrize("kind", ["x86-64", "x86-64-v3"])
def test_narrower_registers_give_the_same(monkeypatch, tmp_path, kind):
    """What processors without AVX-512 or without AVX run, where this one can run it too."""
    needs_a_compiler()
    if platform.machine() != "x86_64" or "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("another processor")
    flags = [one.replace("native", kind) for one in compiled.FLAGS]
    monkeypatch.setattr(compiled, "FLAGS", flags)
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    found = library.__wrapped__()
    assert found.strip() == {"x86-64": 8, "x86-64-v3": 16}[kind]
    monkeypatch.setattr(compiled, "library", lambda: found)
    for shape in SHAPES.values():
        made, x = blocks_of(shape), torch.randn(3, 12, shape.width)
        torch.testing.assert_close(
            stepwise(shape, made, x, [7, 1, 4]), plainly(shape, made, x), atol=2e-4, rtol=2e-4
        )


def test_only_float32_on_a_processor_fits():
    needs_a_compiler()
    assert compiled.fits(torch.ones(1))
    assert not compiled.fits(torch.ones(1).double())
    assert not compiled.fits(torch.ones(1, device="meta"))


def test_folding_goes_by_what_a_norm_does():
    shape = SHAPES["gelu"]
    (block, _), *_ = blocks_of(shape)
    x = torch.randn(5, shape.width)
    level = F.layer_norm(x, (shape.width,), eps=shape.epsilon)
    found = parts(block).inward
    wanted = block.attention.inward(block.before_attention(x))
    torch.testing.assert_close(F.linear(level, *found), wanted, atol=1e-4, rtol=1e-4)
    assert folded(found.weight, None, None) == Affine(found.weight, None)
