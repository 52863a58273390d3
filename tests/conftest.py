"""What all tests share: one thread under xdist, and the toys in the registry."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from likewise.core import registry
from tests import toys


@pytest.fixture(scope="session", autouse=True)
def _threads():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _toys():
    """The toy families and domains, as a user's own package would add them."""
    for name, family in toys.FAMILIES.items():
        registry.add("families", name, family)
    for name, domain in toys.DOMAINS.items():
        registry.add("domains", name, domain)
    yield
    for name in toys.FAMILIES:
        registry.remove("families", name)
    for name in toys.DOMAINS:
        registry.remove("domains", name)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
