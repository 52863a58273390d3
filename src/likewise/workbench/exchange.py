"""To other programs and back: a transformer as a Hugging Face folder, such a folder as a Model.

Weights are safetensors and all else is JSON, both ways; nothing is unpickled, and no code of a
checkpoint is run.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likewise import __version__
from likewise.core import registry
from likewise.core.condition import Conditions, condition_from_json, condition_to_json
from likewise.core.contract import Domain, Family
from likewise.core.errors import LikewiseError, StoreError, UsageError, must
from likewise.core.space import Sequence, space_from_json, space_to_json
from likewise.nn.tokens import PROMPT
from likewise.store.files import (
    file_digest,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_text,
)
from likewise.store.model import Model
from likewise.workbench.exchange_names import Card, architecture_of, config_json, read_card
from likewise.workbench.exchange_tensors import to_ours, to_theirs
from likewise.workbench.exchange_tokens import closing, library, tokenizer_files

SCHEMA = 1
OWN = "likewise.json"  # beside an export: what Hugging Face has no word for
PLACES = 2**20  # of a checkpoint: tables of their angles are made when it is opened


def export(model: Model, folder: str | Path) -> Path:
    """Write a trained `transformer` as a Hugging Face folder, and return the folder.

    `transformers` gives the same logits but for the padding token, which a transformer never
    gives: programs that do not read `suppress_tokens` must bar it themselves.

    Args:
        model: a transformer without runs and without conditions but texts.
        folder: new, empty, or an earlier export, which is replaced.

    Raises:
        UsageError: no architecture holds such a model; the setting is named, and what to train
            instead. Or the folder holds something else.
        StoreError: the folder cannot be written.
    """
    family, space, folder = model.family, model.family.space, Path(folder).expanduser()
    if model.name != "transformer" or not isinstance(space, Sequence):
        raise UsageError(must("what is exported", "a transformer", model.name))
    steers = [c.name for c in family.conditions if c.name != PROMPT]
    if steers:
        remedy = "Train on the data without them."
        be = "none but what stands before, to be exported"
        raise UsageError(must("conditions", be, steers, remedy))
    architecture = architecture_of(family.config)
    free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not free and not (folder / OWN).exists():
        raise UsageError(must("the folder of an export", "new or empty", str(folder)))
    state = model.domain.state()
    begin = int(state.get("begin", space.end))
    texts = model.domain.name == "text"
    files = tokenizer_files(state, space) if texts else {}
    files["generation_config.json"] = {
        "bos_token_id": begin,
        "eos_token_id": closing(state, space) if texts else space.end,
        "pad_token_id": space.pad,
        "suppress_tokens": [space.pad],
    }
    theirs = to_theirs(architecture, family.config, family.state_dict())
    _write_weights(folder / "model.safetensors", theirs)
    write_json(folder / OWN, _own_facts(model))
    for name, data in files.items():
        write_json(folder / name, data)
    write_text(folder / "README.md", _readme(model, architecture, space))
    # last, so that a folder that was not finished is not taken for a checkpoint
    write_json(folder / "config.json", config_json(architecture, family.config, space, begin))
    return folder


def foreign(folder: Path) -> bool:
    """Whether a folder holds a checkpoint in the layout of Hugging Face."""
    try:
        config = read_json(folder / "config.json")
    except StoreError:
        return False
    return isinstance(config, dict) and "architectures" in config


def adopt(folder: Path, *, context: int | None = None) -> Model:
    """Open a Hugging Face folder of a Llama, Mistral, Qwen 2, Qwen 3 or GPT-2 as a Model of texts.

    Weights become float32. An absent prompt is read as the beginning of a text: the row of the
    padding token is that of the token that texts begin after.

    Args:
        folder: with config.json, tokenizer.json and model.safetensors, whole or in shards.
        context: the most tokens of a text, below the checkpoint's own, which is the default; not
            for what `export` has written.

    Raises:
        StoreError: a file is missing, damaged or of a kind that is not opened, or the
            architecture, a setting or a tensor does not fit; it is named.
        UsageError: the context cannot be.
        LikewiseError: the tokenizers library is missing.
    """
    card = read_card(_mapping(folder / "config.json"))
    own = _mapping(folder / OWN) if (folder / OWN).exists() else None
    if own is not None and context is not None:
        raise UsageError("context is for checkpoints from elsewhere; an export keeps its own.")
    if own is not None:
        domain, space, conditions, facts = _own_codec(folder, own, card)
    else:
        domain = codec_of(folder, card, _length(card, context))
        space, conditions = _view(domain, card), domain.conditions()
        facts = {"adopted": {"architecture": card.architecture, "files": _hashes(folder)}}
    family = family_of(folder, card, space, conditions, foreign=own is None)
    return Model("transformer", family, domain, {}, facts)


def family_of(
    folder: Path, card: Card, space: Sequence, conditions: Conditions, *, foreign: bool
) -> Family[Any]:
    """The transformer of a checkpoint.

    Args:
        folder: with model.safetensors, whole or in shards.
        card: of its config.json.
        space: with `card.tokens` tokens and at most `card.places - 1` of them in a row.
        conditions: texts.
        foreign: whether it was trained elsewhere, where padding is never read.

    Raises:
        StoreError: tensors are missing, left over, or do not fit; they are named.
    """
    kind = registry.get("families", "transformer")
    try:
        with torch.device("meta"):  # shapes alone, before memory is asked for
            plan = kind(card.config, replace(space, tokens=card.rows, length=card.places - 1))
    except UsageError as error:
        raise StoreError(f"config.json does not fit the transformer: {error}") from error
    shapes = {name: tensor.shape for name, tensor in plan.state_dict().items()}
    ours = to_ours(card, shapes, checkpoint(folder))
    if "places.weight" in ours:
        ours["places.weight"] = ours["places.weight"][: space.length + 1]
    for name in ("table.weight", "head.weight"):
        ours[name] = _padded(ours[name], card) if foreign else ours[name]
    family: Family[Any] = kind(card.config, space, conditions)
    family.load_state_dict(ours)
    return family.eval()


def _padded(rows: Tensor, card: Card) -> Tensor:
    """Rows of tokens (t, d) with that of the padding the same as that of the beginning."""
    more = rows.new_zeros(card.tokens - card.rows, rows.shape[1])
    rows = torch.cat([rows, more])
    rows[card.pad] = rows[card.begin]
    return rows


def checkpoint(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of the shards that its index names.

    Raises:
        StoreError: there are none, or they are pickled; a shard is missing or has other tensors
            than the index says.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists():
        return read_tensors(folder / "model.safetensors")[0]
    if not index.exists():
        pickled = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
        if pickled:
            raise StoreError(
                f"{folder / pickled[0]} is not opened: it is pickled, and unpickling runs any "
                "code that is in it. Save the checkpoint as model.safetensors."
            )
        raise StoreError(f"{folder} holds no model.safetensors.")
    wanted = _mapping(index).get("weight_map")
    if not isinstance(wanted, dict) or not wanted:
        raise StoreError(must(f"weight_map of {index}", "{tensor: file}", wanted))
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(map(str, wanted.values()))):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise StoreError(must(f"a file of {index}", "a .safetensors of its folder", shard))
        found = read_tensors(folder / shard)[0]
        named = {name for name, file in wanted.items() if file == shard}
        if set(found) != named:
            strange = sorted(set(found) ^ named)[0]
            raise StoreError(
                f"{folder / shard} does not hold what {index.name} says: {strange} is in one of "
                "them alone."
            )
        tensors |= found
    return tensors


def codec_of(folder: Path, card: Card, length: int) -> Domain:
    """The domain of texts, fitted by the tokenizer.json of a checkpoint.

    Raises:
        StoreError: there is none, or its tokens are not those of the checkpoint.
        LikewiseError: the tokenizers library is missing.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise StoreError(
            f"{folder} holds no tokenizer.json. It is written by "
            "transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
        )
    data = _mapping(path)
    try:
        tokenizer = library().Tokenizer.from_str(json.dumps(data))
    except LikewiseError:
        raise
    except Exception as error:  # the library raises Exception itself
        raise StoreError(f"{path} is no tokenizer.json that can be read ({error}).") from error
    largest = max(tokenizer.get_vocab(True).values(), default=-1)
    if largest >= card.rows:
        raise StoreError(must(f"tokens of {path}", f"below {card.rows}, as embedded", largest))
    state = {
        "tokeniser": {"kind": "subwords", "tokenizer": data},
        "roles": False,
        "context": length,
        "passage": length,
        # a tokeniser that puts something before every text has learned whole texts
        "whole": bool(tokenizer.encode("").ids),
        "labels": [],
        "source": 0,
        "begin": card.begin,
        "end": card.end,
        "pad": card.pad,
        "tokens": card.tokens,
    }
    domain: Domain = registry.get("domains", "text").from_state(state)
    return domain


def _length(card: Card, context: int | None) -> int:
    """The most tokens of a text; its first input is the token before it."""
    most = card.places - 1
    if context is None and most > PLACES:
        raise UsageError(must("context", f"given, at most {PLACES}, for this checkpoint", context))
    if context is not None and not 1 <= context <= min(most, PLACES):
        raise UsageError(must("context", f"1 to {min(most, PLACES)}", context))
    return most if context is None else context


def _view(domain: Domain, card: Card) -> Sequence:
    """The last view of a domain, if it has the tokens of a checkpoint."""
    space = domain.views()[-1]
    if not isinstance(space, Sequence) or not _fits(space, card):
        wanted = f"{card.tokens} with {card.end} as end and {card.pad} as padding"
        raise StoreError(must("the tokens of the codec", wanted, space))
    return space


def _fits(space: Sequence, card: Card) -> bool:
    alike = (space.tokens, space.end, space.pad) == (card.tokens, card.end, card.pad)
    return alike and space.length < card.places


def _own_facts(model: Model) -> dict[str, Any]:
    """What an export says besides, so that it can be opened as what it was."""
    codec = {"domain": model.domain.name, "state": model.domain.state()}
    return {
        "schema": SCHEMA,
        "version": __version__,
        "codec": codec,
        "space": space_to_json(model.family.space),
        "conditions": [condition_to_json(one) for one in model.family.conditions],
        "facts": dict(model.facts),
    }


def _own_codec(
    folder: Path, own: Mapping[str, Any], card: Card
) -> tuple[Domain, Sequence, Conditions, dict[str, Any]]:
    """The codec, the space, the conditions and the facts of an export."""
    path = folder / OWN
    schema = own.get("schema")
    if type(schema) is not int:
        raise StoreError(f"{path} is damaged: {must('schema', 'a whole number', schema)}")
    if schema > SCHEMA:
        raise StoreError(f"{path} was written by a newer likewise than this {__version__}.")
    try:
        codec, facts = own["codec"], dict(own["facts"])
        domain: Domain = registry.get("domains", codec["domain"]).from_state(codec["state"])
        space = space_from_json(own["space"])
        conditions = tuple(condition_from_json(one) for one in own["conditions"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
    if not isinstance(space, Sequence) or not _fits(space, card):
        raise StoreError(
            f"{path} is not of this checkpoint: its tokens are others than those of config.json. "
            "Remove it to open the folder as a checkpoint from elsewhere."
        )
    return domain, space, conditions, facts


def _mapping(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise StoreError(must(str(path), "a JSON object", type(data).__name__))
    return data


def _hashes(folder: Path) -> dict[str, str]:
    """{file: SHA-256} of the weights."""
    return {path.name: file_digest(path) for path in sorted(folder.glob("*.safetensors"))}


def _write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save

    # `transformers` opens no file that does not name its format
    write_bytes(path, save(dict(tensors), metadata={"format": "pt"}))


def _readme(model: Model, architecture: str, space: Sequence) -> str:
    """A line of where it comes from, and what a reader of the weights must know."""
    data = str(model.facts.get("data", "not stated"))
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---

Made with Likewise {__version__}: a transformer of {model.parameters:,} parameters as
`{architecture}`, trained on data with the fingerprint `{data}`.

- Token {space.end} closes a text, and stands before the first token of the next.
- Token {space.pad} is padding. It is never drawn; a program that does not read
  `suppress_tokens` of generation_config.json must bar it.
- A text is at most {space.length} tokens long.
"""
