"""How long a person waits for `sluice --help` and for a plan with nothing to do, and what dominates.

`python -m tests.bench.cli`: whole processes, the median of several runs, beside a bare Python that does nothing.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.doubles import SERVE_COMMAND, model_folder

RUNS = 11
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|(\s+)(\S+)")
SLUICE = ("-m", "reconciler.cli.main")
ENVIRONMENT = """environment: bench
owner: bench
store: sqlite:///.sluice/bench.db
regions: {{local: {{platform: local, gateway_port: {port}, serve_command: {command}}}}}
endpoints:
  chat:
    team: bench
    runtime: vllm
    gpus_per_replica: 0
    release: {{model: "file:models/v1"}}
    rollout: {{bake_s: 0, warmup_requests: 1}}
"""


def main() -> None:
    """Print both figures against their limits, and the dearest imports of each."""
    bare = median_ms(("-c", "pass"), {})
    print(f"python -c pass                        {bare:7.0f} ms")
    help_ms = median_ms((*SLUICE, "--help"), {})
    print(f"sluice --help                         {help_ms:7.0f} ms   limit 300   {help_ms / bare:.1f} x bare Python")
    print_imports((*SLUICE, "--help"), {})
    with tempfile.TemporaryDirectory() as folder:
        environ = prepare(Path(folder))
        try:
            run((*SLUICE, "apply", "bench", "--yes"), environ)
            plan_ms = median_ms((*SLUICE, "plan", "bench"), environ)
            said = run((*SLUICE, "plan", "bench"), environ)
            assert "Nothing to do" in said, said
            ratio = plan_ms / bare
            print(f"sluice plan, nothing to do            {plan_ms:7.0f} ms   limit 1000  {ratio:.1f} x bare Python")
            print_imports((*SLUICE, "plan", "bench"), environ)
        finally:
            run((*SLUICE, "down", "bench"), environ)


def prepare(folder: Path) -> dict[str, str]:
    """Make a project with one model and return the environment variables that lead to it."""
    model_folder(folder / "models", "v1")
    (folder / "environments").mkdir()
    text = ENVIRONMENT.format(port=_free_port(), command=list(SERVE_COMMAND))
    (folder / "environments" / "bench.yaml").write_text(text)
    return {"SLUICE_HOME": str(folder / ".sluice"), "SLUICE_ENVIRONMENTS": str(folder / "environments")}


def run(arguments: Sequence[str], environ: dict[str, str]) -> str:
    """Run Python with these arguments and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environ}, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def median_ms(arguments: Sequence[str], environ: dict[str, str]) -> float:
    """Return the median wall time of a whole process in milliseconds, after one run that warms the caches."""
    run(arguments, environ)
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run(arguments, environ)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def print_imports(arguments: Sequence[str], environ: dict[str, str]) -> None:
    """Print the dearest top-level imports, in milliseconds."""
    told = run(("-X", "importtime", *arguments), environ)
    outer = [(int(m[2]) / 1000, m[4]) for m in _IMPORT.finditer(told) if len(m[3]) == 1]
    inner = [(int(m[2]) / 1000, m[4]) for m in _IMPORT.finditer(told) if "." not in m[4] and len(m[3]) > 1]
    dearest = sorted({name: ms for ms, name in [*inner, *outer]}.items(), key=lambda item: -item[1])[:6]
    print("    dearest imports: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in dearest))


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
