"""Solvers of dx/dt = v(x, t) as plain functions: time grids, steps, noise, divergence.

Runge-Kutta steps of order one, two and four; Euler and Maruyama's step for stochastic equations
(Kloeden and Platen, 1992); the change of log density along an ODE (Chen et al., "Neural ordinary
differential equations", 2018) with Hutchinson's estimate of the divergence (Grathwohl et al.,
"FFJORD", 2019). A velocity is any function of x (n, ...) and a time (a float) that returns x's
shape. A grid of times may run either way.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from likewise.core.errors import UsageError, must

Velocity: TypeAlias = Callable[[Tensor, float], Tensor]
Stepper: TypeAlias = Callable[[Velocity, Tensor, float, float], Tensor]


def time_grid(steps: int, shift: float = 1.0) -> list[float]:
    """steps + 1 times from 0 to 1, the closer together near 1 the larger the shift.

    t = shift u / (1 + (shift - 1) u) for evenly spaced u (Esser et al., 2024, section 5.3.2).

    Args:
        steps: at least 1.
        shift: above 0; 1 for even spacing.

    Raises:
        UsageError: steps or shift is out of range.

    Example:
        >>> time_grid(4), [round(t, 2) for t in time_grid(4, shift=3.0)]
        ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 0.75, 0.9, 1.0])
    """
    if steps < 1:
        raise UsageError(must("steps", "a whole number above 0", steps))
    if not shift > 0:
        raise UsageError(must("shift", "above 0", shift))
    even = [k / steps for k in range(steps + 1)]
    return [shift * u / (1 + (shift - 1) * u) for u in even]


def euler_step(velocity: Velocity, x: Tensor, t: float, later: float) -> Tensor:
    """One step of order 1 from t to `later`: one evaluation."""
    return x + (later - t) * velocity(x, t)


def midpoint_step(velocity: Velocity, x: Tensor, t: float, later: float) -> Tensor:
    """One step of order 2 from t to `later`: two evaluations, the second half-way."""
    half = x + (later - t) / 2 * velocity(x, t)
    return x + (later - t) * velocity(half, (t + later) / 2)


def heun_step(velocity: Velocity, x: Tensor, t: float, later: float) -> Tensor:
    """One step of order 2 from t to `later`: two evaluations, the second at the end."""
    first = velocity(x, t)
    second = velocity(x + (later - t) * first, later)
    return x + (later - t) / 2 * (first + second)


def kutta_step(velocity: Velocity, x: Tensor, t: float, later: float) -> Tensor:
    """One step of order 4 from t to `later`: Kutta's four evaluations."""
    dt, half = later - t, (t + later) / 2
    first = velocity(x, t)
    second = velocity(x + dt / 2 * first, half)
    third = velocity(x + dt / 2 * second, half)
    fourth = velocity(x + dt * third, later)
    return x + dt / 6 * (first + 2 * second + 2 * third + fourth)


STEPPERS: dict[str, Stepper] = {
    "euler": euler_step,
    "midpoint": midpoint_step,
    "heun": heun_step,
    "kutta": kutta_step,
}


def integrate(
    velocity: Velocity, x: Tensor, grid: Sequence[float], step: Stepper = heun_step
) -> Tensor:
    """x carried along the velocity from the grid's first time to its last.

    Example:
        >>> end = integrate(lambda x, t: x, torch.ones(1), time_grid(100))
        >>> round(float(end), 3)
        2.718
    """
    for t, later in pairwise(grid):
        x = step(velocity, x, t, later)
    return x


def euler_maruyama(
    drift: Velocity,
    diffusion: Callable[[float], float],
    x: Tensor,
    grid: Sequence[float],
    noise: Callable[[], Tensor],
) -> Tensor:
    """x carried along dx = drift(x, t) dt + diffusion(t) dW, forwards in time.

    Args:
        drift: as a velocity.
        diffusion: g(t), the size of the noise per square root of time.
        x: (n, ...).
        grid: rising times.
        noise: returns a fresh standard normal draw of x's shape, called once a step.
    """
    for t, later in pairwise(grid):
        x = euler_step(drift, x, t, later) + diffusion(t) * (later - t) ** 0.5 * noise()
    return x


def divergence(
    velocity: Velocity, x: Tensor, t: float, probe: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The velocity at x and its divergence, the trace of dv/dx.

    Args:
        x: (n, ...), d numbers per example.
        probe: draws of x's shape with mean 0 and covariance I: Hutchinson's unbiased estimate
            (of least variance for signs +1 and -1), one backward pass. None: exact, d passes.

    Returns:
        velocity (n, ...) and divergence (n,), both without gradient.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        v = velocity(x, t)
        if probe is not None:
            (row,) = torch.autograd.grad(v, x, probe)  # (n, ...): probe^T dv/dx
            return v.detach(), (row * probe).flatten(1).sum(dim=1)
        total = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        flat = v.flatten(1)  # (n, d)
        for i in range(flat.shape[1]):
            (row,) = torch.autograd.grad(flat[:, i].sum(), x, retain_graph=True)
            total = total + row.flatten(1)[:, i]
    return v.detach(), total


def integrate_density(
    velocity: Velocity,
    x: Tensor,
    grid: Sequence[float],
    step: Stepper = heun_step,
    probe: Callable[[], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """x carried along the velocity, and the integral of the divergence on the way.

    By the instantaneous change of variables, log p(x, last) = log p(x, first) - integral.

    Args:
        probe: returns a fresh draw of signs of x's shape, called at every evaluation, so that
            the errors of the estimates average out along the way; None for exact divergence.

    Returns:
        x at the grid's last time (n, ...) and the integral (n,).
    """
    n = len(x)

    def both(state: Tensor, t: float) -> Tensor:
        at = state[:, :-1].reshape(x.shape)  # (n, d) -> (n, ...)
        v, change = divergence(velocity, at, t, probe() if probe else None)
        return torch.cat([v.reshape(n, -1), change[:, None]], dim=1)  # (n, d + 1)

    start = torch.cat([x.reshape(n, -1), x.new_zeros(n, 1)], dim=1)  # (n, d + 1)
    end = integrate(both, start, grid, step)
    return end[:, :-1].reshape(x.shape), end[:, -1]
