"""Run folders to report on: one as a run leaves it, one broken in every way that is foreseen."""

import json
import math
from pathlib import Path

from PIL import Image

MEASURES = {
    "fd_classifier": ("1", "lower"),
    "kd_classifier": ("1", "lower"),
    "fd_random": ("1", "lower"),
    "precision": ("1", "higher"),
    "recall": ("1", "higher"),
    "coverage": ("1", "higher"),
    "nll": ("bits/dim", "lower"),
}
ROWS = {
    # name: role, verdict, parameters, one value for each measure
    "diffusion": ("model", "release", 214_337, (4.21, 0.0041, 1.92, 0.71, 0.64, 0.88, 1.43)),
    "flow": ("model", "release", 190_512, (4.48, 0.0049, 2.05, 0.69, 0.66, 0.87, 1.21)),
    "gan": ("model", "hold", 98_210, (6.9, 0.0093, 3.4, 0.78, 0.41, 0.71, None)),
    "vae": ("model", "unknown", 59_640, (12.4, 0.021, 5.3, 0.55, 0.52, 0.61, 1.62)),
    "independent": ("baseline", "release", 1024, (212.0, 0.61, 88.0, 0.02, 0.11, 0.04, 2.9)),
    "copier": ("control", "hold", 0, (2.62, 0.0012, 1.2, 0.79, 0.78, 0.95, 2.2)),
    "real vs real": ("floor", "", 0, (2.4, 0.0004, 1.1, 0.74, 0.75, 0.96, None)),
}
RULES = ("copying", "membership by loss", "membership by distance", "shares of hand")
RESPONSES = {
    # net: corruption: distances at its strengths
    "classifier": {"blur": (0.41, 3.3, 24.8, 48.4), "dropped classes": (0.43, 1.1, 3.3, 6.9)},
    "pca": {"blur": (2.3, 4.2, 4.1, 35.3), "dropped classes": (3.1, 3.4, 4.6, 6.4)},
}
STEERED = {"conditions": [{"kind": "labels", "name": "label"}]}
AUGMENTATION = "Augmentation helped: vae, 200 steps with it and without it."
STRENGTHS = {"blur": (0.0, 0.5, 1.0, 2.0), "dropped classes": (0.0, 1 / 3, 2 / 3, 1.0)}
DIGITS = (
    "0111001000110001100010111",
    "0010001100001000010001110",
    "0111000001001100100001111",
    "1111000001001100000111110",
    "1001010010111100001000010",
    "1111010000111100000111110",
)


def png(path: Path, *, shift: int = 0, across: int = 6) -> None:
    """A small grid of dotted digits, grey on black."""
    picture = Image.new("L", (across * 9 + 1, across * 9 + 1), 40)
    for at in range(across * across):
        left, top = at % across * 9 + 1, at // across * 9 + 1
        picture.paste(0, (left, top, left + 8, top + 8))
        for dot, on in enumerate(DIGITS[(at * 5 + shift) % len(DIGITS)]):
            level = 255 - (at * 37 + dot * 11 + shift * 53) % 90
            if on == "1":
                picture.putpixel((left + 1 + dot % 5, top + 1 + dot // 5), level)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def write(path: Path, data: object) -> None:
    """Plain data as JSON, NaN and all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def score(measure: str, value: float | None) -> dict:
    unit, better = MEASURES[measure]
    wide = None if value is None else 0.08 * value
    return {
        "value": value,
        "low": None if value is None else value - wide,
        "high": None if value is None else value + wide,
        "unit": unit,
        "better": better,
        "n": 270,
        "how": f"{measure} of 270 samples against the 270 test records; jackknife of 20 groups.",
        "why": "It has no density." if value is None else "",
    }


def finding(rule: str, outcome: str) -> dict:
    effect = {"pass": 0.012, "fail": 0.31, "unknown": 0.06}[outcome]
    wide = {"pass": 0.03, "fail": 0.08, "unknown": 0.11}[outcome]
    told = {"pass": "no better than guessing", "fail": "better than guessing"}
    return {
        "rule": rule,
        "outcome": outcome,
        "sentence": f"The attack was {told.get(outcome, 'not told apart from guessing')}.",
        "n": 270,
        "effect": effect,
        "low": effect - wide,
        "high": effect + wide,
        "matters": 0.1,
        "controls": {"positive": "fail", "negative": "pass"},
        "evidence": {"advantage": effect, "true positives at 1 %": 0.0148, "records": 540},
    }


def log(steps: int, *, start: float, end: float, parts: tuple[str, ...]) -> str:
    lines = []
    for step in range(10, steps + 1, 10):
        decay = end + (start - end) * math.exp(-5 * step / steps)
        wobble = 1 + 0.03 * math.sin(step * 1.7)
        entry: dict = {"step": step, "seconds": step / 45}
        entry["loss"] = {part: decay * wobble * (1 + at) for at, part in enumerate(parts)}
        entry["notes"] = {"kl": 3 * (1 - math.exp(-4 * step / steps))}
        if step % 50 == 0:
            entry["valid"] = decay * 1.05
        if step == steps // 20 * 10:
            entry["event"] = "rolled back to step 400: the loss rose above 10 times its median"
        lines.append(json.dumps(entry))
    return "\n".join(lines) + "\n"


def chain_log(path: Path) -> None:
    """The log of a chain of two stages, with a training that was rolled back in the second."""
    clock = [(10, 1.0), (20, 2.0), (10, 0.5), (20, 1.5), (10, 1.6), (20, 2.5), (30, 3.0)]
    lines = [json.dumps({"step": at, "seconds": s, "loss": {"model": 1 / at}}) for at, s in clock]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def whole(run: Path) -> Path:
    """A run as `likewise run digits` leaves it, with one failed and one pending family."""
    trained = [name for name, row in ROWS.items() if row[0] != "floor"]
    states = {name: {"state": "done", "seconds": 20.1, "steps": 900} for name in trained}
    states["pixelcnn"] = {"state": "failed", "why": "the loss was not finite at step 12"}
    states["ebm"] = {"state": "pending"}
    write(run / "run.json", _run(states))
    write(run / "leaderboard.json", _leaderboard())
    png(run / "private" / "held-out.png", shift=3)
    png(run / "private" / "flow-nearest.png", shift=9)
    distances = {"to_train": [0.125, 2.5], "to_held_out": [7.25, 4.0], "ratio": [0.017, 0.385]}
    write(run / "private" / "flow-nearest.json", {"samples": [3, 1], "train": [8, 2], **distances})
    write(run / "features" / "features.json", features())
    for at, name in enumerate(trained):
        _family(run / name, name, shift=at)
    return run


def features() -> dict:
    """What feature nets write: two nets, of which pca does not rise with blur."""
    found = [
        {
            "net": net,
            "corruption": corruption,
            "strengths": STRENGTHS[corruption],
            "distances": distances,
            "rises": distances == tuple(sorted(distances)),
        }
        for net, answers in RESPONSES.items()
        for corruption, distances in answers.items()
    ]
    return {
        "version": 2,
        "nets": {
            "classifier": {"width": 32, "hash": "bf35cdb521dc8d89" * 4},
            "pca": {"width": 32, "hash": "95dda23c5c76dcb0" * 4},
        },
        "accuracy": {"value": 0.9925, "low": 0.9732, "high": 0.9979, "n": 268, "why": ""},
        "responses": found,
    }


def stage(config: dict, **facts: object) -> dict:
    """The plan of one stage of a family."""
    usual = {"preset": "xs", "steps": 900, "batch": 128, "seconds": 20.0, "shorten": None}
    more = {"draws": 8, "judged": None, "checked": 256, "arithmetic": "float32"}
    return {"config": config, **usual, **more, "expected": 20.0, "memory": 463, **facts}


def broken(run: Path) -> Path:
    """A run with missing files, nulls, wrong types, a failed family and hostile names."""
    markup = "<script>alert(1)</script>"
    nulls = dict.fromkeys(("value", "low", "high", "unit", "better", "n", "how", "why"))
    hostile = {"fd_classifier": nulls, markup: None, "nll": {"value": 2.0}}
    table = [
        {"name": markup, "role": "model", "scores": hostile},
        {"name": "gan", "role": "model", "scores": None, "verdict": 7, "parameters": "many"},
        {"name": "../../outside", "role": "model", "scores": {"nll": {"value": math.nan}}},
        {"name": None, "role": ["odd"], "scores": {"nll": {"value": 1e400, "n": "few"}}},
        "not a row",
    ]
    write(
        run / "leaderboard.json",
        {"schema": 9, "best": "nobody", "headline": "fd_classifier", "rows": table, "skipped": 3},
    )
    write(
        run / "run.json",
        {
            "schema": 1,
            "name": f"bad {markup}\x00\ud800| `x`",
            "command": "likewise run 'a b' ``` </script>",
            "data": {
                "origin": f"{markup}.csv: 'x'",
                "records": -1,
                "counts": {"train": None},
                "conditions": None,
                "skipped": [{"what": markup, "why": '"><img src=https://example.org/x.png>'}, 4],
            },
            "plan": {
                "families": {
                    "gan": None,
                    "flow": [],
                    "vae": [{"shorten": [1]}, 3],
                    "a+b": [{}, {}],
                },
                "notes": "none",
            },
            "states": {"gan": {"state": "failed", "why": markup}, "vae": None, "flow": "done"},
            "seconds": {"total": None},
            "machine": [1, 2],
        },
    )
    odd = {"net": None, "corruption": markup, "strengths": [0, markup], "distances": [1, None]}
    write(
        run / "features" / "features.json",
        {"version": 1, "nets": {markup: None}, "accuracy": 3, "responses": [odd, {}, 7]},
    )
    (run / "gan" / "samples").mkdir(parents=True)
    (run / "gan" / "samples" / "grid.png").write_bytes(b"<html>no picture</html>")
    (run / "gan" / "audit.json").write_text('{"schema": 1, "findings": [{"rule"')
    (run / "gan" / "log.jsonl").write_text(
        '{"step": 1, "loss": {"model": NaN}}\n[1]\n{"step": 2, "loss": {"model": 1e999}}\n'
        '{"step": 3, "loss": {"model": 0.5}, "event": "<b>spike</b>"}\n{"step": 4, "lo'
    )
    (run / "flow").mkdir()
    write(run / "flow" / "scorecard.json", {"schema": 1, "scores": {"nll": {"value": 1.5}}})
    write(run / "flow" / "audit.json", {"findings": [{"rule": None, "evidence": {"a": [{}]}}, 3]})
    write(run / "flow" / "config.json", ["odd"])
    return run


def _run(states: dict) -> dict:
    labels = dict(
        zip("0123456789", (178, 182, 177, 183, 181, 182, 181, 179, 174, 180), strict=True)
    )
    plan: dict = {name: [stage({"batch": 128})] for name in states}
    plan["independent"] = [stage({"bins": 64}, steps=200, batch=256, expected=None, memory=None)]
    plan["vae"] = [stage({"batch": 128}, steps=1200, shorten=[450, 900])]
    plan["vae+flow"] = [
        stage({"batch": 64}, expected=4.0, arithmetic="bfloat16"),
        stage({"batch": 64}, expected=6.0, shorten=[80, 150]),
    ]
    return {
        "schema": 1,
        "version": "0.1.0",
        "name": "digits-20261120-1204",
        "created": "2026-11-20T12:04:00Z",
        "command": "likewise run digits --time 3m",
        "seed": 0,
        "device": "cpu",
        "machine": {"cpu": "AMD EPYC", "cores": 2, "memory_gib": 23.4, "torch": "2.13.0"},
        "data": {
            "origin": "digits",
            "domain": "images",
            "records": 1797,
            "fingerprint": "5f2d8a1c" * 8,
            "counts": {"train": 1257, "valid": 270, "test": 270},
            "space": "continuous 1x8x8, 17 levels",
            "conditions": {
                "label": labels,
                "caption": "1701 different values",
                "hand": {"left": 180, "right": 1617},
            },
            "duplicates": 0,
            "near": {"records": 12, "clusters": 5},
            "skipped": [{"what": "a.txt", "why": "not a picture"}],
            "notes": ["Grey levels 0 to 16 as in the original."],
        },
        "budget": {"seconds": 180},
        "plan": {
            "families": plan,
            "n": 270,
            "threads": 2,
            "reserved": 0.3,
            "notes": ["n was set by the slowest sampler, diffusion.", AUGMENTATION],
        },
        "states": states,
        "seconds": {"features": 6.0, "training": 121.0, "evaluation": 28.4, "total": 170.2},
    }


def _leaderboard() -> dict:
    order = sorted(ROWS, key=lambda name: (ROWS[name][0] != "model", ROWS[name][3][0]))
    return {
        "schema": 1,
        "data": {"origin": "digits", "records": 1797},
        "budget": {"seconds": 180},
        "best": "diffusion",
        "headline": "fd_classifier",
        "rows": [
            {
                "name": name,
                "role": ROWS[name][0],
                "scores": _scores(name),
                "seconds": 20.1,
                "parameters": ROWS[name][2],
                "samples_per_second": 431.2,
                "verdict": ROWS[name][1],
            }
            for name in order
        ],
        "skipped": [{"name": "transformer", "why": "the budget is too short for its sampler"}],
    }


def _scores(name: str) -> dict:
    return {key: score(key, value) for key, value in zip(MEASURES, ROWS[name][3], strict=True)}


def _family(place: Path, name: str, *, shift: int) -> None:
    verdict = ROWS[name][1]
    outcomes = {
        "release": ("pass",) * 4,
        "hold": ("fail", "unknown", "fail", "pass"),
        "unknown": ("pass", "unknown", "pass", "unknown"),
    }[verdict]
    found = [finding(rule, outcome) for rule, outcome in zip(RULES, outcomes, strict=True)]
    away = {"caption": "it has 1701 different values"}
    if name == "gan":
        away["membership by loss"] = "there is no density to ask for a loss"
        found = [entry for entry in found if entry["rule"] not in away]
    facts = {"schema": 1, "name": name, "verdict": verdict}
    write(place / "audit.json", {**facts, "findings": found, "left_out": away})
    write(place / "scorecard.json", {"schema": 1, "name": name, "scores": _scores(name)})
    config = {"width": 64, "ema": 0.9999, "batch": 128, "optimizer": {"rate": 0.001}}
    write(place / "config.json", {"stages": [{"family": name, "config": config, **STEERED}]})
    if name not in {"independent", "copier"}:
        parts = ("generator", "critic") if name == "gan" else ("model",)
        text = log(900, start=80.0 if name == "flow" else 2.6, end=0.7, parts=parts)
        (place / "log.jsonl").write_text(text)
    png(place / "samples" / "grid.png", shift=shift)
