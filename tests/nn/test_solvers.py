"""Solvers against closed forms: orders, inverses, traces, densities, noise."""

import itertools
import math

import pytest
import torch

from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.nn.solvers import (
    STEPPERS,
    divergence,
    euler_maruyama,
    integrate,
    integrate_density,
    time_grid,
)

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "kutta": 4}


def swirl(x, t):
    """A velocity that mixes places and time, with a trace that depends on both."""
    return torch.stack([x[:, 1] * x[:, 0] + t, x[:, 0].sin() + t * x[:, 1] ** 2], dim=1)


@pytest.mark.parametrize("shift", [0.5, 1.0, 4.0])
def test_time_grid_rises_from_0_to_1(shift):
    grid = time_grid(7, shift)
    assert grid[0] == 0
    assert grid[-1] == 1
    assert len(grid) == 8
    assert all(a < b for a, b in itertools.pairwise(grid))
    assert math.isclose(grid[-1] - grid[-2] < 1 / 7, shift > 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((0, 1.0), "steps must be a whole number above 0; got 0."), ((3, 0.0), "shift must be")],
)
def test_time_grid_errors_teach(arguments, text):
    with pytest.raises(UsageError, match=text):
        time_grid(*arguments)


@pytest.mark.parametrize("name", STEPPERS)
def test_each_solver_has_its_order(name):
    # dx/dt = x + t from x(0) = 1 ends at 2 e - 2.
    def error(steps):
        start = torch.ones(1, dtype=torch.float64)
        end = integrate(lambda x, t: x + t, start, time_grid(steps), STEPPERS[name])
        return abs(float(end) - (2 * math.e - 2))

    order = math.log2(error(40) / error(80))
    assert order == pytest.approx(ORDERS[name], abs=0.1)


@pytest.mark.parametrize("name", STEPPERS)
def test_backwards_undoes_forwards(name):
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(3, 2)
    grid = time_grid(400, 2.0)
    end = integrate(swirl, x, grid, STEPPERS[name])
    back = integrate(swirl, end, grid[::-1], STEPPERS[name])
    assert (end - x).abs().max() > 0.1
    assert torch.allclose(back, x, atol=2e-2 if name == "euler" else 1e-4)


def test_divergence_is_the_trace_of_the_jacobian():
    x = Draws(0).normal(5, 2)
    v, exact = divergence(swirl, x, 0.3)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: swirl(row[None], 0.3)[0]))(x)
    assert torch.equal(v, swirl(x, 0.3))
    assert torch.allclose(exact, jacobians.diagonal(dim1=1, dim2=2).sum(dim=1), atol=1e-6)
    assert not v.requires_grad
    assert not exact.requires_grad


def test_estimated_divergence_is_unbiased_over_all_signs():
    weight = Draws(1).normal(3, 3)
    x = Draws(2).normal(4, 3)

    def velocity(x, t):
        return (x @ weight).tanh()

    probes = [torch.tensor(s).expand(4, 3) for s in itertools.product((-1.0, 1.0), repeat=3)]
    estimates = torch.stack([divergence(velocity, x, 0.0, probe)[1] for probe in probes])
    assert estimates.std(dim=0).min() > 0.01
    assert torch.allclose(estimates.mean(dim=0), divergence(velocity, x, 0.0)[1], atol=1e-5)


def test_divergence_works_where_gradients_are_off():
    with torch.no_grad():
        _, exact = divergence(lambda x, t: x**2, torch.ones(2, 3), 0.0)
    assert torch.allclose(exact, torch.full((2,), 6.0))


def gaussian_velocity(mean, scale):
    """Of the straight path from N(0, 1) to N(mean, scale^2), by the normal's regression."""

    def velocity(x, t):
        variance = (1 - t) ** 2 + (t * scale) ** 2
        return mean + (t * scale**2 - (1 - t)) / variance * (x - t * mean)

    return velocity


@pytest.mark.parametrize("exact", [True, False])
def test_density_of_a_gaussian_is_its_closed_form(exact):
    mean, scale = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.3, 2.0, 1.0])
    normal = torch.distributions.Normal(mean, scale)
    x = mean + scale * Draws(0).normal(50, 3)
    rng = Draws(1)
    probe = None if exact else lambda: 2.0 * rng.integers(2, 50, 3) - 1  # a diagonal has no noise
    grid = time_grid(200)[::-1]
    z, change = integrate_density(gaussian_velocity(mean, scale), x, grid, probe=probe)
    found = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=1) + change
    assert torch.allclose(z, (x - mean) / scale, atol=2e-3)
    assert torch.allclose(found, normal.log_prob(x).sum(dim=1), atol=2e-3)


def test_pictures_keep_their_shape_on_the_way():
    x = Draws(0).normal(2, 1, 3, 3)
    end, change = integrate_density(lambda x, t: -x, x, time_grid(50))
    assert end.shape == x.shape
    assert torch.allclose(end, x * math.exp(-1), atol=1e-3)
    assert torch.allclose(change, torch.full((2,), -9.0), atol=1e-4)


def test_euler_maruyama_has_the_variance_of_its_recursion():
    # dx = -x dt + sqrt(2) dW by steps of h: variance <- (1 - h)^2 variance + 2 h.
    steps, n, rng = 5, 200_000, Draws(0)
    end = euler_maruyama(
        lambda x, t: -x,
        lambda t: math.sqrt(2),
        torch.zeros(n, 1),
        time_grid(steps),
        lambda: rng.normal(n, 1),
    )
    expected = 0.0
    for _ in range(steps):
        expected = (1 - 1 / steps) ** 2 * expected + 2 / steps
    assert float(end.var()) == pytest.approx(expected, rel=0.015)
    assert float(end.mean()) == pytest.approx(0.0, abs=0.01)


def test_euler_maruyama_without_noise_is_euler():
    x = Draws(0).normal(3, 2)
    silent = euler_maruyama(swirl, lambda t: 0.0, x, time_grid(9), lambda: torch.ones(3, 2))
    assert torch.equal(silent, integrate(swirl, x, time_grid(9), STEPPERS["euler"]))
