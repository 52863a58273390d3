"""Transformers to Hugging Face and back: equal logits, equal bits, checkpoints as Models."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.transformer import Config
from likewise.nn.adapters import adapt, merge
from likewise.workbench.exchange import adopt, export
from tests.workbench.exchanging import (
    ARCHITECTURES,
    OURS,
    THEIRS,
    but,
    foreign,
    hf,
    inputs,
    model_of,
    opened,
    theirs_of,
    words_of,
)

__all__ = ["foreign", "hf"]  # fixtures

# -- equal logits -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", THEIRS)
def test_their_logits_are_ours(hf, tmp_path, name):
    theirs = theirs_of(hf, name, tmp_path)
    family = opened(tmp_path)
    rows = inputs(40, width=family.space.length + 1)
    rows[rows == family.space.pad] = 3
    with torch.no_grad():
        wanted, got = theirs(rows).logits, family.logits(rows)
    seen = but(40, family.space.pad)
    assert wanted.std() > 0.5
    assert (wanted[..., seen] - got[..., :40][..., seen]).abs().max() < 1e-4
    assert bool((got[..., family.space.pad] == -torch.inf).all())


@pytest.mark.parametrize("name", OURS)
def test_our_logits_are_theirs(hf, tmp_path, name):
    model = model_of(OURS[name])
    export(model, tmp_path / "out")
    theirs = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(theirs).__name__ == ARCHITECTURES[name.split()[0]]
    assert theirs.dtype == torch.float32
    space = model.family.space
    rows = inputs(space.end, width=space.length + 1)  # no end inside: one document
    rows[:, 0] = space.end
    with torch.no_grad():
        wanted, got = model.family.logits(rows), theirs(rows).logits
    seen = but(space.tokens, space.pad)
    assert wanted[..., seen].std() > 0.5
    assert (wanted - got)[..., seen].abs().max() < 1e-4


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_greedy_texts_are_the_same(hf, tmp_path, name):
    model = model_of(OURS[name])
    space = model.family.space
    model.family.head.weight.data[space.end] = 0.0  # never the likeliest: a long text
    export(model, tmp_path / "out")
    theirs = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    prompt = torch.tensor([[space.end, 5, 6, 7]])
    c = {"prompt": (prompt, torch.ones(1, dtype=torch.bool))}
    ours = model.family.sample(1, c, rng=Draws(0), controls=Controls(temperature=0))
    found = theirs.generate(prompt, do_sample=False, max_new_tokens=space.length - 3)
    count = found.shape[1] - 4
    assert count == space.length - 3
    assert found[0, 4:].tolist() == ours[0, :count].tolist()


def test_an_absent_prompt_is_the_beginning_of_a_text(hf, tmp_path):
    theirs = theirs_of(hf, "llama", tmp_path)
    family = opened(tmp_path)
    with torch.no_grad():
        wanted = theirs(torch.tensor([[1, 5]])).logits
        got = family.logits(torch.tensor([[family.space.pad, 5]]))
    assert torch.allclose(got[..., :40], wanted, atol=1e-4)


def test_a_shorter_context_is_the_beginning_of_a_longer_one(hf, tmp_path):
    theirs = theirs_of(hf, "gpt2", tmp_path)
    family = opened(tmp_path, length=9)
    assert family.places.weight.shape == (10, 32)
    rows = inputs(40, width=10)
    with torch.no_grad():
        assert torch.allclose(family.logits(rows)[..., :40], theirs(rows).logits, atol=1e-4)


# -- equal bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_there_and_back_is_the_same_model(tmp_path, name):
    model = model_of(OURS[name])
    back = adopt(export(model, tmp_path / "out"))
    ours, theirs = model.family.state_dict(), back.family.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert back.family.space == model.family.space
    assert back.family.conditions == model.family.conditions
    assert back.domain.state() == model.domain.state()
    assert (back.name, back.facts, back.shares) == (model.name, model.facts, model.shares)
    assert back.sample(3, seed=5).items == model.sample(3, seed=5).items
    unlike = {"optimizer", "ema", "batch", "checkpointed", "buckets"}
    for field in set(Config.__dataclass_fields__) - unlike:
        assert getattr(back.family.config, field) == getattr(model.family.config, field), field


def test_an_export_is_replaced_by_the_next(tmp_path):
    export(model_of(OURS["llama"]), tmp_path / "out")
    back = adopt(export(model_of(OURS["gpt2"]), tmp_path / "out"))
    assert back.family.config.places == "learned"


def test_their_shards_are_one_checkpoint(hf, tmp_path):
    theirs_of(hf, "qwen3", tmp_path / "whole")
    theirs_of(hf, "qwen3", tmp_path / "parts", max_shard_size="10KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    whole, parts = (opened(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_halves_become_float32(tmp_path, kind):
    model = model_of(OURS["llama"])
    file = export(model, tmp_path / "out") / "model.safetensors"
    halves = {name: tensor.to(kind) for name, tensor in load_file(file).items()}
    save_file(halves, file, metadata={"format": "pt"})
    state = opened(tmp_path / "out", model.family.space.length, foreign=False).state_dict()
    for name, tensor in model.family.state_dict().items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor.to(kind).float())


def test_older_files_are_read(tmp_path):
    """The names of the first GPT-2 files, with masks that are no weights and a second table."""
    model = model_of(OURS["gpt2"])
    file = export(model, tmp_path / "out") / "model.safetensors"
    old = {n.removeprefix("transformer."): t for n, t in load_file(file).items()}
    old |= {"h.0.attn.bias": torch.ones(4, 4), "lm_head.weight": old["wte.weight"].clone()}
    save_file(old, file, metadata={"format": "pt"})
    state = adopt(tmp_path / "out").family.state_dict()
    ours = model.family.state_dict()
    assert all(torch.equal(ours[key], state[key]) for key in ours)


def test_merged_adapters_are_exported(tmp_path):
    model = model_of(OURS["llama"])
    adapt(model.family, rank=2, alpha=4)
    for name, parameter in model.family.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(parameter)
    with pytest.raises(UsageError, match=r"must be plain to be exported; .* Merge its adapters"):
        export(model, tmp_path / "out")
    merge(model.family)
    back = adopt(export(model, tmp_path / "out"))
    layer = "blocks.0.attention.inward.weight"
    assert torch.equal(back.family.state_dict()[layer], model.family.state_dict()[layer])


# -- checkpoints from elsewhere, as Models ----------------------------------------------------


@pytest.mark.parametrize(("name", "pad"), [("llama", 40), ("llama with a pad", 0), ("gpt2", 40)])
def test_a_checkpoint_is_a_model_with_its_tokeniser(hf, tmp_path, foreign, name, pad):
    theirs = theirs_of(hf, name, tmp_path)
    words_of(tmp_path, begins=name != "gpt2")
    model = adopt(tmp_path, context=12)
    tokens = max(40, pad + 1)
    assert model.family.space == Sequence(length=12, tokens=tokens, end=2, pad=pad)
    assert [one.name for one in model.family.conditions] == ["prompt"]
    state = model.domain.state()
    assert state["tokeniser"]["kind"] == "subwords"
    assert state["whole"] == (name != "gpt2")
    assert (state["begin"], state["end"], state["pad"]) == (1 if name != "gpt2" else 2, 2, pad)
    assert model.facts["adopted"]["architecture"] == type(theirs).__name__
    assert list(model.facts["adopted"]["files"]) == ["model.safetensors"]
    rows = inputs(39, width=12) + 1
    with torch.no_grad():
        got, wanted = model.family.logits(rows), theirs(rows).logits
    assert torch.allclose(got[..., 1:40], wanted[..., 1:], atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_checkpoint_is_exported_again(hf, tmp_path, foreign, name):
    (tmp_path / "in").mkdir()
    theirs = theirs_of(hf, name, tmp_path / "in")
    words_of(tmp_path / "in")
    export(adopt(tmp_path / "in"), tmp_path / "out")
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.config.bos_token_id == theirs.config.bos_token_id
    for (key, one), (other_key, other) in zip(
        theirs.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert key == other_key
        assert torch.equal(one, other[: len(one)])  # a row more of tables, for the padding
    words = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert words("w0 w5").input_ids == [1, 3, 8]
    assert (words.bos_token, words.eos_token, words.pad_token) == (
        "<s>" if name == "llama" else "</s>",
        "</s>",
        "<|pad|>",
    )
