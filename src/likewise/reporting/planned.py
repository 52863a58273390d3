"""What was planned for each family, beside what came of it; each stage of a chain is a row."""

from likewise.reporting.folder import Plain, flat, mapping, number, rows, text, texts, whole

_OTHER = ("draws", "judged", "checked")
_AUGMENTATION = "Augmentation "


def plan(run: Plain) -> Plain:
    """The plan's view.

    A counted family, whose settings name no batch, learns by passes over the training data: its
    steps are passes, and none is known of before it has converged.

    Args:
        run: run.json.
    """
    raw, data = mapping(run.get("plan")), mapping(run.get("data"))
    train = whole(mapping(data.get("counts")).get("train"))
    states = mapping(run.get("states"))
    notes = texts(raw.get("notes"))
    return {
        "n": whole(raw.get("n")),
        "judged": whole(raw.get("judged")),
        "threads": whole(raw.get("threads")),
        "reserved": number(raw.get("reserved")),
        "notes": notes,
        "augmentation": next((note for note in notes if note.startswith(_AUGMENTATION)), ""),
        "families": [
            _family(name, rows(stages), mapping(states.get(name)), train)
            for name, stages in mapping(raw.get("families")).items()
        ],
    }


def against(taken: float | None, expected: float | None) -> float | None:
    """By how much more or less than expected, as a share; None where either is not known.

    Example:
        >>> against(11.0, 10.0), against(11.0, None)
        (0.1, None)
    """
    if taken is None or not expected or expected < 0:
        return None
    return number(round(taken / expected - 1.0, 4))


def counted(config: Plain) -> bool:
    """Whether a stage learns by counting: its settings name no batch."""
    return bool(config) and "batch" not in config


def _family(name: str, stages: list[Plain], state: Plain, train: int | None) -> Plain:
    steps = whole(state.get("steps"))
    found = [_stage(stage, steps if len(stages) == 1 else None, train) for stage in stages]
    kinds = name.split("+") if len(stages) > 1 else [name]
    for at, stage in enumerate(found):
        stage["name"] = kinds[at] if at < len(kinds) else f"stage {at + 1}"
    forecast = [stage["expected"] for stage in found]
    expected = None if not forecast or None in forecast else round(sum(forecast), 3)
    seconds = number(state.get("seconds"))
    return {
        "name": name,
        "stages": found,
        "expected": expected,
        "seconds": seconds,
        "difference": against(seconds, expected),
    }


def _stage(stage: Plain, done: int | None, train: int | None) -> Plain:
    config, shorten = mapping(stage.get("config")), stage.get("shorten")
    passes_only = counted(config)
    planned, batch = whole(stage.get("steps")), whole(stage.get("batch"))
    if done is None and isinstance(shorten, list) and len(shorten) == 2:
        done = whole(shorten[1])
    return {
        "preset": text(stage.get("preset")),
        "counted": passes_only,
        "planned": planned,
        "done": done,
        "batch": None if passes_only else batch,
        "passes": done if passes_only else _passes(done or planned, batch, train),
        "arithmetic": text(stage.get("arithmetic", stage.get("dtype"))),
        "expected": number(stage.get("expected")),
        "memory": whole(stage.get("memory")),
        "other": _other(stage),
    }


def _passes(steps: int | None, batch: int | None, train: int | None) -> float | None:
    if steps is None or batch is None or not train:
        return None
    return number(round(steps * batch / train, 4))


def _other(stage: Plain) -> Plain:
    """The further facts; no limit on what is judged means all records."""
    return {
        key: "all" if key == "judged" and value is None else value
        for key, value in flat({key: stage[key] for key in _OTHER if key in stage}).items()
    }
