"""Build the engines once: `python -m tests.builds.build [NAME…]`; needs Go 1.26 and a module proxy, nothing else.

Imports the catalog and the standard library. Called by `make test`, by CI, and by people.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.builds.catalog import ENGINES, Engine, Files, built, engine

_NO_GO = "Go is not on PATH; install Go 1.26 or later (https://go.dev/doc/install), then run this again"


def fingerprint(wanted: Engine) -> str:
    """Return a digest of everything that decides what is built: both module files, flags, packages and files."""
    told: tuple[object, ...] = (wanted.binaries, wanted.ldflags, wanted.files)
    if wanted.tags or wanted.supplied:
        told += (wanted.tags, wanted.supplied)
    digest = hashlib.sha256(repr(told).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((wanted.folder / name).read_bytes())
    return digest.hexdigest()


def is_built(wanted: Engine) -> bool:
    """Return whether what is there was built from exactly these module files."""
    stamp = _stamp(wanted)
    programs = all((built() / "bin" / name).exists() for name, _ in wanted.binaries)
    return programs and stamp.exists() and stamp.read_text() == fingerprint(wanted)


def main(arguments: Sequence[str]) -> int:
    """Build what is named, or everything; return the exit code."""
    try:
        wanted = [engine(name) for name in arguments] or list(ENGINES)
    except KeyError as unknown:
        print(unknown.args[0], file=sys.stderr)
        return 1
    with _alone():
        to_do = [e for e in wanted if not is_built(e)]
        for ready in (e for e in wanted if e not in to_do):
            _say(f"{ready.name}: built")
        if to_do and shutil.which("go") is None:
            return _without_go(to_do)
        return max([_build(e) for e in to_do], default=0)


def _without_go(to_do: Sequence[Engine]) -> int:
    names = ", ".join(e.name for e in to_do)
    print(f"MISSING: {names}\n  why: {_NO_GO}\n  so:  tests that need them are skipped", file=sys.stderr)
    return 1 if os.environ.get("CI", "").lower() in ("true", "1") else 0


def _build(wanted: Engine) -> int:
    began = time.monotonic()
    _say(f"{wanted.name}: building (minutes when Go's own cache is cold)")
    try:
        with _sources(wanted) as modules:
            for name, package in wanted.binaries:
                _compile(wanted, name, package, modules)
        for into in {files.into for files in wanted.files}:
            shutil.rmtree(built() / into, ignore_errors=True)  # a newer module may call its files otherwise
        for files in wanted.files:
            _copy(wanted, files)
    except subprocess.CalledProcessError as failed:
        _say(f"{wanted.name}: FAILED\n{failed.stdout or ''}{failed.stderr or ''}")
        return 1
    _stamp(wanted).parent.mkdir(parents=True, exist_ok=True)
    _stamp(wanted).write_text(fingerprint(wanted))
    _say(f"{wanted.name}: built in {time.monotonic() - began:.0f} s")
    return 0


def _compile(wanted: Engine, name: str, package: str, modules: Sequence[str]) -> None:
    """Build one program beside its place, then rename it, because the old one may be running."""
    target = built() / "bin" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    flags = [*modules, "-tags", wanted.tags, "-ldflags", wanted.ldflags]
    _go(wanted, "build", *flags, "-o", str(fresh), package)
    fresh.rename(target)


@contextmanager
def _sources(wanted: Engine) -> Iterator[tuple[str, ...]]:
    """Give the flags that name another go.mod, where copies of modules stand in that hold what is supplied."""
    if not wanted.supplied:
        yield ()
        return
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(wanted.folder / name, here / name)
        for supplied in wanted.supplied:
            copy = here / supplied.module
            if not copy.exists():
                found = json.loads(_go(wanted, "mod", "download", "-json", supplied.module).stdout)
                shutil.copytree(found["Dir"], copy, copy_function=shutil.copyfile)
                for inner in (copy, *copy.rglob("*/")):  # Go's module cache is read-only
                    inner.chmod(0o755)
                _go(wanted, "mod", "edit", "-replace", f"{supplied.module}={copy}", str(here / "go.mod"))
            (copy / supplied.path).parent.mkdir(parents=True, exist_ok=True)
            (copy / supplied.path).write_text(supplied.text)
        yield ("-modfile", str(here / "go.mod"))


def _copy(wanted: Engine, files: Files) -> None:
    """Copy files out of the module cache; an empty match is an error, because the module has moved them."""
    found = json.loads(_go(wanted, "mod", "download", "-json", files.module).stdout)
    target = built() / files.into
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted(Path(found["Dir"]).glob(files.pattern))
    if not sources:
        raise subprocess.CalledProcessError(1, "copy", stderr=f"{files.module} holds no {files.pattern}\n")
    if files.tree:
        shutil.copytree(sources[0], target, copy_function=shutil.copyfile, dirs_exist_ok=True)
        return
    for source in sources:
        (target / source.name).unlink(missing_ok=True)
        shutil.copyfile(source, target / source.name)


def _go(wanted: Engine, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    return subprocess.run(
        ["go", *arguments], cwd=wanted.folder, env=environment, check=True, text=True, capture_output=True
    )


def _stamp(wanted: Engine) -> Path:
    return built() / "stamp" / wanted.name


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the build lock; a second caller waits, and then finds everything built."""
    built().mkdir(parents=True, exist_ok=True)
    with (built() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another build is running: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
