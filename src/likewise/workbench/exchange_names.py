"""What the transformer is elsewhere: Hugging Face's architectures, and their config.json.

| architecture | places | norms | feed | besides |
|---|---|---|---|---|
| `LlamaForCausalLM` (Touvron et al., 2023) | rotary | rms | swiglu | |
| `Qwen2ForCausalLM` (Yang et al., 2024) | rotary | rms | swiglu | qkv_biased, window or none |
| `MistralForCausalLM` (Jiang et al., 2023) | rotary | rms | swiglu | window |
| `Qwen3ForCausalLM` (Qwen team, 2025) | rotary | rms | swiglu | normed, window or none |
| `GPT2LMHeadModel` (Radford et al., 2019) | learned | layer | gelu | biased, groups = heads |
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from likewise.core import registry
from likewise.core.config import from_json
from likewise.core.errors import StoreError, UsageError, must
from likewise.core.space import Sequence
from likewise.nn.attention import SCALINGS

LLAMA, MISTRAL = "LlamaForCausalLM", "MistralForCausalLM"
QWEN2, QWEN3, GPT2 = "Qwen2ForCausalLM", "Qwen3ForCausalLM", "GPT2LMHeadModel"
TYPES = {LLAMA: "llama", MISTRAL: "mistral", QWEN2: "qwen2", QWEN3: "qwen3", GPT2: "gpt2"}
MOST = 2**24  # of any size that a config.json states

# settings of a config.json that the transformer has in one way only; the first is the default
_ROTARY: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "partial_rotary_factor": (None, 1.0),
    "quantization_config": (None,),
}
_ONLY: dict[str, dict[str, tuple[Any, ...]]] = {
    LLAMA: {**_ROTARY, "attention_bias": (False,), "mlp_bias": (False,)},
    MISTRAL: _ROTARY,
    QWEN2: _ROTARY,
    QWEN3: {**_ROTARY, "attention_bias": (False,)},
    GPT2: {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "quantization_config": (None,),
    },
}


def architecture_of(config: Any) -> str:
    """The architecture that holds a transformer of this Config.

    Raises:
        UsageError: none does; it names the setting, and what to train instead.

    Example:
        >>> architecture_of(registry.get("families", "transformer").Config(normed=False))
        'LlamaForCausalLM'
    """
    found = _obstacle(config)
    if found is not None:
        raise UsageError(_wanted(*found))
    if config.places == "learned":
        return GPT2
    if config.normed:
        return QWEN3
    if config.qkv_biased:
        return QWEN2
    return LLAMA if config.window is None else MISTRAL


def hindrance(name: str, config: Mapping[str, Any]) -> str | None:
    """A line to be said before a `transformer` is trained that could not be exported, else None.

    Args:
        name: of the family or chain.
        config: its Config as plain data, as a plan has it.

    Example:
        >>> hindrance("transformer", {"runs": 5})
        'with runs=5 it cannot be exported; --set runs=0 if it is to be'
    """
    if name != "transformer":
        return None
    found = _obstacle(from_json(registry.get("families", name).Config, dict(config)))
    if found is None:
        return None
    setting, value, got, _ = found
    wanted = f"--set {setting}={_word(value)}"
    return f"with {setting}={_word(got)} it cannot be exported; {wanted} if it is to be"


def _obstacle(config: Any) -> tuple[str, Any, Any, str] | None:
    """The first setting that no architecture has, what it must be, what it is, and for which."""
    if config.runs > 1:
        return "runs", 0, config.runs, "any architecture"
    learned = config.places == "learned"
    kind = "GPT-2, which has learned places" if learned else "Llama, which has rotary places"
    needs = {"norms": "rms", "feed": "swiglu", "biased": False}
    if config.normed:
        needs["qkv_biased"] = False
    if learned:
        needs = {"norms": "layer", "feed": "gelu", "biased": True, "normed": False}
        needs |= {"window": None, "groups": config.heads, "head_dim": None}
    for setting, value in needs.items():
        if getattr(config, setting) != value:
            return setting, value, getattr(config, setting), kind
    return None


def head_size(config: Any) -> int:
    """How many numbers a head of this Config has."""
    size: int | None = config.head_dim
    return config.width // config.heads if size is None else size


def config_json(architecture: str, config: Any, space: Sequence, begin: int) -> dict[str, Any]:
    """What config.json says; `begin` is the token that a document begins after."""
    sizes = _gpt2_json(config, space) if architecture == GPT2 else _llama_json(config, space)
    if architecture in (LLAMA, QWEN3):
        sizes["attention_bias"] = False
    if architecture in (QWEN2, QWEN3):
        windowed = config.window is not None
        kind = "sliding_attention" if windowed else "full_attention"
        sizes |= {
            "use_sliding_window": windowed,
            "max_window_layers": 0 if windowed else config.depth,
            "layer_types": [kind] * config.depth,
        }
    if architecture in (MISTRAL, QWEN2, QWEN3):
        sizes["sliding_window"] = config.window
    return {
        "architectures": [architecture],
        "model_type": TYPES[architecture],
        "vocab_size": space.tokens,
        **sizes,
        "tie_word_embeddings": config.tied,
        "bos_token_id": begin,
        "eos_token_id": space.end,
        "pad_token_id": space.pad,
        "torch_dtype": "float32",
    }


def _llama_json(config: Any, space: Sequence) -> dict[str, Any]:
    scaling = config.scaling or {"rope_type": "default"}
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.groups,
        "head_dim": head_size(config),
        "intermediate_size": config.hidden,
        "hidden_act": "silu",
        "max_position_embeddings": space.length + 1,
        "rms_norm_eps": config.epsilon,
        # the older name and the newer one: programs read one or the other
        "rope_theta": config.base,
        "rope_parameters": {**scaling, "rope_theta": config.base},
        **({} if config.scaling is None else {"rope_scaling": config.scaling}),
        "attention_dropout": 0.0,
    }


def _gpt2_json(config: Any, space: Sequence) -> dict[str, Any]:
    return {
        "n_embd": config.width,
        "n_layer": config.depth,
        "n_head": config.heads,
        "n_inner": config.hidden,
        "n_positions": space.length + 1,
        "n_ctx": space.length + 1,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.epsilon,
        "resid_pdrop": config.dropout,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a config.json says of a checkpoint.

    Attributes:
        architecture: one of `TYPES`.
        config: a Config of the transformer.
        places: how many inputs it reads at most.
        rows: of the table of embeddings.
        begin: the token that a document begins after.
        end: the token that closes a document.
        pad: a token that is never given; `rows` where the checkpoint has none.
    """

    architecture: str
    config: Any
    places: int
    rows: int
    begin: int
    end: int
    pad: int

    @property
    def tokens(self) -> int:
        """How many there are, `pad` among them."""
        return max(self.rows, self.pad + 1)


def read_card(data: Mapping[str, Any]) -> Card:
    """A config.json of one of the architectures.

    Raises:
        StoreError: it is of another, or a setting is missing or cannot be held; it is named.

    Example:
        >>> sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 33}
        >>> tokens = {"vocab_size": 40, "eos_token_id": 39}
        >>> card = read_card({"architectures": ["GPT2LMHeadModel"], **sizes, **tokens})
        >>> card.config.places, card.end, card.pad, card.tokens
        ('learned', 39, 40, 41)
    """
    try:
        return _read(data)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise StoreError(f"config.json is not what it should be ({error}).") from error


def _read(data: Mapping[str, Any]) -> Card:
    architecture = (data.get("architectures") or [None])[0]
    if architecture not in TYPES:
        known = f"one of {', '.join(TYPES)}"
        raise StoreError(must("the architecture of config.json", known, architecture))
    for setting, allowed in _ONLY[architecture].items():
        _be(data, setting, allowed)
    settings = _gpt2(data) if architecture == GPT2 else _llama(data, architecture)
    named = "n_positions" if architecture == GPT2 else "max_position_embeddings"
    places = _whole(data, named, least=2)  # one token, and the one before it
    settings["tied"] = data.get("tie_word_embeddings", architecture == GPT2)
    try:
        config = from_json(registry.get("families", "transformer").Config, settings)
    except UsageError as error:
        raise StoreError(f"config.json does not fit the transformer: {error}") from error
    rows = _whole(data, "vocab_size")
    end = _token(data, "eos_token_id", rows)
    if end is None:
        remedy = "Write the token that closes a text there."
        raise StoreError(
            must("eos_token_id of config.json", f"below {rows}", data.get("eos_token_id"), remedy)
        )
    begin, pad = _token(data, "bos_token_id", rows), _token(data, "pad_token_id", rows)
    return Card(
        architecture=architecture,
        config=config,
        places=places,
        rows=rows,
        begin=end if begin is None else begin,
        end=end,
        pad=rows if pad in (None, end, begin) else pad,  # what fills up must say nothing else
    )


def _llama(data: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    width, heads = _whole(data, "hidden_size"), _whole(data, "num_attention_heads")
    stated = data.get("head_dim") is not None or architecture == QWEN3
    if width % heads and not stated:
        wanted = f"a multiple of num_attention_heads ({heads})"
        raise StoreError(must("hidden_size of config.json", wanted, width))
    size = _whole(data, "head_dim", 128 if architecture == QWEN3 else width // heads)
    return {
        "width": width,
        "depth": _whole(data, "num_hidden_layers"),
        "heads": heads,
        "groups": _whole(data, "num_key_value_heads", heads),
        "head_dim": None if size * heads == width else size,
        "hidden": _whole(data, "intermediate_size"),
        "normed": architecture == QWEN3,
        "qkv_biased": architecture == QWEN2,
        "epsilon": data.get("rms_norm_eps", 1e-6),
        **_angles(data),
        "window": _window(data, architecture),
    }


def _angles(data: Mapping[str, Any]) -> dict[str, Any]:
    """The base of the rotary angles and how they are scaled."""
    told = "rope_parameters" if data.get("rope_parameters") else "rope_scaling"
    rope = dict(data.get(told) or {})
    base = rope.pop("rope_theta", data.get("rope_theta", 10_000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    apart = [name for name, value in rope.items() if isinstance(value, dict)]
    if apart or kind not in SCALINGS or rope.get("partial_rotary_factor", 1.0) != 1.0:
        wanted = f"of the rope_type {' or '.join(SCALINGS)}, for whole heads of all blocks"
        raise StoreError(must(f"{told} of config.json", wanted, rope))
    return {"base": base, "scaling": None if kind == "default" else {**rope, "rope_type": kind}}


def _window(data: Mapping[str, Any], architecture: str) -> int | None:
    """The window that all blocks have, or None."""
    if architecture == LLAMA:
        return None
    if architecture == MISTRAL:
        window: int | None = data.get("sliding_window", 4096)
        return window
    if not data.get("use_sliding_window"):
        return None
    full = data.get("max_window_layers", 28)  # the first blocks see all
    depth = _whole(data, "num_hidden_layers")
    kinds = data.get("layer_types") or [
        "full_attention" if i < full else "sliding_attention" for i in range(depth)
    ]
    if len(set(kinds)) > 1:
        raise StoreError(must("layer_types of config.json", "one kind for all blocks", kinds))
    return _whole(data, "sliding_window") if kinds[0] == "sliding_attention" else None


def _gpt2(data: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = _whole(data, "n_embd"), _whole(data, "n_head")
    return {
        "width": width,
        "depth": _whole(data, "n_layer"),
        "heads": heads,
        "groups": heads,
        "hidden": _whole(data, "n_inner", 4 * width),
        "normed": False,
        "norms": "layer",
        "feed": "gelu",
        "biased": True,
        "places": "learned",
        "epsilon": data.get("layer_norm_epsilon", 1e-5),
    }


def _wanted(setting: str, value: Any, got: Any, kind: str) -> str:
    """The words for a setting that an architecture does not have."""
    word = _word(value)
    remedy = f"Train with --set {setting}={word}."
    return must(setting, f"{word} to be exported as {kind}", got, remedy)


def _word(value: Any) -> str:
    """A value of a setting as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _be(data: Mapping[str, Any], setting: str, allowed: tuple[Any, ...]) -> None:
    got = data.get(setting, allowed[0])
    if got not in allowed:
        words = " or ".join(json.dumps(one) for one in allowed)
        raise StoreError(must(f"{setting} of config.json", words, got))


def _whole(
    data: Mapping[str, Any], setting: str, default: int | None = None, least: int = 1
) -> int:
    """A setting that is a size; StoreError if it is not."""
    got = data.get(setting)
    got = default if got is None else got
    if type(got) is not int or not least <= got <= MOST:
        be = f"a whole number, {least} to {MOST}"
        raise StoreError(must(f"{setting} of config.json", be, got))
    return got


def _token(data: Mapping[str, Any], setting: str, rows: int) -> int | None:
    """The number of a token; the first where there are several; None if it is no token."""
    got = data.get(setting)
    got = got[0] if isinstance(got, list) and got else got
    return got if type(got) is int and 0 <= got < rows else None
