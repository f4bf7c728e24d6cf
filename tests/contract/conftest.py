"""Real servers that several contract suites share; each is started once a session, when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.ports import Store
from reconciler.store.connect import open_store
from tests.support.kubernetes.control_plane import ControlPlane, control_plane
from tests.support.kubernetes.hands import make_gateway
from tests.support.kubernetes.world import make_machines
from tests.support.servers.mlflow_server import running_mlflow
from tests.support.servers.postgres import PostgresServer, running_postgres


@dataclass
class Time:
    """A clock that stands still until a test moves it."""

    now: float = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass(frozen=True)
class Database:
    """An empty database of one kind. `time` is what its stores take for the time."""

    kind: str
    url: str
    home: Path
    time: Time = field(default_factory=Time)

    def open(self, *, own_clock: bool = False) -> Store:
        """Open it as a new process would; with `own_clock` leases go by the database's own clock."""
        return open_store(self.url, home=self.home, clock=None if own_clock else self.time)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a running PostgreSQL server."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.engine)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Return an empty database, of each kind in turn."""
    home = tmp_path / ".sluice"
    if request.param == "sqlite":
        return Database("sqlite", "sqlite:///.sluice/test.db", home)
    server: PostgresServer = request.getfixturevalue("postgres")
    return Database("postgresql", server.new_database(), home)


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running MLflow server."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="package")
def cluster() -> Iterator[ControlPlane]:
    """Return a running control plane with fake machines of the pool `l4` and the Gateway of the environment `test`."""
    with control_plane() as plane:
        make_gateway(plane, "test")
        make_machines(plane)
        yield plane
