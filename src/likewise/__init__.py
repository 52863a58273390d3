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
```

Nothing heavy is imported until a verb is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likewise.workbench.verbs import audit, evaluate, fit, load, open, report, run

__version__ = "0.1.0"
__all__ = ["audit", "evaluate", "fit", "load", "open", "report", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from likewise.workbench import verbs

        return getattr(verbs, name)
    raise AttributeError(f"module 'likewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
