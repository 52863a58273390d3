"""The one training loop: anything `Trainable`, by steps, on one process or many.

What makes it exact:

* a step is a function of (weights, optimizer, step number, seed): row order, augmentation and
  noise are keyed by step and by row of the global batch, and torch's global generator is seeded
  anew for every step; so a run that is killed and resumed ends with the same bits;
* micro-batches and ranks see the very rows and draws that one batch would have seen, and their
  losses advance in rounds (every micro-batch's first loss, then the step, then the second ...);
* a snapshot is taken at fixed steps only. It is what a roll-back returns to and what the file of
  a killed run holds, so both kinds of return give the same training.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from likewise.core.condition import Batch
from likewise.core.contract import Loss, Source, Step, Trainable
from likewise.core.errors import TrainingError, nearest
from likewise.core.rng import Draws, fold, generator
from likewise.store.files import read_tensors, write_tensors
from likewise.train import ranks
from likewise.train.arithmetic import Arithmetic
from likewise.train.average import Average
from likewise.train.job import Checked, Job, Outcome, Progress
from likewise.train.optimizer import optimizers, set_rate
from likewise.train.schedule import rate
from likewise.train.watchdog import Action, Watchdog

SNAPSHOTS = 20
LOG_ROWS = 200


class Trainer:
    """Trains one Trainable; `run` leaves it holding its best averaged weights.

    Args:
        trainable: an nn.Module that is a `Trainable`.
        source: of batches.
        job: what to do.
        validate: asks for a held-out measure of the trainable as it stands, or None.
        file: where the resumable state is kept, or None.
        watch: told of every step, or None.
        clock: seconds, monotonic; a test may bring its own.

    Raises:
        TrainingError: from `run`, if there is nothing worth keeping.
    """

    def __init__(
        self,
        trainable: Trainable,
        source: Source,
        job: Job,
        *,
        validate: Callable[[], Checked] | None = None,
        file: Path | None = None,
        watch: Callable[[Progress], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainable = trainable
        self.module = cast(nn.Module, trainable).to(job.device)
        self.arithmetic = Arithmetic.of(job.arithmetic)
        self.source = source
        self.job = job
        self.validate = validate
        self.file = file
        self.watch = watch
        self.clock = clock
        self.steps = job.steps
        self.step = 0
        self.outcome = Outcome()
        self.watchdog = Watchdog()
        self.best: tuple[float, float, dict[str, Tensor]] | None = None
        self.losses: dict[str, float] = {}
        self.notes: dict[str, float] = {}
        self.event = ""
        self.order: tuple[int, Tensor] | None = None
        self.taken = 0

    def run(self) -> Outcome:
        """Train, or go on where the file left off."""
        self.start()
        with torch.random.fork_rng(devices=self._cuda()):
            try:
                while self.step < self.steps and self.advance():
                    pass
            except KeyboardInterrupt:
                self.outcome.interrupted = True
        self._finish()
        return self.outcome

    # -- one step -------------------------------------------------------------------------

    def advance(self) -> bool:
        """Take a step and all that follows from it; False when training should end."""
        torch.manual_seed(fold(self.job.seed, "train", self.job.name, self.step, ranks.rank()))
        self.module.train()
        action, self.event = self._rounds()
        if action == "back":
            self._restore(self.saved, keep_watchdog=True)
        if action != "stop":
            self.average.update(self.step)
            self.step += 1
            if self.validate and self._due(self.job.validations, start=0.5):
                action, sentence = self._check()
                self.event = self.event or sentence
        self._tell()
        self._mind_the_clock()
        if action == "go" and self._due(SNAPSHOTS, start=0.0):
            self._snapshot()
        return action != "stop"

    def _rounds(self) -> tuple[Action, str]:
        """Advance the losses of all micro-batches in rounds, stepping a part after each."""
        open_losses = list(self._micro_losses())
        while True:
            part, value, notes = "", 0.0, dict[str, float]()
            for losses, share in open_losses:
                with self.arithmetic.autocast(self.job.device):
                    loss = next(losses, None)
                if loss is None:
                    return "go", ""
                if not part:
                    part = loss.part
                    parameters = self._owned(part)
                    for parameter in parameters:
                        parameter.grad = None
                mean = loss.value.float().mean()
                (mean * share).backward(inputs=parameters)
                value += float(mean.detach()) * share
                for name, note in loss.notes.items():
                    notes[name] = notes.get(name, 0.0) + float(note.detach().mean()) * share
            action, sentence = self._step_part(part, value, notes)
            if action != "go":
                return action, sentence

    def _owned(self, part: str) -> list[nn.Parameter]:
        """The parameters of a part that a loss names."""
        if part not in self.parameters:
            known = nearest(part, self.parameters)
            raise TrainingError(f"{self.job.name}: a loss is of the part {part!r}; {known}.")
        return self.parameters[part]

    def _micro_losses(self) -> Iterator[tuple[Iterator[Loss], float]]:
        """The losses of each micro-batch of this rank, with its share of the global batch."""
        rows = self._rows()
        mine = range(len(rows))[ranks.share(len(rows))]
        size = self.job.micro or max(1, len(mine))
        data_seed = fold(self.job.seed, "data", self.job.name, self.step)
        noise_seed = fold(self.job.seed, "noise", self.job.name, self.step)
        for start in range(mine.start, mine.stop, size):
            index = rows[start : min(start + size, mine.stop)]
            x, c = self.source.batch(index, Draws(data_seed, start))
            x, c = x.to(self.job.device), _to(c, self.job.device)
            rng = Draws(noise_seed, start, self.job.device)
            step = Step(rng=rng, progress=self.step / self.steps, index=self.step)
            yield self.trainable.losses(x, c, step=step), len(index) / len(rows)

    def _rows(self) -> Tensor:
        """Which records this step sees: one shuffled pass after another, (batch,) int64."""
        n = len(self.source)
        places = range(self.step * self.job.batch, (self.step + 1) * self.job.batch)
        passes = sorted({place // n for place in places})
        rows = torch.cat([self._order(number) for number in passes])
        first = places.start - passes[0] * n
        return rows[first : first + self.job.batch]

    def _order(self, number: int) -> Tensor:
        """The order of the records in one pass."""
        if self.order is None or self.order[0] != number:
            seed = fold(self.job.seed, "order", self.job.name, number)
            self.order = (number, torch.randperm(len(self.source), generator=generator(seed)))
        return self.order[1]

    def _step_part(self, part: str, value: float, notes: dict[str, float]) -> tuple[Action, str]:
        """Clip and step one part, unless the watchdog objects."""
        parameters = self.parameters[part]
        ranks.sum_gradients(parameters)
        settings = self.settings[part]
        norm = float(nn.utils.clip_grad_norm_(parameters, settings.clip or math.inf))
        value = ranks.total(value)
        notes = {name: ranks.total(note) for name, note in notes.items()}
        action, sentence = self.watchdog.after_loss(self.step, part, value, norm, notes)
        self.losses[part] = value
        self.notes.update(notes)
        if action == "go":
            pace = rate(settings, self.step / self.steps) * self.watchdog.factor
            for optimizer in self.optimizers[part]:
                set_rate(optimizer, settings, pace)
                optimizer.step()
            self.taken += 1
        return action, sentence

    # -- held-out, clock and log ----------------------------------------------------------

    def _due(self, times: int, *, start: float) -> bool:
        """Whether the step just taken is one of `times` evenly spread ones after `start`."""
        span = self.job.steps * (1.0 - start)
        number = (self.step - self.job.steps * start) * times
        return self.step == self.steps or (number > 0 and number % span < times)

    def _check(self) -> tuple[Action, str]:
        """Validate the averaged weights; the later ones win unless they are clearly worse."""
        assert self.validate is not None
        self.module.eval()
        with self.average.swapped(), self.arithmetic.aside():
            value, error = self.validate()
        self._row(valid=value)
        if not math.isfinite(value):
            return self.watchdog.after_validation(self.step, worse=True)
        worse = self.best is not None and value > self.best[0] + max(error, self.best[1])
        if not worse:
            lowest = value if self.best is None else min(value, self.best[0])
            self.best = (lowest, error, self.average.state())
            self.outcome.best_step = self.step
        return self.watchdog.after_validation(self.step, worse)

    def _mind_the_clock(self) -> None:
        """Shorten the plan once if it would overrun by 10 %, or as the replayed run did."""
        self.outcome.seconds = self.clock() - self.started
        if self.outcome.shorten is not None:
            return
        if self.job.shorten is not None:
            if self.step >= self.job.shorten[0]:
                self._shorten(self.job.shorten[1])
        elif self.job.seconds is not None and self.step < self.steps:
            used = ranks.agree(self.outcome.seconds)
            pace = used / self.step
            late = pace * self.steps > 1.1 * self.job.seconds
            if late and used > self.job.seconds / 2:  # earlier, the pace is not to be trusted
                left = max(1.0, (self.job.seconds - used) / pace)
                self._shorten(min(self.steps, self.step + int(left)))

    def _shorten(self, steps: int) -> None:
        self.outcome.shorten = (self.step, steps)
        self.steps = steps
        self._event(f"at step {self.step} the plan was shortened to {steps} steps")

    def _tell(self) -> None:
        """Log now and then, and tell whoever watches."""
        every = max(1, self.job.steps // LOG_ROWS)
        if self.event:
            self._event(self.event)
        elif self.step % every == 0 or self.step == self.steps:
            self._row()
        if self.watch:
            self.watch(Progress(self.step, self.steps, self.clock() - self.started, self.losses))

    def _event(self, sentence: str) -> None:
        self.outcome.events.append(sentence)
        self._row(event=sentence)

    def _row(self, **more: Any) -> None:
        seconds = round(self.clock() - self.started, 3)
        row = {"step": self.step, "seconds": seconds, "loss": dict(self.losses)}
        if self.notes:
            row["notes"] = dict(self.notes)
        self.outcome.rows.append({**row, **more})

    # -- start, snapshots, end ------------------------------------------------------------

    def start(self) -> None:
        """Weights, averages and optimizers, new or out of the file."""
        state = read_tensors(self.file) if self.file and self.file.exists() else None
        if state is None:
            with torch.random.fork_rng(devices=self._cuda()):
                torch.manual_seed(fold(self.job.seed, "prepare", self.job.name))
                if ranks.rank() == 0:
                    seed = fold(self.job.seed, "prepare", self.job.name)
                    self.trainable.prepare(self.source, rng=Draws(seed, 0, self.job.device))
        ranks.broadcast(self.module)
        self.arithmetic.begin(self.module)
        self.settings = self.trainable.optimizers()
        self.parameters = {
            name: [p for p in part.parameters() if p.requires_grad]
            for name, part in self.trainable.parts().items()
        }
        self.average = Average(self.module, self.job.ema)
        self._make_optimizers()
        if state is not None:
            self._restore(state)
        self.started = self.clock() - self.outcome.seconds
        if state is None:
            self._snapshot()
        else:
            self.saved = state

    def _make_optimizers(self) -> None:
        self.optimizers = {
            name: optimizers(part, self.settings[name])
            for name, part in self.trainable.parts().items()
        }

    def memory(self, part: str, parameter: nn.Parameter) -> dict[str, Tensor]:
        """What the optimizer of a parameter remembers of it."""
        for optimizer in self.optimizers[part]:
            if any(parameter is p for group in optimizer.param_groups for p in group["params"]):
                return optimizer.state[parameter]
        raise KeyError(part)

    def _snapshot(self) -> None:
        """Take hold of all that the rest of the training depends on; write it if asked to."""
        tensors = {f"now.{k}": v.detach().clone() for k, v in self.module.state_dict().items()}
        tensors |= {f"average.{i}": v.clone() for i, v in enumerate(self.average.values)}
        for part, parameters in self.parameters.items():
            for index, parameter in enumerate(parameters):
                for key, value in self.memory(part, parameter).items():
                    tensors[f"optimizer.{part}.{index}.{key}"] = value.detach().clone()
        if self.best is not None:
            tensors |= {f"best.{name}": value for name, value in self.best[2].items()}
        self.outcome.seconds = self.clock() - self.started
        facts = {
            "step": self.step,
            "steps": self.steps,
            "best": self.best[:2] if self.best else None,
            "watchdog": self.watchdog.state(),
            "outcome": copy.deepcopy(vars(self.outcome)),
        }
        self.saved = (tensors, facts)
        if self.file and ranks.rank() == 0:
            write_tensors(self.file, tensors, facts)

    def _restore(
        self, state: tuple[Mapping[str, Tensor], Mapping[str, Any]], *, keep_watchdog: bool = False
    ) -> None:
        """Go back to a snapshot: all of it, or (a roll-back) weights and optimizers only."""
        tensors, facts = state
        self.module.load_state_dict(_under(tensors, "now."))
        for index, value in enumerate(self.average.values):
            value.copy_(tensors[f"average.{index}"])
        self._make_optimizers()
        for name, tensor in _under(tensors, "optimizer.").items():
            part, place_in_part, key = name.rsplit(".", 2)
            parameter = self.parameters[part][int(place_in_part)]
            if key == "step":
                own = tensor.clone().to(parameter.device)
            else:  # laid out as the parameter is
                own = torch.empty_like(parameter).copy_(tensor)
            self.memory(part, parameter)[key] = own
        if keep_watchdog:
            return
        self.taken = facts["step"]
        self.step, self.steps = facts["step"], facts["steps"]
        self.watchdog.load(facts["watchdog"])
        self.outcome = Outcome(**facts["outcome"])
        if self.outcome.shorten is not None:
            self.outcome.shorten = (self.outcome.shorten[0], self.outcome.shorten[1])
        if facts["best"]:
            self.best = (facts["best"][0], facts["best"][1], _under(tensors, "best."))

    def _finish(self) -> None:
        """Leave the trainable with its best averaged weights."""
        self.outcome.steps = self.step
        self.arithmetic.end(self.module)
        best = self.best[2] if self.best else self.average.state()
        if not self.best:
            self.outcome.best_step = self.step
        finite = all(torch.isfinite(t).all() for t in best.values() if t.is_floating_point())
        if not finite or (self.step and not self.taken):
            raise TrainingError(
                f"{self.job.name} could not be trained: its weights or losses were not finite "
                f"up to step {self.step}. Lower its learning rate with "
                f"--set optimizer.learning_rate=..."
            )
        self.module.load_state_dict(best)
        self.module.eval()

    def _cuda(self) -> Sequence[torch.device]:
        device = torch.device(self.job.device)
        return [device] if device.type == "cuda" else []


def _to(c: Batch, device: str) -> Batch:
    return {name: (values.to(device), known.to(device)) for name, (values, known) in c.items()}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
