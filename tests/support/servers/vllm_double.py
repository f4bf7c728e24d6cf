"""A small server with vLLM's interface, metrics and command line, and faults that a test sets while it runs.

Use it as `serve_command: [PYTHON, tests/support/servers/vllm_double.py]`; `servers/vllm/faults.py` lists the faults.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Serve until SIGTERM. The repository root goes on the path because this file is run by its own name."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from tests.support.servers.vllm.server import run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
