"""The training loop: exact resume, exact accumulation, exact ranks, watchdog and clock."""

import itertools
import math
import os
import subprocess
import sys

import pytest
import torch

from likewise.core.errors import TrainingError
from likewise.core.records import split
from likewise.core.rng import fold
from likewise.train.job import Checked, Job
from likewise.train.loop import Trainer
from tests.toys import DOMAINS, FAMILIES

PAIRS = [
    ("toy_affine", "toy_points"),
    ("toy_gan", "toy_points"),
    ("toy_bigram", "toy_strings"),
    ("toy_columns", "toy_rows"),
]


def build(family="toy_affine", domain="toy_points", seed=0):
    records = DOMAINS[domain].toy()
    codec = DOMAINS[domain]()
    space = codec.views()[0]
    source = codec.source(records.take(split(records, seed=0).train), space, train=True)
    kind = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(fold(seed, "init"))
        model = kind(kind.preset("xs", space, codec.conditions()), space, codec.conditions())
    return model, source


def weights(model):
    return torch.cat([t.flatten().double() for t in model.state_dict().values()])


def train(family="toy_affine", domain="toy_points", **job):
    model, source = build(family, domain)
    extra = {k: job.pop(k) for k in ("validate", "file", "watch", "clock") if k in job}
    settings = {"name": family, "steps": 12, "batch": 16, "ema": 0.9, **job}
    outcome = Trainer(model, source, Job(**settings), **extra).run()
    return model, outcome


@pytest.mark.parametrize(("family", "domain"), PAIRS)
def test_equal_jobs_give_equal_bits_and_other_seeds_do_not(family, domain):
    first, _ = train(family, domain)
    assert torch.equal(weights(first), weights(train(family, domain)[0]))
    assert not torch.equal(weights(first), weights(train(family, domain, seed=1)[0]))


@pytest.mark.parametrize(("family", "domain"), PAIRS)
def test_the_loss_falls(family, domain):
    _, outcome = train(family, domain, steps=200)
    part = outcome.rows[0]["loss"].keys() - {"critic"}
    first = sum(row["loss"][p] for row in outcome.rows[:20] for p in part)
    last = sum(row["loss"][p] for row in outcome.rows[-20:] for p in part)
    assert last < first or family == "toy_gan"


class Kill(BaseException):
    pass


@pytest.mark.parametrize(("family", "domain"), PAIRS)
@pytest.mark.parametrize("at", [1, 7, 11])
def test_a_killed_training_resumes_to_the_same_bits(family, domain, at, tmp_path):
    file = tmp_path / "state.safetensors"

    def kill(progress):
        if progress.step == at:
            raise Kill

    validate = itertools.cycle([Checked(1.0, 0.1)])
    job = {"file": file, "validate": lambda: next(validate)}
    with pytest.raises(Kill):
        train(family, domain, watch=kill, **job)
    resumed, outcome = train(family, domain, **job)
    whole, plain = train(family, domain, validate=lambda: Checked(1.0, 0.1))
    assert torch.equal(weights(resumed), weights(whole))
    assert [row["loss"] for row in outcome.rows] == [row["loss"] for row in plain.rows]


@pytest.mark.parametrize(("family", "domain"), PAIRS)
def test_accumulation_gives_the_gradients_of_one_batch(family, domain):
    whole, _ = train(family, domain, steps=3)
    parts, _ = train(family, domain, steps=3, micro=5)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-4, atol=2e-5)


def test_a_bfloat16_step_is_near_a_float32_step():
    plain, _ = train(steps=2)
    half, _ = train(steps=2, arithmetic="bfloat16")
    assert weights(half).dtype == torch.float64
    torch.testing.assert_close(weights(half), weights(plain), rtol=0.1, atol=0.03)


RANKS = """
import sys, torch, torch.distributed as dist
sys.path.insert(0, {root!r})
from tests.train.test_loop import train, weights
dist.init_process_group("gloo")
torch.set_num_threads(1)
model, _ = train({family!r}, "toy_points", steps=5)
if dist.get_rank() == 0:
    torch.save(weights(model), {out!r})
dist.destroy_process_group()
"""


@pytest.mark.parametrize("family", ["toy_affine", "toy_gan"])
def test_two_ranks_give_the_parameters_of_one_process(family, tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    script, out = tmp_path / "ranks.py", tmp_path / "weights.pt"
    script.write_text(RANKS.format(root=root, family=family, out=str(out)))
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0",
         "--standalone", str(script)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    one, _ = train(family, steps=5)
    both = torch.load(out, weights_only=True)
    torch.testing.assert_close(both, weights(one), rtol=1e-4, atol=2e-5)


def test_draws_do_not_depend_on_the_batch_size():
    model, _ = train("toy_gan")
    from likewise.core.rng import Draws

    whole = model.sample(10, rng=Draws(3))
    parts = [model.sample(5, rng=Draws(3, start)) for start in (0, 5)]
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize(("family", "domain"), PAIRS)
def test_losses_are_one_per_example_where_claimed(family, domain):
    from likewise.core.contract import Step
    from likewise.core.rng import Draws

    model, source = build(family, domain)
    x, c = source.batch(torch.arange(7), Draws(0))
    for loss in model.losses(x, c, step=Step(Draws(0), 0.0)):
        assert loss.value.shape == (7,)


def test_an_infinite_loss_rolls_back_and_is_said():
    model, source = build()
    plain = type(model).losses
    broken = {6}

    def losses(self, x, c, *, step):
        for loss in plain(self, x, c, step=step):
            yield loss._replace(value=loss.value * (math.inf if step.index in broken else 1))

    model.losses = losses.__get__(model)
    outcome = Trainer(model, source, Job(name="toy", steps=12, batch=16)).run()
    assert outcome.events == [
        "at step 6 the loss of 'model' was not finite; rolled back and halved the rate"
    ]
    assert outcome.steps == 11 + 1
    assert torch.isfinite(weights(model)).all()


def test_a_training_that_never_was_finite_is_an_error_that_says_what_to_do():
    model, source = build()
    with torch.no_grad():
        model.log_scale.fill_(math.nan)
    with pytest.raises(
        TrainingError, match=r"weights or losses were not finite up to step .* Lower its"
    ):
        Trainer(model, source, Job(name="toy", steps=12, batch=16)).run()


def test_a_plan_that_overruns_is_shortened_once_and_replays():
    ticks = itertools.count()
    model, outcome = train(steps=100, seconds=10.0, clock=lambda: float(next(ticks)))
    assert outcome.shorten is not None
    assert outcome.steps == outcome.shorten[1] < 100
    assert "the plan was shortened" in outcome.events[0]
    again, second = train(steps=100, shorten=outcome.shorten)
    assert second.steps == outcome.steps
    assert torch.equal(weights(again), weights(model))


def test_worse_validations_stop_and_the_best_weights_are_kept():
    values = iter([1.0, 0.5, 2.0, 3.0, 4.0, 5.0])
    _, outcome = train(steps=40, validations=10, validate=lambda: Checked(next(values), 0.01))
    assert "stopped at step" in outcome.events[-1]
    assert "overfitting" in outcome.events[-1]
    assert outcome.best_step < outcome.steps < 40


def test_ctrl_c_keeps_the_best_weights(tmp_path):
    def stop(progress):
        if progress.step == 9:
            raise KeyboardInterrupt

    model, outcome = train(watch=stop, file=tmp_path / "state.safetensors")
    assert outcome.interrupted
    assert torch.isfinite(weights(model)).all()
    resumed, _ = train(file=tmp_path / "state.safetensors")
    assert torch.equal(weights(resumed), weights(train()[0]))


def test_every_pass_sees_every_record_once():
    _, source = build()
    model, _ = build()
    trainer = Trainer(model, source, Job(name="toy", steps=1, batch=7))
    seen = []
    for trainer.step in range(2 * len(source)):
        seen += trainer._rows().tolist()
    n = len(source)
    for start in range(0, len(seen) - n, n):
        assert sorted(seen[start : start + n]) == list(range(n))
