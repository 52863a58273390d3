"""The transformer's tensors under Hugging Face's names: fused ones apart, turned ones turned."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from likewise.core.errors import StoreError, UsageError, must
from likewise.workbench.exchange_names import GPT2, Card, head_size

SHOWN = 4  # names in an error
TYPES = (torch.float32, torch.float16, torch.bfloat16)

_LLAMA_BLOCK: dict[str, tuple[str, ...]] = {
    "before_attention.gain": ("input_layernorm.weight",),
    "attention.inward.weight": tuple(f"self_attn.{one}_proj.weight" for one in "qkv"),
    "attention.outward.weight": ("self_attn.o_proj.weight",),
    "before_feed.gain": ("post_attention_layernorm.weight",),
    "feed.inward.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "feed.outward.weight": ("mlp.down_proj.weight",),
}
_NORMED: dict[str, tuple[str, ...]] = {
    "attention.query_norm.gain": ("self_attn.q_norm.weight",),
    "attention.key_norm.gain": ("self_attn.k_norm.weight",),
}
_QKV_BIASED: dict[str, tuple[str, ...]] = {
    "attention.inward.bias": tuple(f"self_attn.{one}_proj.bias" for one in "qkv"),
}
_GPT2_LAYERS = {
    "attention.inward": "attn.c_attn",
    "attention.outward": "attn.c_proj",
    "feed.inward": "mlp.c_fc",
    "feed.outward": "mlp.c_proj",
}
_GPT2_BLOCK: dict[str, tuple[str, ...]] = {
    **{f"{ours}.weight": (f"{theirs}.weight",) for ours, theirs in _GPT2_LAYERS.items()},
    **{f"{ours}.bias": (f"{theirs}.bias",) for ours, theirs in _GPT2_LAYERS.items()},
    "before_attention.gain": ("ln_1.weight",),
    "before_attention.bias": ("ln_1.bias",),
    "before_feed.gain": ("ln_2.weight",),
    "before_feed.bias": ("ln_2.bias",),
}
# what older files hold besides weights: angles and masks that every program makes itself
_MADE = re.compile(r"\.(rotary_emb\.inv_freq|attn\.(masked_)?bias)$")


def to_theirs(architecture: str, config: Any, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `state_dict` under their names; fused ones apart.

    Raises:
        UsageError: there are other tensors than those of a transformer.
    """
    theirs: dict[str, Tensor] = {}
    known = _names(architecture, config)
    strange = (ours.keys() ^ known.keys()) - {"head.weight"}
    if strange:
        remedy = "Merge its adapters first."
        raise UsageError(must("a model", "plain to be exported", sorted(strange)[:SHOWN], remedy))
    for name, names in known.items():
        tensor = _turned(architecture, name, ours[name])
        sizes = _sizes(name, names, config) or [tensor.shape[0]]
        parts = torch.split(tensor, sizes)  # ours has no fused tensor that is turned
        theirs |= {n: _whole(part) for n, part in zip(names, parts, strict=True)}
    return theirs


def to_ours(
    card: Card, shapes: Mapping[str, torch.Size], theirs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of a checkpoint as those of a `state_dict`.

    Args:
        card: of the checkpoint.
        shapes: {name: shape} of the `state_dict`, with `card.rows` tokens.
        theirs: by their names.

    Raises:
        StoreError: tensors are missing, left over, not finite, or of another shape or type; they
            are named.
    """
    theirs = _cleaned(card, theirs)
    names, ours = _names(card.architecture, card.config), dict[str, Tensor]()
    wanted = [name for some in names.values() for name in some]
    _refuse("missing", (name for name in wanted if name not in theirs))
    _refuse("left over", (name for name in theirs if name not in wanted))
    misfits = []
    for name, some in names.items():
        sizes = _sizes(name, some, card.config) or [shapes[name][0]]
        for one, size in zip(some, sizes, strict=True):
            shape = (size, *shapes[name][1:])
            shape = shape[::-1] if _is_turned(card.architecture, name) else shape
            if tuple(theirs[one].shape) != shape:
                misfits.append(f"{one}, {tuple(theirs[one].shape)} where {shape} is needed")
    _refuse("of another shape", misfits)
    _refuse("not finite", (name for name in wanted if not bool(theirs[name].isfinite().all())))
    for name, some in names.items():
        joined = torch.cat([_turned(card.architecture, name, theirs[one]) for one in some])
        ours[name] = joined.float().contiguous()
    if card.config.tied:
        ours["head.weight"] = ours["table.weight"]
    return ours


def _cleaned(card: Card, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names that newer files have, without what is no weight."""
    kept = {name: tensor for name, tensor in theirs.items() if not _MADE.search(f".{name}")}
    if card.architecture == GPT2 and not any(n.startswith("transformer.") for n in kept):
        kept = {n if n == "lm_head.weight" else f"transformer.{n}": t for n, t in kept.items()}
    strange = (f"{n} ({t.dtype})" for n, t in kept.items() if t.dtype not in TYPES)
    _refuse("not of float32, float16 or bfloat16", strange)
    table = kept.get(_names(card.architecture, card.config)["table.weight"][0])
    head = kept.get("lm_head.weight")
    if card.config.tied and head is not None and table is not None:
        if not torch.equal(head, table):
            raise StoreError(
                "config.json says that embedding and head are one matrix "
                "(tie_word_embeddings), but lm_head.weight is another."
            )
        del kept["lm_head.weight"]
    return kept


def _names(architecture: str, config: Any) -> dict[str, tuple[str, ...]]:
    """{our name: their names, which together make ours along the first axis}."""
    if architecture == GPT2:
        blocks, block = "transformer.h", _GPT2_BLOCK
        names: dict[str, tuple[str, ...]] = {
            "table.weight": ("transformer.wte.weight",),
            "places.weight": ("transformer.wpe.weight",),
            "norm.gain": ("transformer.ln_f.weight",),
            "norm.bias": ("transformer.ln_f.bias",),
        }
    else:
        blocks, block = "model.layers", dict(_LLAMA_BLOCK)
        block |= _NORMED if config.normed else {}
        block |= _QKV_BIASED if config.qkv_biased else {}
        names = {
            "table.weight": ("model.embed_tokens.weight",),
            "norm.gain": ("model.norm.weight",),
        }
    for number in range(config.depth):
        for ours, theirs in block.items():
            there = tuple(f"{blocks}.{number}.{name}" for name in theirs)
            names[f"blocks.{number}.{ours}"] = there
    return names if config.tied else {**names, "head.weight": ("lm_head.weight",)}


def _sizes(name: str, theirs: tuple[str, ...], config: Any) -> list[int] | None:
    """How long the parts of a fused tensor are; None for a tensor that is not fused."""
    if len(theirs) == 1:
        return None
    if len(theirs) == 2:
        return [config.hidden, config.hidden]
    size = head_size(config)
    return [config.heads * size, config.groups * size, config.groups * size]


def _is_turned(architecture: str, name: str) -> bool:
    """Whether a layer's weight is (inputs, outputs) there, as GPT-2 has it."""
    layer = name.removesuffix(".weight").partition(".")[2].partition(".")[2]
    return architecture == GPT2 and name.endswith(".weight") and layer in _GPT2_LAYERS


def _turned(architecture: str, name: str, tensor: Tensor) -> Tensor:
    return tensor.T if _is_turned(architecture, name) else tensor


def _whole(tensor: Tensor) -> Tensor:
    """A copy that shares nothing, as safetensors wants it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _refuse(why: str, names: Iterable[str]) -> None:
    """StoreError that names tensors, if there is one."""
    found = list(names)
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        listed = "; ".join(found[:SHOWN])
        raise StoreError(f"tensors of the checkpoint are {why}: {listed}{more}.")
