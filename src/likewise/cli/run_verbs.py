"""The verbs of runs: run, data, train, sample, evaluate, audit, report.

Nothing heavy is imported until a verb runs, so help is instant.
"""

from pathlib import Path
from typing import Annotated

import typer

from likewise.cli.words import (
    Data,
    Device,
    Family,
    Inception,
    Json,
    Load,
    MinP,
    Out,
    Quiet,
    Repetition,
    RunFolder,
    Seed,
    Temperature,
    TopK,
    TopP,
    Verbose,
    Where,
    app,
    pairs,
)


@app.command()
def run(
    data: Data,
    time: Annotated[str, typer.Option(help="The budget of the whole job: 90s, 3m, 1h.")] = "3m",
    families: Annotated[
        str | None, typer.Option(help="Such as gmm,flow,vae+diffusion; all if not given.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    plan: Annotated[Path | None, typer.Option(help="Follow another run's plan exactly.")] = None,
    inception: Inception = None,
    load: Load = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train, rank, sample, audit and report: the main job.

    Examples: `likewise run digits` · `likewise run photos/ --time 30m` ·
    `likewise run scans.zip --families gmm,diffusion --load size=32`

    An interrupted run goes on where it stopped when the same command is given again.
    """
    from likewise.cli.jobs import run_job

    raise typer.Exit(
        run_job(
            data,
            time=time,
            families=families.split(",") if families else None,
            seed=seed,
            device=device,
            out=out,
            plan=plan,
            inception=inception,
            options=pairs("--load", load),
            as_json=json,
            quiet=quiet,
            verbose=verbose,
        )
    )


@app.command()
def data(
    data: Data,
    load: Load = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write a page that shows some of it, such as data.html; it is private."),
    ] = None,
    json: Json = False,
) -> None:
    """Say what is in some data: kind, sizes, duplicates, shares, what was skipped.

    Examples: `likewise data photos/` · `likewise data photos/ --out data.html`
    """
    from likewise.cli.data import data_job

    data_job(data, options=pairs("--load", load), out=out, as_json=json)


@app.command()
def train(
    family: Annotated[str, typer.Argument(help="Such as flow, or a chain: vae+diffusion.")],
    data: Data,
    time: Annotated[str | None, typer.Option(help="Such as 60s; one minute if not given.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps instead of a time.")] = None,
    preset: Annotated[str | None, typer.Option(help="xs, s, m or l.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting (repeatable).", metavar="KEY=VALUE"),
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Go on from a saved model or a run's best.")
    ] = None,
    lora: Annotated[
        int | None, typer.Option(help="With --from: train adapters of this rank, not all weights.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    load: Load = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train one family into a run folder.

    Examples: `likewise train flow digits --time 30s` ·
    `likewise train vae digits --steps 500 --set latent=16` ·
    `likewise train transformer letters.txt --from runs/books-… --lora 8`
    """
    from likewise.cli.jobs import train_job
    from likewise.workbench.wishes import Wishes

    wishes = Wishes(
        time=time,
        steps=steps,
        preset=preset,
        settings=pairs("--set", set_),
        seed=seed,
        device=device,
    )
    train_job(
        family,
        data,
        wishes,
        start=from_,
        lora=lora,
        out=out,
        options=pairs("--load", load),
        as_json=json,
        quiet=quiet,
        verbose=verbose,
    )


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="A run folder or a saved model.")],
    n: Annotated[int, typer.Option("-n", help="How many.")] = 64,
    only: Annotated[
        str | None, typer.Option(help="Only these by number, such as 17 or 17,40-49.")
    ] = None,
    where: Where = None,
    family: Family = None,
    seed: Seed = 0,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition: Repetition = 1.0,
    truncation: Annotated[float | None, typer.Option(help="Largest latent draw.")] = None,
    guidance: Annotated[float, typer.Option(help="Strength of the condition.")] = 1.0,
    steps: Annotated[int | None, typer.Option(help="Of an iterative sampler.")] = None,
    stochastic: Annotated[bool, typer.Option(help="Noise on an iterative sampler's way.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder, .zip, .npz, .png, .txt or .jsonl; a folder if not given."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make more of the data, written in its own format and marked as model-made.

    Examples: `likewise sample runs/digits-20261120-1204 -n 100 --where label=3` ·
    `likewise sample runs/digits-20261120-1204 -n 64 --out grid.png` ·
    `likewise sample runs/digits-20261120-1204 --only 17`

    Sample 17 of a seed is the same however many are made. A command that was stopped goes on
    when it is given again.
    """
    from likewise.cli.jobs import sample_job

    sample_job(
        run,
        n=n,
        only=only,
        where=pairs("--where", where),
        family=family,
        seed=seed,
        controls={
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition": repetition,
            "truncation": truncation,
            "guidance": guidance,
            "steps": steps,
            "stochastic": stochastic,
        },
        out=out,
        as_json=json,
        quiet=quiet,
    )


@app.command()
def evaluate(
    made: Annotated[Path, typer.Argument(help="A run folder, or files of samples.")],
    data: Annotated[str | None, typer.Argument(help="The real data; a run knows its own.")] = None,
    inception: Inception = None,
    load: Load = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a run's families, or any files, against held-out data.

    Examples: `likewise evaluate runs/digits-20261120-1204` ·
    `likewise evaluate generated/ photos/`
    """
    from likewise.cli.jobs import evaluate_job

    options = pairs("--load", load)
    evaluate_job(made, data, options=options, inception=inception, as_json=json, quiet=quiet)


@app.command()
def audit(
    run: RunFolder,
    family: Annotated[
        str | None, typer.Option(help="Which family of the run; all if not given.")
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="Of texts: JSON with words of groups whose balance is looked at."),
    ] = None,
    canaries: Annotated[
        Path | None,
        typer.Option(help="Of texts: what `likewise plant` has planted in its training data."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge whether samples may be released, with evidence; exit code 3 means hold.

    Examples: `likewise audit runs/digits-20261120-1204 --family flow` ·
    `likewise audit runs/plays-… --words words.json`, such as
    `{"women": ["she", "her"], "men": ["he", "him"]}`

    A run keeps its words and its canaries in mind: give none to audit it with them again. Its
    leaderboard, report and card are written anew.
    """
    from likewise.cli.jobs import audit_job
    from likewise.workbench.canaries import keep
    from likewise.workbench.verbs import keep_words

    if words is not None:
        keep_words(run, words)
    if canaries is not None:
        keep(run, canaries)
    raise typer.Exit(audit_job(run, family, as_json=json, quiet=quiet))


@app.command()
def plant(
    data: Data,
    out: Annotated[Path, typer.Argument(help="A new folder, with train, valid and test.")],
    repeats: Annotated[
        str, typer.Option(help="How often canaries are planted, in train alone.")
    ] = "1,4,16,64",
    each: Annotated[int, typer.Option(help="Canaries for each number of repeats.")] = 8,
    seed: Seed = 0,
    load: Load = None,
) -> None:
    """Plant secrets in texts, to see later how well a model has learned them by heart.

    Example: `likewise plant letters/ planted`, then `likewise run planted --out run` and
    `likewise audit run --canaries planted.canaries.json`
    """
    from likewise.cli.jobs import plant_job

    plant_job(data, out, repeats=repeats, each=each, seed=seed, options=pairs("--load", load))


@app.command()
def report(
    run: RunFolder,
    with_train: Annotated[
        bool, typer.Option(help="Show private evidence: real records. Do not pass it on.")
    ] = False,
) -> None:
    """Write report.html, README.md (a model card) and report.json of a run again.

    Example: `likewise report runs/digits-20261120-1204`
    """
    from likewise.cli.jobs import report_job

    report_job(run, with_train=with_train)
