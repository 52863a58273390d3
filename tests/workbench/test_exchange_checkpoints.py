"""Checkpoints as they are found: older words, settings without effect, more training."""

import json
import random

import numpy as np
import pytest
import torch

import likewise as lw
from likewise.core.contract import Controls
from likewise.store.model import open_model
from likewise.workbench.exchange import adopt, export
from tests.workbench.exchanging import (
    LINEAR,
    LLAMA3,
    THEIRS,
    but,
    hf,
    inputs,
    opened,
    rewritten,
    theirs_of,
    words_of,
)

__all__ = ["hf"]  # a fixture

OLD = {"rope_parameters": None, "rope_theta": 500.0}
FOUND = [
    ("llama", {**OLD, "rope_scaling": None, "pretraining_tp": 1, "torch_dtype": "bfloat16"}),
    ("llama", {**OLD, "rope_scaling": LLAMA3, "max_position_embeddings": 257}),
    ("llama", {**OLD, "rope_scaling": {"type": "linear", "factor": 2.0}}),
    ("llama", {"head_dim": None, "pad_token_id": None, "bos_token_id": None}),
    ("llama", {"eos_token_id": [2, 7, 9]}),
    ("mistral", {"sliding_window": None, "head_dim": None}),
    ("qwen2", {"sliding_window": 131072, "max_window_layers": 28, "use_mrope": False}),
    ("qwen2", {"sliding_window": 4, "max_window_layers": 1, "use_sliding_window": False}),
    ("qwen2", {"attention_bias": True, "layer_types": None}),
    ("qwen3", {"sliding_window": 4, "max_window_layers": 1, "attention_bias": False}),
    ("qwen3 wide heads", {"num_key_value_heads": 2, "layer_types": None}),
    ("gpt2", {"n_ctx": 33, "attn_pdrop": 0.1, "activation_function": "gelu_pytorch_tanh"}),
]


@pytest.mark.parametrize(("name", "changes"), FOUND, ids=str)
def test_words_that_are_found_mean_the_same(hf, tmp_path, name, changes):
    theirs_of(hf, name, tmp_path)
    rewritten(tmp_path, **changes)
    theirs = hf.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    family = opened(tmp_path)
    rows = inputs(40, width=family.space.length + 1)
    with torch.no_grad():
        assert torch.allclose(family.logits(rows)[..., :40], theirs(rows).logits, atol=1e-4)


@pytest.mark.parametrize("name", THEIRS)
def test_halves_in_shards_are_opened(hf, tmp_path, name):
    halves = theirs_of(hf, name, tmp_path / "whole").bfloat16()
    halves.save_pretrained(tmp_path / "parts", max_shard_size="5KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    theirs = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "parts", dtype=torch.float32)
    family, rows = opened(tmp_path / "parts"), inputs(40)
    rows[rows == family.space.pad] = 3
    with torch.no_grad():
        wanted, got = theirs.eval()(rows).logits, family.logits(rows)[..., :40]
    assert (wanted - got)[..., but(40, family.space.pad)].abs().max() < 1e-4


@pytest.mark.parametrize("scaling", [LLAMA3, LINEAR], ids=lambda one: one["rope_type"])
def test_a_scaling_is_exported_as_it_came(hf, tmp_path, scaling):
    (tmp_path / "in").mkdir()
    theirs_of(hf, "llama", tmp_path / "in")
    words_of(tmp_path / "in")
    rewritten(tmp_path / "in", rope_parameters=None, rope_theta=500.0, rope_scaling=scaling)
    model = adopt(tmp_path / "in")
    assert model.family.config.scaling == scaling
    data = json.loads((export(model, tmp_path / "out") / "config.json").read_text())
    assert data["rope_scaling"] == scaling
    assert data["rope_theta"] == 500.0
    assert data["rope_parameters"] == {**scaling, "rope_theta": 500.0}


@pytest.mark.parametrize("lora", [None, 2])
@pytest.mark.parametrize("name", ["qwen3 wide heads", "llama farther", "qwen2"])
def test_training_goes_on_from_a_checkpoint(hf, tmp_path, name, lora):
    (tmp_path / "in").mkdir()
    theirs_of(hf, name, tmp_path / "in")
    words_of(tmp_path / "in")
    model = adopt(tmp_path / "in", context=24)
    draw = random.Random(0)
    # Each fits into a passage: where words are cut, a tokeniser of whole words knows no part.
    texts = [" ".join(f"w{draw.randrange(9)}" for _ in range(7)) for _ in range(80)]
    later = lw.fit(texts, "transformer", steps=3, start=model, lora=lora)
    before, after = (one.family.blocks[0].attention.inward.weight for one in (model, later))
    assert not torch.equal(before, after)
    later.save(tmp_path / "saved")
    again = open_model(tmp_path / "saved")
    theirs = hf.AutoModelForCausalLM.from_pretrained(export(again, tmp_path / "out"))
    rows = inputs(37, width=20) + 3
    with torch.no_grad():
        got, wanted = again.family.logits(rows), theirs(rows).logits
    assert torch.allclose(got[..., :40], wanted[..., :40], atol=1e-4)
    ours = again.sample(1, {"prompt": "w3 w4"}, seed=1, controls=Controls(temperature=0))
    found = theirs.generate(torch.tensor([[1, 6, 7]]), do_sample=False, max_new_tokens=22)
    words = again.domain.codec.vocabulary.tokeniser
    ids = [one for one in found[0, 3:].tolist() if one != 2]
    assert ours.items[0] == words.decode(np.array(ids))
