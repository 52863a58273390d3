"""Transformers to Hugging Face and back: equal logits, equal bits, and clear refusals."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from likewise.core import registry
from likewise.core.condition import Labels, Tokens
from likewise.core.contract import Controls
from likewise.core.errors import StoreError, UsageError
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.transformer import Config, Transformer
from likewise.nn.adapters import adapt, merge
from likewise.store.model import Model
from likewise.workbench.exchange import adopt, checkpoint, export, family_of
from likewise.workbench.exchange_names import read_card

TEXTS = [
    f"Text number {i}: the café is open, naïve 🙂.\nTo be or not, {i * i}." for i in range(40)
]
STRANGE = ["", "café 🙂", "To be\n\n  or not", " two  spaces ", "Zürich, 東京 and \ttabs"]
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
OURS["gpt2 untied"] = replace(OURS["gpt2"], tied=False)
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
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
    "mistral": ("Mistral", {**ROTARY, "sliding_window": 6}),
    "qwen3": ("Qwen3", {**ROTARY, "head_dim": 8}),
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


def chatty(folder):
    lines = [
        [{"role": "user", "content": f"Hi {i}"}, {"role": "assistant", "content": f"Yo {3 * i}!"}]
        for i in range(30)
    ]
    path = folder / "chat.jsonl"
    path.write_text("\n".join(json.dumps({"messages": line}) for line in lines))
    domain = registry.get("domains", "text")()
    domain.fit(type(domain).load(path, tokenizer="bpe", vocabulary=280))
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


# -- equal logits -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", THEIRS)
def test_their_logits_are_ours(hf, tmp_path, name):
    theirs = theirs_of(hf, name, tmp_path)
    family = opened(tmp_path)
    rows = inputs(40)
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


# -- tokenisers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"tokenizer": "characters"}, {"tokenizer": "bytes"}, {"tokenizer": "bpe", "vocabulary": 300}],
    ids=str,
)
def test_their_tokeniser_gives_the_same_numbers(hf, tmp_path, options):
    domain = codec(**options)
    words, space = domain.codec.vocabulary, domain.views()[-1]
    export(model_of(OURS["llama"], domain), tmp_path / "out")
    theirs = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(theirs) == space.tokens
    assert (theirs.bos_token_id, theirs.eos_token_id) == (space.end, space.end)
    assert theirs.pad_token_id == space.pad
    for text, ids in zip(TEXTS + STRANGE, words.encode(TEXTS + STRANGE), strict=True):
        assert theirs(text, add_special_tokens=False).input_ids == ids.tolist()
        assert theirs(text).input_ids == [space.end, *ids.tolist()]  # whole texts begin
        if words.unknown not in ids:
            assert theirs.decode(ids.tolist()) == text


def test_pieces_of_long_texts_do_not_begin(hf, tmp_path):
    domain = codec(tokenizer="bytes")
    domain = type(domain).from_state({**domain.state(), "whole": False})
    export(model_of(OURS["llama"], domain), tmp_path / "out")
    assert hf.AutoTokenizer.from_pretrained(tmp_path / "out")("ab").input_ids == [97, 98]


def test_a_dialogue_is_the_prompt_of_the_domain(hf, tmp_path):
    domain = chatty(tmp_path)
    space = domain.views()[-1]
    export(model_of(OURS["llama"], domain), tmp_path / "out")
    theirs = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    messages = [{"role": "system", "content": "Be"}, {"role": "user", "content": " Hi 3 "}]
    prompt, _ = domain.condition({"prompt": messages}, 1)["prompt"]
    found = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert found == prompt[0].tolist()
    with pytest.raises(Exception, match="a role must be system, user or assistant"):
        theirs.apply_chat_template([{"role": "tool", "content": ""}])
    closing = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    marks = [domain.codec.vocabulary.assistant - 2, domain.codec.vocabulary.assistant - 1]
    assert closing["eos_token_id"] == [space.end, *marks]
    assert closing["suppress_tokens"] == [space.pad]


def test_a_taken_name_is_not_taken_twice(tmp_path):
    kit = pytest.importorskip("tokenizers")
    alphabet = sorted(kit.pre_tokenizers.ByteLevel.alphabet())
    made = kit.Tokenizer(kit.models.BPE({one: i for i, one in enumerate(alphabet)}, []))
    made.pre_tokenizer = kit.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = kit.decoders.ByteLevel()
    made.add_special_tokens(["<|end|>"])
    made.save(str(tmp_path / "tokenizer.json"))
    domain = codec(tokenizer=str(tmp_path / "tokenizer.json"))
    export(model_of(OURS["llama"], domain), tmp_path / "out")
    written = kit.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert [written.id_to_token(i) for i in (256, 257, 258)] == ["<|end|>", "<<|end|>>", "<|pad|>"]


def test_what_else_an_export_says(tmp_path):
    model = model_of(OURS["llama"])
    folder = export(model, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "likewise.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    readme = (folder / "README.md").read_text()
    assert f"a transformer of {model.parameters:,} parameters" in readme
    assert "data with the fingerprint `f00d`" in readme


# -- checkpoints from elsewhere, as Models ----------------------------------------------------


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
        ("gpt2", {"groups": 2}, "groups must be 4 to be exported as GPT-2, which has "
         "learned places; got 2. Train with --set groups=4."),
    ],
)  # fmt: skip
def test_what_no_architecture_holds_is_named(tmp_path, name, changes, words):
    with pytest.raises(UsageError) as caught:
        export(model_of(replace(OURS[name], **changes)), tmp_path / "out")
    assert str(caught.value) == words
    assert not (tmp_path / "out").exists()


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
         "LlamaForCausalLM, MistralForCausalLM, Qwen3ForCausalLM, GPT2LMHeadModel; got "
         "'BertModel'."),
        ({"architectures": None}, "the architecture of config.json must be one of "),
        ({"architectures": {"a": 1}}, "config.json is not what it should be"),
        ({"hidden_act": "gelu"}, 'hidden_act of config.json must be "silu"; got \'gelu\'.'),
        ({"attention_bias": True}, "attention_bias of config.json must be false; got True."),
        ({"mlp_bias": True}, "mlp_bias of config.json must be false; got True."),
        ({"quantization_config": {"bits": 4}}, "quantization_config of config.json must be null"),
        ({"head_dim": 16}, "head_dim of config.json must be hidden_size / num_attention_heads "
         "(32 / 4); got 16."),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_parameters of "
         "config.json must be plain rotary angles (default); got {'rope_type': 'llama3'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "must be plain rotary"),
        ({"rope_parameters": [1]}, "config.json is not what it should be"),
        ({"hidden_size": "32"}, "hidden_size of config.json must be a whole number, 1 to "
         "16777216; got '32'."),
        ({"hidden_size": 33, "head_dim": None}, "head_dim of config.json must be"),
        ({"num_attention_heads": 0}, "num_attention_heads of config.json must be a whole number"),
        ({"num_key_value_heads": 3}, "config.json does not fit the transformer: groups must be a "
         "divisor of the heads (4); got 3."),
        ({"num_hidden_layers": 10**6}, "config.json does not fit the transformer: "),
        ({"rms_norm_eps": "x"}, "config.json does not fit the transformer: "),
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
        ({"architectures": ["Qwen3ForCausalLM"], "head_dim": None}, "head_dim of config.json must "
         "be hidden_size / num_attention_heads (32 / 4); got 128."),
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
