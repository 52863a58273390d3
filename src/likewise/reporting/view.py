"""All that a report shows, as one plain mapping: what `report.json` holds.

The page and the card are drawn from this mapping (and from the picture files it names) and from
nothing else, so whatever a reader sees can also be read by a program.
"""

import shlex
from collections.abc import Mapping

from likewise.reporting.board import board, worst
from likewise.reporting.curves import curves
from likewise.reporting.folder import (
    SCHEMA,
    Folder,
    Plain,
    flat,
    mapping,
    number,
    rows,
    text,
    texts,
    whole,
)
from likewise.reporting.nets import nets
from likewise.reporting.planned import against, counted, plan
from likewise.reporting.sentence import verdict
from likewise.reporting.words import LIMITS, STATES, count

MOST_SKIPPED = 50
_OUTCOMES = {"pass", "fail", "unknown"}


def collect(folder: Folder) -> Plain:
    """What the page shows of a run folder; what could not be read is in "troubles"."""
    run, ranked = folder.json("run.json"), folder.json("leaderboard.json")
    names = _names(folder, run, ranked)
    cards = {name: folder.json(f"{name}/scorecard.json") for name in names}
    audits = {name: folder.json(f"{name}/audit.json") for name in names}
    table = board(ranked, cards, audits)
    skipped = {text(row.get("name")): text(row.get("why")) for row in rows(ranked.get("skipped"))}
    families = [_family(folder, name, run, table, audits[name], skipped) for name in names]
    data = mapping(run.get("data")) or mapping(ranked.get("data"))
    seconds = {key: number(item) for key, item in mapping(run.get("seconds")).items()}
    budget = number(mapping(run.get("budget")).get("seconds")) or table["budget"]
    return {
        "schema": SCHEMA,
        "name": text(run.get("name")) or folder.path.resolve().name,
        "place": shlex.quote(text(folder.path)),
        "version": text(run.get("version")),
        "created": text(run.get("created")),
        "command": text(run.get("command")),
        "seed": whole(run.get("seed")),
        "device": text(run.get("device")),
        "verdict": verdict(table, families),
        "board": table,
        "families": families,
        "unjudged": _unjudged(audits),
        "features": nets(folder.json("features/features.json")),
        "data": _data(data, families),
        "budget": budget,
        "against_budget": against(seconds.get("total"), budget),
        "plan": plan(run),
        "machine": {key: text(item) for key, item in mapping(run.get("machine")).items()},
        "seconds": seconds,
        "left_out": _left_out(skipped, families),
        "repeat": _repeat(run, shlex.quote(text(folder.path))),
        "limits": list(LIMITS),
        "troubles": folder.troubles,
    }


def _names(folder: Folder, run: Plain, ranked: Plain) -> list[str]:
    """Every family the folder speaks of: by rank, then as planned, then as found on disk."""
    table = rows(ranked.get("rows"))
    said = [text(row.get("name")) for row in table if row.get("role") != "floor"]
    said += [text(row.get("name")) for row in rows(ranked.get("skipped"))]
    said += list(mapping(run.get("states")))
    said += list(mapping(mapping(run.get("plan")).get("families")))
    said += [text(name) for name in folder.families()]
    return [name for name in dict.fromkeys(said) if folder.holds(name)]


def _family(
    folder: Folder, name: str, run: Plain, table: Plain, audit: Plain, skipped: Mapping[str, str]
) -> Plain:
    row = next((row for row in table["rows"] if row["name"] == name), None)
    state = mapping(mapping(run.get("states")).get(name))
    said = text(state.get("state"))
    known = "done" if row else "skipped" if name in skipped else "pending"
    config = folder.json(f"{name}/config.json")
    return {
        "name": name,
        "role": row["role"] if row else "",
        "settings": _settings(config),
        "steered": _steered(config),
        "state": said if said in STATES else known,
        "why": text(state.get("why")) or skipped.get(name, ""),
        "seconds": number(state.get("seconds")),
        "steps": whole(state.get("steps")),
        "counted": _counted(config),
        "picture": folder.picture(f"{name}/samples/grid.png"),
        "quotes": folder.quotes(f"{name}/samples/grid.json"),
        "verdict": worst(row["verdict"] if row else "", text(audit.get("verdict"))),
        "findings": [_finding(entry) for entry in rows(audit.get("findings"))],
        "curves": curves(folder.log(f"{name}/log.jsonl"), name),
    }


def _settings(config: Plain) -> Plain:
    """The settings of a family, or of each stage of a chain with the stage's name before."""
    stages = rows(config.get("stages"))
    if len(stages) == 1:
        return flat(stages[0].get("config"))
    return {
        f"{text(stage.get('family'))}: {name}": value
        for stage in stages
        for name, value in flat(stage.get("config")).items()
    }


def _counted(config: Plain) -> bool:
    """Whether a family learned by counting alone, so that its steps are passes over the data."""
    stages = [mapping(stage.get("config")) for stage in rows(config.get("stages"))]
    return bool(stages) and all(map(counted, stages))


def _steered(config: Plain) -> list[str]:
    """The conditions that a family, or a stage of it, is steered by."""
    stages = rows(config.get("stages"))
    found = [text(one.get("name")) for stage in stages for one in rows(stage.get("conditions"))]
    return list(dict.fromkeys(found))


def _unjudged(audits: Mapping[str, Plain]) -> list[Plain]:
    """Rules and columns with nothing to say of some families; an equal reason is said once."""
    audited = {name: audit for name, audit in audits.items() if audit}
    found: dict[tuple[str, str], list[str]] = {}
    for name, audit in audited.items():
        for rule, why in mapping(audit.get("left_out")).items():
            found.setdefault((rule, text(why).rstrip(".")), []).append(name)
    return [
        {"rule": rule, "why": why, "families": [] if len(names) == len(audited) else names}
        for (rule, why), names in found.items()
    ]


def _finding(entry: Plain) -> Plain:
    outcome = text(entry.get("outcome"))
    return {
        "rule": text(entry.get("rule")) or "(no name)",
        "outcome": outcome if outcome in _OUTCOMES else "unknown",
        "sentence": text(entry.get("sentence")),
        "n": whole(entry.get("n")),
        **{key: number(entry.get(key)) for key in ("effect", "low", "high", "matters")},
        "controls": {
            key: text(item) if text(item) in _OUTCOMES else "unknown"
            for key, item in mapping(entry.get("controls")).items()
        },
        "evidence": flat(entry.get("evidence")),
    }


def _data(data: Plain, families: list[Plain]) -> Plain:
    skipped, near = rows(data.get("skipped")), mapping(data.get("near"))
    steering = {name for family in families for name in family["steered"]}
    return {
        "origin": text(data.get("origin")),
        "domain": text(data.get("domain")),
        "records": whole(data.get("records")),
        "documents": whole(data.get("documents")),
        "amount": text(data.get("amount")) or count(whole(data.get("records"))),
        "fingerprint": text(data.get("fingerprint")),
        "space": text(data.get("space")),
        "duplicates": whole(data.get("duplicates")),
        "near": {key: whole(near.get(key)) for key in ("records", "clusters")} if near else None,
        "steered": [name for name in mapping(data.get("conditions")) if name in steering],
        "counts": {key: whole(item) for key, item in mapping(data.get("counts")).items()},
        "conditions": {
            name: {key: whole(item) for key, item in mapping(groups).items()}
            if mapping(groups)
            else text(groups)
            for name, groups in mapping(data.get("conditions")).items()
        },
        "skipped": [
            {"what": text(item.get("what")), "why": text(item.get("why"))}
            for item in skipped[:MOST_SKIPPED]
        ],
        "skipped_total": len(skipped),
        "notes": texts(data.get("notes")),
    }


def _left_out(skipped: Mapping[str, str], families: list[Plain]) -> list[Plain]:
    """Families without a row, or not finished, and why."""
    found = {name: {"state": "skipped", "why": why} for name, why in skipped.items()}
    for family in families:
        if family["state"] != "done":
            found[family["name"]] = {"state": family["state"], "why": family["why"]}
    return [{"name": name, **said} for name, said in found.items()]


def _repeat(run: Plain, place: str) -> list[Plain]:
    """Commands that make the run, or a part of it, again; its folder is named as it was given."""
    command, seed = text(run.get("command")), whole(run.get("seed"))
    found = []
    if command:
        seeded = command if seed is None or "--seed" in command else f"{command} --seed {seed}"
        found.append({"does": "Make the run again, from the data on", "command": seeded})
        if command.startswith("likewise run "):
            replay = f"{seeded} --plan {place}"
            found.append({"does": "Replay the same plan, step for step", "command": replay})
    for does, verb in (
        ("Make more records with the best family", "sample {} -n 100"),
        ("Audit again", "audit {}"),
        ("Write this report again", "report {}"),
    ):
        if run:
            found.append({"does": does, "command": f"likewise {verb.format(place)}"})
    return found
