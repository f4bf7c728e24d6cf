"""What Pulumi runs in this folder; `stacks/foundation/program.py` is the program."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from stacks.foundation.program import main

main()
