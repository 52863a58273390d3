"""What cannot be exported and what cannot be opened, and how it is said."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from likewise.core.condition import Labels
from likewise.core.config import to_json
from likewise.core.errors import StoreError, UsageError
from likewise.core.space import Sequence
from likewise.workbench.exchange import adopt, checkpoint, export
from likewise.workbench.exchange_names import hindrance
from tests.workbench.exchanging import (
    OURS,
    Foreign,
    foreign,
    model_of,
    opened,
    rewritten,
    words_of,
)

__all__ = ["foreign"]  # a fixture

# -- what cannot be exported ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("llama", {"runs": 3}, "runs must be 0 to be exported as any architecture; got 3. Train "
         "with --set runs=0."),
        ("llama", {"feed": "relu2"}, "feed must be swiglu to be exported as Llama, which has "
         "rotary places; got 'relu2'. Train with --set feed=swiglu."),
        ("qwen3", {"norms": "layer"}, "norms must be rms to be exported as Llama, which has "
         "rotary places; got 'layer'. Train with --set norms=rms."),
        ("llama", {"biased": True}, "biased must be false to be exported as Llama, which has "
         "rotary places; got True. Train with --set biased=false."),
        ("gpt2", {"feed": "swiglu"}, "feed must be gelu to be exported as GPT-2, which has "
         "learned places; got 'swiglu'. Train with --set feed=gelu."),
        ("gpt2", {"norms": "rms"}, "norms must be layer to be exported as GPT-2, which has "
         "learned places; got 'rms'. Train with --set norms=layer."),
        ("gpt2", {"biased": False}, "biased must be true to be exported as GPT-2, which has "
         "learned places; got False. Train with --set biased=true."),
        ("gpt2", {"normed": True}, "normed must be false to be exported as GPT-2, which has "
         "learned places; got True. Train with --set normed=false."),
        ("gpt2", {"window": 4}, "window must be null to be exported as GPT-2, which has "
         "learned places; got 4. Train with --set window=null."),
        ("qwen3", {"qkv_biased": True}, "qkv_biased must be false to be exported as Llama, which "
         "has rotary places; got True. Train with --set qkv_biased=false."),
        ("gpt2", {"head_dim": 12}, "head_dim must be null to be exported as GPT-2, which has "
         "learned places; got 12. Train with --set head_dim=null."),
        ("gpt2", {"groups": 2}, "groups must be 4 to be exported as GPT-2, which has "
         "learned places; got 2. Train with --set groups=4."),
    ],
)  # fmt: skip
def test_what_no_architecture_holds_is_named(tmp_path, name, changes, words):
    with pytest.raises(UsageError) as caught:
        export(model_of(replace(OURS[name], **changes)), tmp_path / "out")
    assert str(caught.value) == words
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", OURS)
def test_what_cannot_be_exported_is_known_before_training(name):
    config = OURS[name]
    norms = {"rms": "layer", "layer": "rms"}[config.norms]
    assert hindrance("transformer", to_json(config)) is None
    assert hindrance("transformer", to_json(replace(config, runs=5))) == (
        "with runs=5 it cannot be exported; --set runs=0 if it is to be"
    )
    assert hindrance("transformer", to_json(replace(config, norms=norms))) == (
        f"with norms={norms} it cannot be exported; --set norms={config.norms} if it is to be"
    )
    assert hindrance("vae+transformer", to_json(replace(config, runs=5))) is None


def test_labels_are_not_exported(tmp_path):
    model = model_of(OURS["llama"], conditions=(Labels(name="label", names=("a", "b")),))
    with pytest.raises(UsageError) as caught:
        export(model, tmp_path / "out")
    assert str(caught.value) == (
        "conditions must be none but what stands before, to be exported; got ['label']. Train on "
        "the data without them."
    )


def test_other_families_are_not_exported(tmp_path):
    model = replace(model_of(OURS["llama"]), name="vae+transformer")
    with pytest.raises(UsageError, match="what is exported must be a transformer; got 'vae\\+"):
        export(model, tmp_path / "out")


def test_a_folder_is_named_by_a_text_too_and_a_file_is_none(tmp_path):
    model = model_of(OURS["llama"])
    assert export(model, str(tmp_path / "out")) == tmp_path / "out"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="the folder of an export must be new or empty"):
        export(model, str(tmp_path / "file"))


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    model = model_of(OURS["llama"])
    model.save(tmp_path / "model")
    before = (tmp_path / "model" / "config.json").read_bytes()
    with pytest.raises(UsageError, match="the folder of an export must be new or empty"):
        export(model, tmp_path / "model")
    assert (tmp_path / "model" / "config.json").read_bytes() == before


# -- what cannot be opened --------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return export(model_of(OURS["llama"]), tmp_path_factory.mktemp("exchange") / "llama")


@pytest.fixture
def folder(plain, tmp_path):
    """A copy of an export, as if it came from elsewhere."""
    there = tmp_path / "there"
    shutil.copytree(plain, there)
    (there / "likewise.json").unlink()
    return there


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["BertModel"]}, "the architecture of config.json must be one of "
         "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, "
         "GPT2LMHeadModel; got 'BertModel'."),
        ({"architectures": None}, "the architecture of config.json must be one of "),
        ({"architectures": {"a": 1}}, "config.json is not what it should be"),
        ({"hidden_act": "gelu"}, 'hidden_act of config.json must be "silu"; got \'gelu\'.'),
        ({"attention_bias": True}, "attention_bias of config.json must be false; got True."),
        ({"mlp_bias": True}, "mlp_bias of config.json must be false; got True."),
        ({"quantization_config": {"bits": 4}}, "quantization_config of config.json must be null"),
        ({"head_dim": 16}, "tensors of the checkpoint are of another shape: "
         "model.layers.0.self_attn.q_proj.weight, (32, 32) where (64, 32) is needed; "),
        ({"head_dim": 7}, "config.json does not fit the transformer: head_dim must be even; got "
         "7."),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_parameters of "
         "config.json must be of the rope_type default or linear or llama3, for whole heads of "
         "all blocks; got {'rope_type': 'yarn', 'factor': 4.0}."),
        ({"rope_parameters": None, "rope_scaling": {"type": "dynamic"}}, "rope_scaling of "
         "config.json must be of the rope_type "),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "for whole "
         "heads of all blocks"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor of config.json must be null or "
         "1.0; got 0.5."),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "for whole heads of "
         "all blocks"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "config.json does not "
         "fit the transformer: factor of scaling llama3 must be a number above 0; got None."),
        ({"rope_parameters": [1]}, "config.json is not what it should be"),
        ({"hidden_size": "32"}, "hidden_size of config.json must be a whole number, 1 to "
         "16777216; got '32'."),
        ({"hidden_size": 33, "head_dim": None}, "hidden_size of config.json must be a multiple "
         "of num_attention_heads (4); got 33."),
        ({"num_attention_heads": 0}, "num_attention_heads of config.json must be a whole number"),
        ({"num_key_value_heads": 3}, "config.json does not fit the transformer: groups must be a "
         "divisor of the heads (4); got 3."),
        ({"num_hidden_layers": 10**6}, "config.json does not fit the transformer: "),
        ({"rms_norm_eps": "x"}, "config.json does not fit the transformer: "),
        ({"max_position_embeddings": 1}, "max_position_embeddings of config.json must be a whole "
         "number, 2 to 16777216; got 1."),
        ({"eos_token_id": None}, "eos_token_id of config.json must be below "),
        ({"eos_token_id": 10**6}, "Write the token that closes a text there."),
        ({"hidden_size": 64, "head_dim": 16}, "tensors of the checkpoint are of another shape: "
         "model.embed_tokens.weight, ("),
        ({"vocab_size": 10**7}, "tensors of the checkpoint are of another shape: "
         "model.embed_tokens.weight, ("),
        ({"num_hidden_layers": 1}, "tensors of the checkpoint are left over: "
         "model.layers.1."),
        ({"num_hidden_layers": 3}, "tensors of the checkpoint are missing: "
         "model.layers.2.input_layernorm.weight; "),
        ({"architectures": ["Qwen3ForCausalLM"], "use_sliding_window": True, "sliding_window": 4,
          "layer_types": ["full_attention", "sliding_attention"]}, "layer_types of config.json "
         "must be one kind for all blocks; got ['full_attention', 'sliding_attention']."),
        ({"architectures": ["Qwen2ForCausalLM"]}, "tensors of the checkpoint are missing: "
         "model.layers.0.self_attn.q_proj.bias; "),
        ({"tie_word_embeddings": True}, "config.json says that embedding and head are one matrix "
         "(tie_word_embeddings), but lm_head.weight is another."),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_is_named(folder, changes, words):
    rewritten(folder, **changes)
    with pytest.raises(StoreError) as caught:
        opened(folder, length=8)
    assert words in str(caught.value)


def test_gpt2_settings_that_are_not_ours_are_named(tmp_path):
    folder = export(model_of(OURS["gpt2"]), tmp_path / "out")
    rewritten(folder, scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(StoreError, match="scale_attn_by_inverse_layer_idx of"):
        opened(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("model.norm.weight"), "tensors of the checkpoint are missing: "
         "model.norm.weight."),
        (lambda t: t.update(odd=torch.ones(2)), "tensors of the checkpoint are left over: odd."),
        (lambda t: t["model.norm.weight"].fill_(torch.nan), "tensors of the checkpoint are not "
         "finite: model.norm.weight."),
        (lambda t: t.update({"model.norm.weight": torch.ones(31)}), "tensors of the checkpoint "
         "are of another shape: model.norm.weight, (31,) where (32,) is needed."),
        (lambda t: t.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}), "tensors of "
         "the checkpoint are not of float32, float16 or bfloat16: model.norm.weight "
         "(torch.int8)."),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(folder, change, words):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StoreError) as caught:
        opened(folder)
    assert str(caught.value) == words


def test_nothing_is_unpickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(StoreError, match="is not opened: it is pickled, and unpickling runs any"):
        opened(folder)


def test_there_must_be_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(StoreError, match=r"holds no model\.safetensors"):
        checkpoint(folder)


def test_damaged_weights_are_said(folder):
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(StoreError, match="is damaged"):
        checkpoint(folder)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ([1], "must be a JSON object; got 'list'."),
        ({}, "must be {tensor: file}; got None."),
        ({"weight_map": {"a": "../a.safetensors"}}, "must be a .safetensors of its folder; got "
         "'../a.safetensors'."),
        ({"weight_map": {"a": "/etc/passwd"}}, "must be a .safetensors of its folder"),
        ({"weight_map": {"a": "a.bin"}}, "must be a .safetensors of its folder"),
        ({"weight_map": {"a": "gone.safetensors"}}, "gone.safetensors does not exist."),
        ({"weight_map": {"a": "part.safetensors", "b": "part.safetensors"}}, "part.safetensors "
         "does not hold what model.safetensors.index.json says: b is in one of them alone."),
    ],
)  # fmt: skip
def test_an_index_that_is_wrong_is_said(tmp_path, index, words):
    save_file({"a": torch.ones(2)}, tmp_path / "part.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(StoreError) as caught:
        checkpoint(tmp_path)
    assert words in str(caught.value)


def test_there_must_be_a_tokeniser(folder, foreign):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(StoreError, match=r"holds no tokenizer\.json\. It is written by"):
        adopt(folder)


def test_a_tokeniser_must_be_readable_and_fit(folder, foreign):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(StoreError, match=r"is no tokenizer\.json that can be read"):
        adopt(folder)
    words_of(folder, size=500)
    with pytest.raises(StoreError, match=r"tokens of .*tokenizer\.json must be below \d+, as emb"):
        adopt(folder)


def test_a_codec_of_other_tokens_is_refused(folder, foreign, monkeypatch):
    one = Sequence(length=8, tokens=5, end=3, pad=4)
    monkeypatch.setattr(Foreign, "views", lambda self: (one,))
    with pytest.raises(StoreError, match="the tokens of the codec must be"):
        adopt(folder)


def test_a_context_must_fit(folder, plain, foreign):
    most = json.loads((folder / "config.json").read_text())["max_position_embeddings"] - 1
    for context in (0, most + 1):
        with pytest.raises(UsageError, match=f"context must be 1 to {most}; got {context}"):
            adopt(folder, context=context)
    rewritten(folder, max_position_embeddings=2**22)
    with pytest.raises(UsageError, match="context must be given, at most 1048576"):
        adopt(folder)
    assert adopt(folder, context=7).family.space.length == 7
    with pytest.raises(UsageError, match="context is for checkpoints from elsewhere"):
        adopt(plain, context=7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 99}, "was written by a newer likewise than this"),
        ({"schema": None}, "is damaged: schema must be a whole number; got None."),
        ({"schema": "1"}, "is damaged: schema must be a whole number; got '1'."),
        ({"space": None}, "is damaged ("),
        ({"space": [1]}, "is damaged ("),
        ({"conditions": "x"}, "is damaged ("),
        ({"facts": 3}, "is damaged ("),
        ({"codec": None}, "is damaged (TypeError"),
        ({"space": {"kind": "sequence", "length": 8, "tokens": 5, "end": 3, "pad": 4}}, "is not "
         "of this checkpoint: its tokens are others than those of config.json."),
    ],
)  # fmt: skip
def test_an_export_with_another_codec_is_refused(plain, tmp_path, changes, words):
    shutil.copytree(plain, tmp_path / "there")
    path = tmp_path / "there" / "likewise.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(StoreError) as caught:
        adopt(tmp_path / "there")
    assert words in str(caught.value)
