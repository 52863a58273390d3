"""Uses of a trained model. A task reaches a domain only through the model that it is handed.

| file | responsibility |
|---|---|
| `codec.py` | what tasks on texts need of a domain |
| `spelling.py` | text out of tokens as they come, and stop strings |
| `forms.py` | texts that match a regex, a JSON schema or a grammar |
| `rows.py` | what is asked, how far each text has come, what each token tells |
| `engine.py` | many requests in one batch, which they join and leave as they like |
| `sliding.py` | texts that outgrow the context |
| `drafting.py` | a small model that guesses ahead for a large one |
| `searching.py` | the likeliest texts, by beams |
| `texts.py` | to complete texts, to talk |
| `infilling.py` | to fill gaps of texts |
| `translating.py` | texts out of other texts: translations, summaries |
"""
