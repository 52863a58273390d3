"""The verbs of models of texts: complete, chat, serve, export."""

from pathlib import Path
from typing import Annotated

import typer

from likewise.cli.words import (
    Device,
    Family,
    Json,
    MinP,
    Repetition,
    Seed,
    Temperature,
    TopK,
    TopP,
    Where,
    app,
    pairs,
)
from likewise.core.controls import Controls

TextModel = Annotated[Path, typer.Argument(help="A run folder or a saved model of texts.")]
Beams = Annotated[int, typer.Option(help="Of a search for the likeliest text; 1 draws one.")]


@app.command()
def complete(
    model: TextModel,
    prompt: Annotated[str, typer.Argument(help="What the text begins with; - for the input.")],
    family: Family = None,
    most: Annotated[int, typer.Option(help="New tokens at most.")] = 200,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition: Repetition = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this (repeatable).")] = None,
    regex: Annotated[
        str | None, typer.Option(help="What is written matches it.", metavar="PATTERN")
    ] = None,
    json_schema: Annotated[
        Path | None,
        typer.Option(help="What is written is JSON that it describes.", metavar="FILE"),
    ] = None,
    grammar: Annotated[
        Path | None, typer.Option(help="What is written matches it, of Lark.", metavar="FILE")
    ] = None,
    draft: Annotated[
        str | None,
        typer.Option(help="A smaller family of the run, or a model, that guesses ahead."),
    ] = None,
    beams: Beams = 1,
    where: Where = None,
    seed: Seed = 0,
    device: Device = "auto",
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="Show each token with its log-probability.")
    ] = False,
    json: Json = False,
) -> None:
    """Continue a text, as it is written; beyond the context by a sliding window.

    Example: `likewise complete runs/plays-… "ROMEO:" --temperature 0.8`
    """
    from likewise.cli.texts import complete_job

    complete_job(
        model,
        prompt,
        family,
        device=device,
        forms={"--regex": regex, "--json-schema": json_schema, "--grammar": grammar},
        draft=draft,
        beams=beams,
        logprobs=logprobs,
        as_json=json,
        most=most,
        controls=Controls(
            temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition=repetition
        ),
        stop=stop or [],
        seed=seed,
        where=pairs("--where", where),
    )


@app.command()
def chat(
    model: Annotated[Path, typer.Argument(help="A run folder or a model trained on dialogues.")],
    system: Annotated[str | None, typer.Option(help="What the assistant is told before.")] = None,
    family: Family = None,
    most: Annotated[
        int | None, typer.Option(help="Tokens of an answer at most; a quarter of the context.")
    ] = None,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition: Repetition = 1.0,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Talk with a model that was trained on dialogues; an empty line or Ctrl-D ends it.

    Ctrl-C ends an answer. `/new` starts over, and `/save FILE` keeps what was said, as JSONL.

    Example: `likewise chat runs/dialogues-… --temperature 0.7`
    """
    from likewise.cli.texts import chat_job

    controls = Controls(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition=repetition
    )
    chat_job(model, family, device=device, system=system, most=most, controls=controls, seed=seed)


@app.command()
def serve(
    model: TextModel,
    family: Family = None,
    host: Annotated[str, typer.Option(help="Who may connect; this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of the address; 0 for a free one.")] = 8000,
    key: Annotated[
        str | None, typer.Option(help="What clients must show.", envvar="LIKEWISE_KEY")
    ] = None,
    slots: Annotated[int, typer.Option(help="Texts that are written at once.")] = 32,
    queue: Annotated[int, typer.Option(help="Requests that may wait.")] = 64,
    most_tokens: Annotated[
        int | None, typer.Option(help="New tokens of a text at most; what the context holds.")
    ] = None,
    most_body: Annotated[int, typer.Option(help="Bytes of a request at most.")] = 1 << 20,
    device: Device = "auto",
) -> None:
    """Serve a model of texts to clients of the OpenAI API.

    Example: `likewise serve runs/dialogues-…`, then point a client at http://127.0.0.1:8000/v1
    """
    from likewise.cli.texts import serve_job

    serve_job(
        model,
        family,
        host=host,
        port=port,
        key=key,
        slots=slots,
        queue=queue,
        most_tokens=most_tokens,
        most_body=most_body,
        device=device,
    )


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A run folder or a saved model.")],
    out: Annotated[Path, typer.Argument(help="A new folder, in the layout of Hugging Face.")],
    family: Family = None,
) -> None:
    """Write a trained transformer so that other libraries load it.

    Example: `likewise export runs/plays-… plays-hf --family transformer`
    """
    from likewise.cli.texts import export_job

    export_job(model, out, family)
