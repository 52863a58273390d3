"""The command line: words become calls of the workbench.

One binary, verbs, path first. Exit codes: 0 ok, 1 error, 2 usage, 3 the audit says hold,
130 stopped by Ctrl-C. Results go to standard output (`--json` for machines), progress and errors
to standard error. Nothing heavy is imported until a verb runs, so help is instant.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from likewise.core.errors import LikewiseError, UsageError, must
from likewise.core.text import printable

INTERRUPTED = 130
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "More of your data, likewise: learn it with every kind of generative model, rank them "
        "honestly, make more of it, and know whether it may be released.\n\n"
        "Start with: `likewise run digits --time 1m`, then `likewise run my_pictures/`."
    ),
)

Data = Annotated[
    str, typer.Argument(help="A folder, a zip or tar, .npz, .npy or IDX files, or `digits`.")
]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, such as runs/digits-….")]
Seed = Annotated[int, typer.Option(help="Of all randomness.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Out = Annotated[Path | None, typer.Option(help="Where to write; a new folder if not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say only what matters.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say everything.")]
Load = Annotated[
    list[str] | None,
    typer.Option(
        "--load", help="How to read the data, such as size=32 (repeatable).", metavar="KEY=VALUE"
    ),
]
Inception = Annotated[
    Path | None,
    typer.Option(help="Weights of Inception (safetensors), for fd_inception; slow on a CPU."),
]
Family = Annotated[
    str | None, typer.Option(help="Which family of the run; its best if not given.")
]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from likewise import __version__

        typer.echo(f"likewise {__version__}")
        raise typer.Exit


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
        typer.Option(help="Write a page with pictures, such as data.html; it is private."),
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
    where: Annotated[
        list[str] | None,
        typer.Option(help="What they should be, such as label=3.", metavar="KEY=VALUE"),
    ] = None,
    family: Family = None,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(help="Below 1 is safer, above 1 wilder.")] = 1.0,
    truncation: Annotated[float | None, typer.Option(help="Largest latent draw.")] = None,
    guidance: Annotated[float, typer.Option(help="Strength of the condition.")] = 1.0,
    steps: Annotated[int | None, typer.Option(help="Of an iterative sampler.")] = None,
    stochastic: Annotated[bool, typer.Option(help="Noise on an iterative sampler's way.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder, a .zip, a .npz or a .png; a new folder if not given."),
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
    family: Family = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge whether samples may be released, with evidence; exit code 3 means hold.

    Example: `likewise audit runs/digits-20261120-1204 --family flow`
    """
    from likewise.cli.jobs import audit_job

    raise typer.Exit(audit_job(run, family, as_json=json, quiet=quiet))


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


def pairs(option: str, words: list[str] | None) -> dict[str, str]:
    """["a=1", "b=2"] as a dictionary; UsageError says what is wrong.

    Example:
        >>> pairs("--where", ["label=3"])
        {'label': '3'}
    """
    result = {}
    for word in words or []:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise UsageError(must(option, "of the form KEY=VALUE", word))
        result[key.strip()] = value.strip()
    return result


def main() -> None:
    """The entry point: every error of ours becomes one sentence and an exit code."""
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(call: Callable[[], Any]) -> int:
    """Run a command; a person's mistake never shows a traceback."""
    from rich.console import Console
    from rich.markup import escape

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        result = call()
        if result == INTERRUPTED:  # the parser turns Ctrl-C into this code
            raise KeyboardInterrupt
        return int(result) if isinstance(result, int) else 0
    except LikewiseError as error:
        stopped = error.exit_code == INTERRUPTED
        word = "[bold yellow]stopped[/]" if stopped else "[bold red]error[/]"
        errors.print(f"{word}  {escape(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        words = "What was learned is kept; give the same command again to go on."
        errors.print(f"[bold yellow]stopped[/]  {words}")
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except OSError as error:
        named = f"'{error.filename}'" if error.filename else "a file"
        why = error.strerror or type(error).__name__
        words = f"{named} cannot be used ({why}). Check its name, its rights and the disk."
        errors.print(f"[bold red]error[/]  {escape(printable(words))}")
        return 1
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return int(getattr(error, "exit_code", 2))


if __name__ == "__main__":
    main()
