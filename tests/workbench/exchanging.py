"""Transformers here and there: small ones of every architecture, and what tests do with them."""

import json
import os
from dataclasses import replace

import pytest
import torch
from torch import nn

from likewise.core import registry
from likewise.core.condition import Tokens
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.transformer import Config, Transformer
from likewise.store.model import Model
from likewise.workbench.exchange import family_of
from likewise.workbench.exchange_names import read_card

TEXTS = [
    f"Text number {i}: the café is open, naïve 🙂.\nTo be or not, {i * i}." for i in range(40)
]
SMALL = Config(width=32, depth=2, heads=4, groups=2, hidden=48)
OURS = {
    "llama": replace(SMALL, normed=False),
    "llama tied": replace(SMALL, normed=False, tied=True, groups=4, base=500.0),
    "mistral": replace(SMALL, normed=False, window=5),
    "qwen3": SMALL,
    "qwen3 tied, window": replace(SMALL, tied=True, window=5, epsilon=1e-5),
    "gpt2": replace(
        SMALL,
        groups=4,
        normed=False,
        norms="layer",
        feed="gelu",
        biased=True,
        places="learned",
        tied=True,
        epsilon=1e-5,
    ),
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "factor": 4.0}
OURS |= {
    "llama wide heads": replace(SMALL, normed=False, head_dim=12),
    "llama farther": replace(SMALL, normed=False, scaling=LLAMA3),
    "mistral wide heads": replace(SMALL, normed=False, window=5, head_dim=12, scaling=LINEAR),
    "qwen2": replace(SMALL, normed=False, qkv_biased=True),
    "qwen2 tied, window": replace(SMALL, normed=False, qkv_biased=True, tied=True, window=5),
    "qwen3 wide heads": replace(SMALL, head_dim=16, scaling=LLAMA3),
}
OURS["gpt2 untied"] = replace(OURS["gpt2"], tied=False)
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}
ROTARY = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 33,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LEARNED = {
    "vocab_size": 40,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 33,
    "bos_token_id": 2,
    "eos_token_id": 2,
}
THEIRS = {
    "llama": ("Llama", ROTARY),
    "llama tied": ("Llama", {**ROTARY, "tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
    "llama with a pad": ("Llama", {**ROTARY, "pad_token_id": 0}),
    "llama wide heads": ("Llama", {**ROTARY, "head_dim": 12}),
    "llama farther": (
        "Llama",
        {
            **ROTARY,
            "max_position_embeddings": 257,
            "rope_parameters": {**LLAMA3, "rope_theta": 500.0},
        },
    ),
    "llama slower": ("Llama", {**ROTARY, "rope_parameters": {**LINEAR, "rope_theta": 1e4}}),
    "mistral": ("Mistral", {**ROTARY, "sliding_window": 6}),
    "mistral wide heads": ("Mistral", {**ROTARY, "sliding_window": None, "head_dim": 12}),
    "qwen2": ("Qwen2", {**ROTARY, "sliding_window": 6}),
    "qwen2 window": (
        "Qwen2",
        {**ROTARY, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 0},
    ),
    "qwen3": ("Qwen3", {**ROTARY, "head_dim": 8}),
    "qwen3 wide heads": ("Qwen3", {**ROTARY, "head_dim": 16, "tie_word_embeddings": True}),
    "qwen3 window": (
        "Qwen3",
        {
            **ROTARY,
            "head_dim": 8,
            "use_sliding_window": True,
            "sliding_window": 6,
            "max_window_layers": 0,
        },
    ),
    "gpt2": ("GPT2", LEARNED),
    "gpt2 untied": ("GPT2", {**LEARNED, "n_inner": 48, "tie_word_embeddings": False}),
}


@pytest.fixture(scope="module")
def hf():
    os.environ["HF_HUB_OFFLINE"] = "1"
    library = pytest.importorskip("transformers")
    library.utils.logging.disable_progress_bar()
    library.utils.logging.set_verbosity_error()
    return library


def codec(**options):
    domain = registry.get("domains", "text")()
    domain.fit(type(domain).load(TEXTS, **options))
    return domain


def loud(module):
    """Random parameters of such sizes that every one of them can be seen in the logits."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        matrix = parameter.ndim == 2
        nn.init.normal_(parameter, mean=0.0 if matrix else 0.5, std=0.2)
    return module.eval()


def model_of(config=SMALL, domain=None, conditions=None):
    domain = domain or codec(tokenizer="characters")
    told = domain.conditions() if conditions is None else conditions
    family = loud(Transformer(config, domain.views()[-1], told))
    return Model("transformer", family, domain, {}, {"data": "f00d", "seed": 3})


def theirs_of(hf, name, folder, **options):
    kind, settings = THEIRS[name]
    config = getattr(hf, f"{kind}Config")(**settings)
    model = loud(getattr(hf, ARCHITECTURES[kind.lower()])(config))
    model.save_pretrained(folder, **options)
    return model


def opened(folder, length=None, foreign=True):
    """The family alone, for a folder without a tokeniser."""
    card = read_card(json.loads((folder / "config.json").read_text()))
    space = Sequence(
        length=length or card.places - 1, tokens=card.tokens, end=card.end, pad=card.pad
    )
    return family_of(folder, card, space, (), foreign=foreign)


def inputs(tokens, width=32, rows=3):
    return (Draws(7).uniform(rows, width) * tokens).long()


def rewritten(folder, **changes):
    path = folder / "config.json"
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(data))


def but(tokens, pad):
    return torch.arange(tokens) != pad


class Foreign:
    """In place of the domain of texts: keeps the state that it was made of."""

    name = "text"

    def __init__(self, state):
        self.given = state

    from_state = classmethod(lambda cls, state: cls(state))

    def state(self):
        return self.given

    def views(self):
        one = {name: self.given[name] for name in ("tokens", "end", "pad")}
        return (Sequence(length=self.given["context"], **one),)

    def conditions(self):
        space = self.views()[0]
        return (Tokens(name="prompt", length=8, tokens=space.tokens, pad=space.pad),)


@pytest.fixture
def foreign(monkeypatch):
    real = registry.get
    monkeypatch.setattr(
        registry, "get", lambda room, name: Foreign if name == "text" else real(room, name)
    )


def words_of(folder, size=40, begins=True):
    """A tokenizer.json with so many words; the first three stand for what they do in Llama."""
    kit = pytest.importorskip("tokenizers")
    names = ["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(size - 3))]
    made = kit.Tokenizer(kit.models.WordLevel({n: i for i, n in enumerate(names)}, "<unk>"))
    made.pre_tokenizer = kit.pre_tokenizers.Whitespace()
    if begins:
        made.post_processor = kit.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    made.save(str(folder / "tokenizer.json"))
