"""A tiny process that keeps one server running: starts it, restarts it with growing pauses, ends it when told to.

Imports only the standard library, and little of it, because one such process runs beside every server. `processes`
runs it as `python -I -S supervisor.py SPECFILE` and imports it for the names of its files.

The process that is run leaves its work to a child with a session of its own and ends, so that no command owns the
server; it prints `ok` when the server's process exists and the state is on disk, or one line that says why not. From
then on `state.json` beside the spec says what runs; it is replaced by renaming, so a reader never sees half of it.
SIGTERM ends server and supervisor. When the supervisor itself is killed, the kernel kills the server.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

MARK = "SLUICE_SUPERVISED"
"""Set in every server's environment to its folder, so that the owner of an orphan process can be identified."""
SPEC, STATE, LOCK, LOG = "supervised.json", "state.json", "supervisor.lock", "server.log"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 20
_EXEC_FAILED = 127


def start_mark(pid: int) -> str | None:
    """Return what tells this process from a later one with the same number, None when it is gone or a zombie.

    Source: proc(5), field 22 of /proc/PID/stat (ticks between boot and start), joined to the boot's id.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read(8).decode()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else f"{boot}-{fields[19].decode()}"


class Supervisor:
    """One server and its history. `spec` is what `processes.launch` wrote; times are epoch seconds."""

    def __init__(self, folder: str, spec: dict[str, Any]) -> None:
        self.folder, self.spec = folder, spec
        self.log = os.open(os.path.join(folder, LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        import ctypes  # only here: importing this module for `start_mark` is to stay cheap

        self.libc = ctypes.CDLL(None, use_errno=True)
        self.child = 0
        self.restarts = 0
        self.started_at = 0.0
        self.last_exit: dict[str, Any] | None = None
        self.saved = True

    def run(self, started: int) -> None:
        """Keep the server running until told to end it; say `ok` on the file descriptor `started` after its start."""
        pause = self.spec["pause_first_s"]
        while True:
            self.start()
            self.save("running")
            if not self.saved and not self.restarts:
                # Nobody could find a server whose state was never written.
                _tell(started, "its state could not be written to disk")
                self.end()
                return
            _tell(started, "ok")
            if self.watch():
                break
            if time.time() - self.started_at >= self.spec["stable_s"]:
                pause = self.spec["pause_first_s"]
            self.save("waiting", next_at=time.time() + pause)
            if self.told_to_end(pause):
                break
            pause = min(2 * pause, self.spec["pause_last_s"])
            self.restarts += 1
        self.save("ended")

    def start(self) -> None:
        """Start the server in a session of its own; the kernel kills it when this process dies."""
        me, self.started_at = os.getpid(), time.time()
        self.child = os.fork()
        if self.child:
            self.note(f"started process {self.child}")
            return
        try:
            os.setsid()
            self.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != me:
                os._exit(_EXEC_FAILED)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(self.log, 1)
            os.dup2(self.log, 2)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.chdir(self.spec["cwd"])
            os.execvpe(self.spec["command"][0], self.spec["command"], os.environ | {MARK: self.folder})
        except OSError as error:
            os.write(2, f"sluice: {self.spec['command'][0]} cannot be started: {error}\n".encode())
        finally:
            os._exit(_EXEC_FAILED)

    def watch(self) -> bool:
        """Wait for the server's end; return True when it was this process that was told to end."""
        while os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if self.told_to_end(self.spec["look_s"], until_exit=True):
                self.end()
                return True
            self.shorten_log()
            if not self.saved:
                self.save("running")
        self.reap()
        return False

    def told_to_end(self, seconds: float, *, until_exit: bool = False) -> bool:
        """Wait for a signal; return whether it asks for the end. With `until_exit` the server's end wakes it too."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            found = signal.sigtimedwait(_SIGNALS, left)
            if found is None:
                return False
            if found.si_signo != signal.SIGCHLD:
                return True
            if until_exit:
                return False
        return False

    def end(self) -> None:
        """End the server: SIGTERM, time to finish what is in flight, SIGKILL. A second SIGTERM cuts the time short.

        The first SIGTERM is for the server alone, which tells its own children: vLLM's engine process that gets it
        from both hangs with the streams in flight (seen with vLLM 0.32).
        """
        self.save("ending")
        os.kill(self.child, signal.SIGTERM)
        until = time.monotonic() + self.spec["grace_s"]
        while os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            left = until - time.monotonic()
            if left <= 0 or self.told_to_end(left, until_exit=True):
                _signal_group(self.child, signal.SIGKILL)
                os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOWAIT)
        self.reap()

    def reap(self) -> None:
        """Kill what the server left in its group, then take its exit status: before that its number is not reused."""
        _signal_group(self.child, signal.SIGKILL)
        _, status = os.waitpid(self.child, 0)
        code = os.waitstatus_to_exitcode(status)
        lasted = round(time.time() - self.started_at, 1)
        self.last_exit = {"pid": self.child, "code": code, "at": time.time(), "after_s": lasted}
        self.note(f"process {self.child} ended with {code} after {lasted} s")
        self.child = 0

    def save(self, phase: str, **more: Any) -> None:
        """Replace `state.json`; a full disk is noted and tried again, and does not end the server."""
        me = os.getpid()
        child = {"pid": self.child, "start": start_mark(self.child)} if self.child else None
        state = {
            "phase": phase,
            "supervisor": {"pid": me, "start": start_mark(me)},
            "server": child,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            **more,
        }
        path = os.path.join(self.folder, STATE)
        try:
            with open(path + ".new", "w", encoding="utf-8") as file:
                json.dump(state, file)
            os.replace(path + ".new", path)
            self.saved = True
        except OSError as error:
            self.saved = False
            self.note(f"the state could not be written: {error}")

    def shorten_log(self) -> None:
        """Move a long log's content to `server.log.1`; the server goes on writing to the same file."""
        path, limit = os.path.join(self.folder, LOG), self.spec["log_bytes"]
        try:
            if os.fstat(self.log).st_size <= limit:
                return
            with open(path, "rb") as old, open(path + ".1", "wb") as kept:
                old.seek(-limit, os.SEEK_END)
                while chunk := old.read(_CHUNK):
                    kept.write(chunk)
            os.ftruncate(self.log, 0)
        except OSError as error:
            self.note(f"the log could not be shortened: {error}")

    def note(self, text: str) -> None:
        """Write a line of our own into the server's log, if there is room for it."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            os.write(self.log, f"{stamp} sluice: {text}\n".encode())
        except OSError:
            return


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return


def _tell(pipe: int, text: str) -> None:
    """Say one line to whoever started us, once; they may be gone."""
    try:
        os.write(pipe, text.encode())
        os.dup2(os.open(os.devnull, os.O_WRONLY), pipe)
    except OSError:
        return


def _detach() -> None:
    """Go on in a child with a session of its own; the process that was started ends."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _hold(folder: str, inherited: list[int]) -> int | None:
    """Lock the folder for life and keep the ports' locks out of the server; None when someone supervises it."""
    for descriptor in inherited:
        os.set_inheritable(descriptor, False)
    lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return lock


def main(spec_file: str) -> None:
    """Supervise what the spec file says."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    folder = os.path.dirname(os.path.abspath(spec_file))
    with open(spec_file, encoding="utf-8") as file:
        spec = json.load(file)
    _detach()
    lock = _hold(folder, spec["port_locks"])
    if lock is None:
        _tell(1, "another supervisor has this folder already")
        return
    try:
        Supervisor(folder, spec).run(started=1)
    except OSError as error:
        _tell(1, f"the supervisor failed: {error}")
        raise


if __name__ == "__main__":
    main(sys.argv[1])
