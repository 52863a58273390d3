"""The feature nets that distances look through, and how each answered when it was checked."""

from likewise.reporting.folder import Plain, mapping, number, rows, text, whole
from likewise.reporting.words import CORRUPTIONS, features, listed

HASH = 12  # characters that tell one net from another


def nets(raw: Plain) -> Plain:
    """The nets' view: "nets", "accuracy", "checks" by corruption, and "careful", sentences.

    Args:
        raw: features/features.json.
    """
    found = rows(raw.get("responses"))
    accuracy = mapping(raw.get("accuracy"))
    return {
        "nets": [
            {
                "name": name,
                "what": features(name),
                "width": whole(mapping(facts).get("width")),
                "hash": text(mapping(facts).get("hash"))[:HASH],
            }
            for name, facts in mapping(raw.get("nets")).items()
        ],
        "accuracy": {
            **{key: number(accuracy.get(key)) for key in ("value", "low", "high")},
            "n": whole(accuracy.get("n")),
            "why": text(accuracy.get("why")),
        },
        "checks": _checks(found),
        "careful": _careful(found),
    }


def _checks(found: list[Plain]) -> list[Plain]:
    """One table for each corruption, a row for each net; nets of other strengths stand apart."""
    checks: dict[tuple[str, tuple[float | None, ...]], list[Plain]] = {}
    for response in found:
        strengths = _numbers(response.get("strengths"))
        distances = _numbers(response.get("distances"))
        if not strengths or len(strengths) != len(distances):
            continue
        row = {
            "net": text(response.get("net")),
            "distances": list(distances),
            "rises": response.get("rises") is True,
        }
        checks.setdefault((text(response.get("corruption")), strengths), []).append(row)
    return [
        {
            "corruption": corruption,
            "what": CORRUPTIONS.get(corruption, ""),
            "strengths": list(strengths),
            "rows": table,
        }
        for (corruption, strengths), table in checks.items()
    ]


def _careful(found: list[Plain]) -> list[Plain]:
    """The nets that did not rise, each with what it did not rise with, in words."""
    flat: dict[str, list[str]] = {}
    for response in found:
        if response.get("rises") is not True:
            flat.setdefault(text(response.get("net")), []).append(text(response.get("corruption")))
    return [
        {
            "net": net,
            "said": f"did not rise with {listed(names)} here: read its distances with care.",
        }
        for net, names in flat.items()
    ]


def _numbers(value: object) -> tuple[float | None, ...]:
    return tuple(number(item) for item in value) if isinstance(value, (list, tuple)) else ()
