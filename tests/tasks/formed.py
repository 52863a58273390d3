"""Forms, and models that write them, which tests of forms share."""

import torch

from likewise.domains.text import Text
from likewise.families.transformer import Config, Transformer
from likewise.store.model import Model
from likewise.tasks.forms import Form
from likewise.tasks.texts import complete
from tests.serve.standin import standin

LETTERS = 'abcdefghijklmnopqrstuvwxyz{}[]":,.- 0123456789éß\n'
TEXTS = [
    f'{{"name": "cat {i}", "age": {i * 7 % 90}}}\nthe cat sees the café, {LETTERS}'
    for i in range(60)
]
KINDS = ["characters", "bytes", "bpe", "unigram"]
DATE = Form("regex", r"[0-9]{1,2} (may|june) [0-9]{4}(, [a-zé]{2,5})?")
NESTED = Form("grammar", 'start: part\npart: "(" part ")" | WORD\nWORD: /[a-z]{1,3}/')
MODEL = standin(length=160)


def model_of(kind):
    """A model with random weights, of texts read with a tokeniser."""
    domain = Text()
    domain.fit(Text.load(TEXTS, tokenizer=kind, vocabulary=300, context=256, unit="file"))
    space = domain.views()[-1]
    small = {"width": 32, "depth": 2, "heads": 2, "groups": 1, "hidden": 48, "runs": 0}
    torch.manual_seed(0)
    family = Transformer(Config(**small), space, domain.conditions())
    for parameter in family.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Model("transformer", family.eval(), domain, {}, {})


def few_characters():
    """A domain of texts without brackets, and without some letters."""
    domain = Text()
    domain.fit(Text.load([f"abcdefé {i}" for i in range(99)], tokenizer="characters"))
    return domain


def made(model, form, n=12, **more):
    return complete(model, ["the "] * n, form=form, seed=3, **more)
