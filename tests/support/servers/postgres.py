"""Run a real PostgreSQL server for tests, on a Unix socket in a folder of its own, as an ordinary user."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.lifeline import dies_with_parent, missing

_ROLE = "sluice"
_START_S = 60.0
_WITHOUT_PORT = "listen_addresses="
_OPTIONS = (_WITHOUT_PORT, "max_connections=60", "shared_buffers=16MB")


@dataclass
class PostgresServer:
    """A server that can be stopped and started again; every test takes a database of its own."""

    binaries: Path
    folder: Path
    user: str | None
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_database(self) -> str:
        """Create an empty database and return its address."""
        name = f"t{next(self._numbers)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{_ROLE}@/{name}?host={self.folder}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        command += [part for option in _OPTIONS for part in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                preexec_fn=dies_with_parent(signal.SIGQUIT),
                user=self.user,
                group=_group(self.user),
                extra_groups=None if self.user is None else [],
            )
        self._wait()

    def stop(self) -> None:
        """Stop the server at once, as a crash of its machine would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=30)
            self.process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                self.sql("postgres", "SELECT 1")
                return
            if self.process is None or self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def sql(self, database: str, statement: str) -> None:
        """Run a statement as the server's owner."""
        import psycopg

        with psycopg.connect(host=str(self.folder), user=_ROLE, dbname=database, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server until the block ends."""
    binaries = _binaries()
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="sluice-pg-", dir="/tmp"))
    try:
        if user:
            shutil.chown(folder, user)
        initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", _ROLE, "-A", "trust", "-E", "UTF8"]
        extra: list[int] | None = None if user is None else []
        subprocess.run(
            [*initdb, "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
            user=user,
            group=_group(user),
            extra_groups=extra,
        )
        server = PostgresServer(binaries, folder, user)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _group(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _binaries() -> Path:
    """Return the newest installed server's folder; PostgreSQL refuses to run as root, its programs need no path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    found += [Path(on_path).resolve().parent for on_path in [shutil.which("postgres")] if on_path]
    complete = [folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()]
    if complete:
        return complete[0]
    return missing("no PostgreSQL server on this machine", "install the Debian package: apt-get install postgresql")
