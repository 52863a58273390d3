"""Likewise: more of your data, likewise.

```python
import likewise as lw

data = lw.load("digits")              # a path, a built-in name, arrays
board = lw.run(data, time="3m")       # a Leaderboard; board.best is a Model
model = lw.fit(data, "flow", time="60s", seed=0)
model.sample(64, where={"label": 3}, seed=1)
lw.evaluate(model, data)
lw.audit(model, data).verdict
model.save("digits-flow")
lw.open("digits-flow")

plays = lw.open("runs/plays-20261121-1830")  # of texts:
lw.complete(plays, ["ROMEO:"])[0].text
```

Nothing heavy is imported until a verb is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likewise.tasks.infilling import infill
    from likewise.tasks.texts import Conversation, complete, stream
    from likewise.tasks.translating import translate
    from likewise.workbench.canaries import exposures, plant
    from likewise.workbench.exchange import export
    from likewise.workbench.verbs import audit, evaluate, fit, load, open, report, run

__version__ = "0.1.0"
__all__ = [
    "Conversation",
    "audit",
    "complete",
    "evaluate",
    "export",
    "exposures",
    "fit",
    "infill",
    "load",
    "open",
    "plant",
    "report",
    "run",
    "stream",
    "translate",
]

_ELSEWHERE = {
    "Conversation": "likewise.tasks.texts",
    "complete": "likewise.tasks.texts",
    "export": "likewise.workbench.exchange",
    "exposures": "likewise.workbench.canaries",
    "infill": "likewise.tasks.infilling",
    "plant": "likewise.workbench.canaries",
    "stream": "likewise.tasks.texts",
    "translate": "likewise.tasks.translating",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_ELSEWHERE.get(name, "likewise.workbench.verbs")), name)
    raise AttributeError(f"module 'likewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
