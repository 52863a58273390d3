"""Uses of a trained model. A task reaches a domain only through the model that it is handed.

| file | responsibility |
|---|---|
| `codec.py` | what tasks on texts need of a domain |
| `spelling.py` | text out of tokens as they come, and stop strings |
| `engine.py` | many requests in one batch, which they join and leave as they like |
| `texts.py` | to complete texts, to talk |
"""
