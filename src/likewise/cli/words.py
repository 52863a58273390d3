"""The words that verbs share: the application, arguments and options."""

from pathlib import Path
from typing import Annotated

import typer

from likewise.core.errors import UsageError, must

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
    str,
    typer.Argument(
        help="Pictures (a folder, zip, tar, .npz, .npy, IDX), texts (.txt, a folder, JSONL, CSV), "
        "or `digits`."
    ),
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
Temperature = Annotated[float, typer.Option(help="Below 1 is safer, above 1 wilder.")]
TopK = Annotated[int | None, typer.Option(help="Draw from so many tokens only.")]
TopP = Annotated[float, typer.Option(help="Draw from tokens that have this much together.")]
MinP = Annotated[float, typer.Option(help="Draw from tokens this likely beside the likeliest.")]
Repetition = Annotated[float, typer.Option(help="Above 1: less of what stood before.")]
Where = Annotated[
    list[str] | None,
    typer.Option(help="What it should be, such as label=3.", metavar="KEY=VALUE"),
]


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
