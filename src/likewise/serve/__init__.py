"""A trained model of texts behind the HTTP interface that OpenAI's clients speak.

| file | responsibility |
|---|---|
| `server.py` | `serve`: sockets, signals, the end |
| `connections.py` | how many there may be, and how long each may keep waiting |
| `app.py` | the routes |
| `asked.py`, `fields.py` | bodies of requests, checked |
| `answers.py` | bodies of answers |
| `desk.py` | requests in flight, and the one thread that owns the model |
| `metrics.py` | what is counted, in the form of Prometheus |
| `errors.py` | what a client is told where it cannot be served |
"""

from likewise.serve.server import serve

__all__ = ["serve"]
