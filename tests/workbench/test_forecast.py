"""The forecast of a run, and what the probe chooses."""

from types import SimpleNamespace

import pytest
import torch

from likewise.train.arithmetic import PLAIN
from likewise.train.plan import FamilyPlan, Plan, from_json, to_json
from likewise.workbench import planning
from likewise.workbench.augmentation import Trial
from likewise.workbench.forecast import TIERS, forecasts, peak_memory
from likewise.workbench.main_job import _feature_steps
from likewise.workbench.planning import AMORTISED, BATCH, COMPILING, LONG, MANY, SLOW, Probe


def plan_of(**changes):
    facts = {"config": {}, "preset": "s", "steps": 100, "batch": 10, "expected": 5.0}
    return FamilyPlan(**{**facts, **changes})


def test_a_forecast_adds_up_the_stages_of_a_chain():
    stages = (plan_of(memory=300), plan_of(steps=200, arithmetic="bfloat16", memory=500))
    (one,) = forecasts({"vae+diffusion": stages}, 500)
    assert (one.seconds, one.steps, one.memory, one.passes) == (10.0, 300, 500, 2.0)
    assert one.arithmetic == "float32 + bfloat16"


def test_tiers_follow_the_passes():
    words = [
        next(iter(forecasts({"vae": (plan_of(steps=steps),)}, 1000))).tier
        for steps in (50, 100, 400, 1500, 9999)
    ]
    assert words == [TIERS[0][1], TIERS[0][1], TIERS[1][1], TIERS[2][1], TIERS[3][1]]


def test_what_was_not_probed_is_not_forecast():
    assert list(forecasts({"gmm": (plan_of(expected=None),)}, 10)) == []


def test_the_peak_of_memory_sees_what_was_held():
    with peak_memory() as peak:
        held = torch.ones(64, 2**20)  # 256 MiB
        del held
    assert peak() >= 256


def test_a_plan_keeps_the_arithmetic():
    plan = Plan(
        seconds=None, threads=1, n=1, samples=1, features=1, families={"vae": (plan_of(),)}
    )
    assert from_json(to_json(plan)) == plan
    first = to_json(plan)
    first["families"]["vae"][0]["dtype"] = first["families"]["vae"][0].pop("arithmetic")
    assert from_json(first) == plan


@pytest.mark.parametrize(
    ("paces", "share", "chosen"),
    [
        ({"bfloat16": 0.5}, LONG, "bfloat16"),
        ({"bfloat16": 0.5}, LONG - 1, "float32"),
        ({"bfloat16": 0.95}, LONG, "float32"),
        ({"bfloat16, channels last": 0.4, "bfloat16": 0.5}, LONG, "bfloat16, channels last"),
        ({"bfloat16, channels last": 0.45, "bfloat16": 0.5}, LONG, "bfloat16"),
        ({"float32, channels last": 0.5}, LONG, "float32, channels last"),
        ({"float32, compiled": 0.5}, COMPILING, "float32, compiled"),
        ({"float32, compiled": 0.5}, COMPILING - 1, "float32"),
        ({"float32, compiled": None}, COMPILING, "float32"),
    ],
)
def test_another_arithmetic_is_taken_where_it_is_clearly_faster_and_time_is_long(
    monkeypatch, paces, share, chosen
):
    def paced(self, name, kind, space, config, arithmetic=PLAIN):
        pace = paces.get(str(arithmetic), 1.0)
        if pace is None:
            raise RuntimeError("no compiler")
        return pace, str(arithmetic)

    monkeypatch.setattr(Probe, "paced", paced)
    probe = Probe(SimpleNamespace(), seed=0, device="cpu")
    pace, _, arithmetic = probe.fastest("vae", None, None, None, share=share)
    assert (str(arithmetic), pace) == (chosen, paces.get(chosen, 1.0))


@pytest.mark.parametrize(
    ("augmented", "plain", "said"),
    [
        ((0.01, 0.012, 0.011), (0.05, 0.051, 0.049), "Augmentation helped: in 3 pairs"),
        ((0.05, 0.051, 0.049), (0.01, 0.012, 0.011), "--load augment=none leaves it out"),
        # Nearer in every pair, and yet no more than seeds differ.
        ((0.01, 0.01, 0.01), (0.011, 0.02, 0.05), "Augmentation made no clear difference"),
    ],
)
def test_augmentation_is_judged_by_what_seeds_differ(augmented, plain, said):
    sentence = Trial("vae", 9, augmented, plain).sentence
    assert said in sentence
    assert "of 9 steps of vae each" in sentence


@pytest.mark.parametrize(
    ("call", "sample", "wanted"),
    [
        (0.0, 0.01, 0.01),
        (0.256, 0.01, 0.01 + 0.256 / BATCH),
        # What a batch takes by itself may hide what a sample takes: at most so much is hoped for.
        (4.0, 0.0, 4.0 / MANY / AMORTISED + (4.0 - 4 * 4.0 / MANY / AMORTISED) / BATCH),
        (2 * SLOW, 0.0, 2 * SLOW / 4 / AMORTISED),
    ],
)
def test_a_sample_takes_its_own_time_and_its_part_of_a_batch(monkeypatch, call, sample, wanted):
    drawn = []

    def seconds(draw):
        drawn.append(draw.args[0])
        return call + sample * draw.args[0]

    monkeypatch.setattr(planning, "_seconds", seconds)
    probe = Probe(SimpleNamespace(), seed=0, device="cpu")
    assert probe.sampling(SimpleNamespace(draw=lambda n: None)) == pytest.approx(wanted)
    assert drawn == ([4] if call > SLOW else [4, MANY])


@pytest.mark.parametrize(
    ("budget", "steps"), [(1, 20), (30, 150), (60, 300), (180, 300), (360, 600), (7200, 1500)]
)
def test_feature_nets_take_more_steps_where_there_is_more_time(budget, steps):
    assert _feature_steps(budget) == steps
