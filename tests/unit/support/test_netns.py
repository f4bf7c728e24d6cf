"""The rig's network: every pod's address is one machine's, doors lead in, and nothing outlives a killed test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.kubernetes.rig.netns import Netns, netns, start
from tests.support.processes import ROOT

pytestmark = pytest.mark.engine
_SERVE = (
    "import http.server as h, sys\n"
    "class A(h.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        body = self.connection.getsockname()[0].encode()\n"
    "        self.send_response(200); self.send_header('content-length', str(len(body))); self.end_headers()\n"
    "        self.wfile.write(body)\n"
    "h.ThreadingHTTPServer(('0.0.0.0', 8000), A).serve_forever()\n"
)
_ASK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=30).read().decode(), end='')"
_KILLED = """
import sys, time
from pathlib import Path
from tests.support.kubernetes.rig.netns import netns, start
from tests.support.kubernetes.rig.rig import swept
folder = Path(sys.argv[1])
with netns() as place, swept(folder):
    inside = start(place.command(["sleep", "600"], Path("/")), None)
    place.outside(8000)
    print(inside.pid, *place.children(), flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Netns]:
    """Return a network in which one server answers at port 8000, with the address that was called."""
    with netns() as found:
        serving = start(found.command([sys.executable, "-c", _SERVE], Path("/")), subprocess.DEVNULL)
        try:
            while not _answers(found.outside(8000)):
                assert serving.poll() is None
                time.sleep(0.05)
            yield found
        finally:
            serving.kill()
            serving.wait()


def asked(place: Netns, address: str) -> str:
    """Return what answers at an address in there."""
    command = place.command([sys.executable, "-c", _ASK, f"http://{address}:8000/"], Path("/"))
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("address", ["10.244.1.10", "10.244.200.3", "127.0.0.1"])
def test_one_server_answers_for_every_pod_and_knows_which_was_called(place: Netns, address: str) -> None:
    assert asked(place, address) == address


def test_a_door_leads_in_from_this_machine_and_is_opened_once(place: Netns) -> None:
    port = place.outside(8000)
    assert place.outside(8000) == port
    assert httpx.get(f"http://127.0.0.1:{port}/").text == "127.0.0.1"


def test_a_door_to_a_port_where_nobody_listens_is_shut(place: Netns) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{place.outside(8001)}/")


def test_when_the_test_is_killed_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    command = [sys.executable, "-c", _KILLED, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        inside = [int(word) for word in test.stdout.readline().split()]
        assert len(inside) == 3
        assert all(psutil.pid_exists(pid) for pid in inside)
        os.kill(test.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(_runs(pid) for pid in inside) or folder.exists():
        assert time.monotonic() < deadline, (inside, folder.exists())
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").is_success
    except httpx.TransportError:
        return False


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
