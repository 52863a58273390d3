"""Checkpoints from elsewhere with the domain of texts: adopted, sampled, saved, exported."""

import numpy as np
import pytest
import torch

from likewise.core.contract import Controls
from likewise.store.model import open_model
from likewise.tasks.texts import complete
from likewise.workbench.exchange import adopt, export
from tests.workbench.exchanging import hf, inputs, theirs_of, words_of

__all__ = ["hf"]  # a fixture


@pytest.mark.parametrize("name", ["llama", "gpt2", "llama with a pad"])
def test_the_whole_way_of_a_checkpoint(hf, tmp_path, name):
    (tmp_path / "in").mkdir()
    theirs = theirs_of(hf, name, tmp_path / "in")
    words_of(tmp_path / "in", begins=name != "gpt2")
    model = adopt(tmp_path / "in", context=12)
    rows = inputs(39, width=12) + 1
    rows[:, 4] = 2  # an end inside parts turns, and what stands before it is still read
    with torch.no_grad():
        mine, known = model.family.logits(rows), theirs(rows).logits
    assert torch.allclose(mine[..., 1:40], known[..., 1:], atol=1e-4)
    begins = [1] if name != "gpt2" else []
    prompt = model.domain.condition({"prompt": "w3 w4"}, 1)["prompt"][0][0].tolist()
    assert prompt == [*begins, 6, 7]
    assert greedy(model) == generated(theirs, model, begins)
    for first in (9, 17):  # texts that differ before their end alone
        text = [*begins, first, 2, 6]
        (found,) = complete(model, [text], most=1, controls=Controls(temperature=0))
        logits = theirs(torch.tensor([text])).logits[0, -1].detach().clone()
        logits[model.family.space.pad : model.family.space.pad + 1] = -torch.inf
        assert found.tokens[0] == int(logits.argmax())
        assert found.log_probs[0] == pytest.approx(float(logits.log_softmax(0).max()), abs=1e-4)
    model.save(tmp_path / "saved")
    again = open_model(tmp_path / "saved")
    assert again.sample(3, seed=2).items == model.sample(3, seed=2).items
    back = adopt(export(model, tmp_path / "out"))
    assert back.sample(3, seed=2).items == model.sample(3, seed=2).items


def greedy(model):
    cold = Controls(temperature=0)
    return model.sample(4, {"prompt": "w3"}, seed=1, controls=cold).items[0]


def generated(theirs, model, begins):
    """What the library itself writes after the same prompt."""
    pad = model.family.space.pad
    found = theirs.generate(
        torch.tensor([[*begins, 6]]),
        do_sample=False,
        max_new_tokens=12 - len(begins),
        suppress_tokens=[pad] if pad < 40 else None,
    )
    ids = found[0, len(begins) + 1 :].tolist()
    ids = ids[: ids.index(2)] if 2 in ids else ids
    return model.domain.codec.vocabulary.tokeniser.decode(np.array(ids))
