"""Builds the wheel: every package of the repository goes below `sluice`, so that a user's own `policies` stays theirs.

Hatch calls it (`pyproject.toml`). In the repository the folders keep their names and import each other by them, which
is what mypy, import-linter and editors understand without help. In the wheel the same files stand below `sluice`, and
the absolute imports between them name it: a rewrite of import statements alone, found by Python's own parser, line for
line. What names a module as text asks `environments/here.py`. An editable install keeps the repository's names.
"""

from __future__ import annotations

import ast
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = ("environments", "components", "policies", "reconciler", "loadtests", "stacks")
DATA = ("requirements/vllm.txt", "requirements/vllm-wheel.txt", "requirements/triton.txt")
# What is the repository's own: its environments, and programs that the engine runs by their path.
_OURS_ALONE = (
    *(f"environments/{name}.yaml" for name in ("dev", "staging", "prod")),
    "stacks/*/Pulumi.*.yaml",
    "stacks/*/__main__.py",
    "policies/__main__.py",
)
_COMMAND = 'from {module} import main\n\nif __name__ == "__main__":\n    main()\n'


class NamespacedWheel(BuildHookInterface):  # type: ignore[type-arg]
    """Hands Hatch the files of the wheel, made in a temporary folder."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files that this kind of wheel has."""
        self._made = Path(tempfile.mkdtemp(prefix="sluice-wheel-"))
        if version == "editable":
            command = self._made / "__main__.py"
            command.write_text(_COMMAND.format(module="reconciler.cli.main"))
            build_data["force_include_editable"] = {str(command): "sluice/__main__.py"}
            return
        write(Path(self.root), self._made / "sluice")
        build_data["force_include"][str(self._made / "sluice")] = "sluice"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the temporary folder."""
        shutil.rmtree(self._made, ignore_errors=True)


def write(root: Path, into: Path) -> None:
    """Write the whole namespace: packages with their imports moved, data as it is, and what `sluice` runs."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            name = file.relative_to(root)
            if file.is_file() and "__pycache__" not in name.parts and _belongs(name):
                target = into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if file.suffix == ".py":
                    target.write_text(moved(file.read_text(), str(name)))
                else:
                    target.write_bytes(file.read_bytes())
    for data in DATA:
        (into / data).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / data, into / data)
    (into / "__init__.py").write_text('"""Sluice: LLM releases as code, promoted by evidence."""\n')
    (into / "__main__.py").write_text(_COMMAND.format(module="sluice.reconciler.cli.main"))
    (into / "py.typed").touch()


def moved(source: str, name: str) -> str:
    """Return a module's source with its absolute imports of our packages below `sluice`; every line stays a line.

    Raises:
        ValueError: an import that binds the package's own name (`import policies.x`), which a rewrite would change.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name.partition(".")[0] in PACKAGES for alias in node.names):
            raise ValueError(f"{name}:{node.lineno}: write `from PACKAGE import …`, which the wheel can move")
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").partition(".")[0] in PACKAGES:
            line = lines[node.lineno - 1]
            before, after = line[: node.col_offset], line[node.col_offset :]
            lines[node.lineno - 1] = before + after.replace(f"from {node.module} ", f"from sluice.{node.module} ", 1)
    return "".join(lines)


def _belongs(name: Path) -> bool:
    return not any(name.match(each) for each in _OURS_ALONE)
