"""Run a real PgBouncer before a PostgreSQL server: each transaction may get another connection, as in production."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.lifeline import dies_with_parent, missing
from tests.support.servers.postgres import PostgresServer

_START_S = 30.0
_SETTINGS = """[databases]
* = host={server} user=sluice
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 50
logfile = {folder}/log
"""


@contextlib.contextmanager
def pooled(server: PostgresServer, url: str) -> Iterator[str]:
    """Give the address of a server's database behind a pooler in transaction mode."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    if program is None:
        missing("no PgBouncer on this machine", "install the Debian package: apt-get install pgbouncer")
    folder = server.folder / "pooler"
    folder.mkdir()
    if server.user:
        shutil.chown(folder, server.user)
    (folder / "settings.ini").write_text(_SETTINGS.format(folder=folder, server=server.folder))
    database = url.partition("@/")[2].partition("?")[0]
    process = subprocess.Popen(
        [program, str(folder / "settings.ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=dies_with_parent(),
        user=server.user,
        extra_groups=[] if server.user else None,
    )
    try:
        _wait(process, folder)
        yield f"postgresql+psycopg://postgres@/{database}?host={folder}&port=6432"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not (folder / ".s.PGSQL.6432").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PgBouncer did not start:\n{(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.02)
