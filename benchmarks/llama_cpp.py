"""An exported transformer in llama.cpp: equal tokens, and how far log-probabilities lie apart.

    python convert_hf_to_gguf.py FOLDER --outfile FILE.gguf --outtype f32     (of llama.cpp)
    python -m benchmarks.llama_cpp FOLDER FILE.gguf [--prompt "ROMEO: What"] [--tokens 24]

FOLDER is what `likewise export` wrote, of a model of byte pairs. The converter knows the way in
which a tokeniser cuts texts into words by a hash, and stops at one that was trained anew: name it
there "gpt-2" (`get_vocab_base_pre` of its conversion). Needs the package llama-cpp-python.
"""

import argparse
from pathlib import Path

import numpy as np

import likewise as lw
from likewise.core.controls import Controls


def main() -> None:
    """Print what both make of one prompt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--prompt", default="ROMEO: What")
    parser.add_argument("--tokens", type=int, default=24)
    given = parser.parse_args()
    from llama_cpp import Llama

    model = lw.open(given.folder)
    cold = Controls(temperature=0.0)
    (found,) = lw.complete(model, [given.prompt], most=given.tokens, controls=cold)
    read = model.domain.encode(given.prompt)
    theirs = Llama(str(given.file), n_ctx=0, logits_all=True, verbose=False, n_threads=1)
    spelled = theirs.tokenize(given.prompt.encode(), add_bos=False)
    row = [*read, *found.tokens][:-1]
    theirs.eval(row)
    logits = np.array(theirs.scores[: len(row)], dtype=np.float64)[len(read) - 1 :]
    nats = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    own = nats[np.arange(len(found.tokens)), found.tokens]
    print(f"prompt in equal tokens: {spelled == read}")
    print(f"equal greedy tokens: {(logits.argmax(axis=1) == found.tokens).sum()} of {len(own)}")
    print(f"largest difference of log-probabilities: {np.abs(own - found.log_probs).max():.1e}")


if __name__ == "__main__":
    main()
