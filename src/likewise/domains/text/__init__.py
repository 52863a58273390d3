"""Texts: a file, a folder, dialogues, rows of a table or strings in; marked .txt files out.

| file | responsibility |
|---|---|
| `codec.py` | `Text`, the Domain: what a model carries |
| `options.py` | what `load` can be asked for |
| `recognise.py`, `read.py` | from whatever was brought to Records |
| `files.py` | folders and packed files |
| `json_files.py`, `tables.py` | JSONL and JSON; CSV and TSV |
| `rows.py`, `roles.py` | what a row is by its columns; dialogues |
| `messages.py` | dialogues that are not text throughout |
| `decode.py`, `documents.py` | bytes to clean text, and what was done to it |
| `corpus.py`, `passages.py` | text that may be larger than memory, cut and split by position |
| `near.py` | near-duplicate documents |
| `tokenise.py`, `vocabulary.py` | tokenisers, and the tokens that they lack |
| `learning.py` | what is learned of training texts: tokens, lengths, labels |
| `stream.py`, `source.py`, `cache.py` | training batches from one stream of tokens |
| `prompts.py` | what a person asks for, as tokens |
| `save.py`, `show.py`, `toy.py` | files, a page, a small generated corpus |
"""

from likewise.domains.text.codec import Text

__all__ = ["Text"]
