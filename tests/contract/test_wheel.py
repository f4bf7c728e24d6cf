"""The wheel beside a user's own modules called `policies` and `components`, from `sluice init` to a reviewed plan."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]

# Python that refuses the names of this repository: an import that the wheel did not move fails here and nowhere else.
BLOCK = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ImportError("the wheel imports " + name)
sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """Return the build hook as a module."""
    spec = importlib.util.spec_from_file_location("namespaced_wheel", ROOT / ".ci" / "namespaced_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as pip does, and unpack it into a folder that stands on the import path."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = str(Path(sys.executable).with_name("uv"))
    environ = os.environ | {"UV_OFFLINE": "1"}
    build = [uv, "build", "--quiet", "--wheel", "--no-build-isolation", "-o", str(folder), str(ROOT)]
    subprocess.run(build, check=True, env=environ | {"VIRTUAL_ENV": sys.prefix})
    (wheel,) = folder.glob("*.whl")
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
    subprocess.run([*install, "--target", str(folder / "site"), str(wheel)], check=True, env=environ)
    return folder / "site"


def run(site: Path, hook: ModuleType, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder with the wheel on its path and this repository out of reach."""
    blocked = BLOCK.format(names=set(hook.PACKAGES))
    code = (
        blocked + "import runpy\nsys.argv = ['sluice', *sys.argv[1:]]\nrunpy.run_module('sluice', run_name='__main__')"
    )
    environ = {**os.environ, "PYTHONPATH": str(site), "MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "NO_COLOR": "1"}
    command = [sys.executable, "-P", "-c", code, *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_every_module_of_the_wheel_imports_without_this_repository(site: Path, hook: ModuleType) -> None:
    code = BLOCK.format(names=set(hook.PACKAGES)) + (
        "import importlib, pathlib\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "for file in sorted((root / 'sluice').rglob('*.py')):\n"
        "    name = '.'.join(file.relative_to(root).with_suffix('').parts)\n"
        "    if 'migrations' in name or name.endswith(('__main__', 'locustfile')):\n"
        "        continue\n"
        "    importlib.import_module(name.removesuffix('.__init__'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(site)],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_wheel_takes_one_name_and_leaves_all_others_to_users(site: Path) -> None:
    assert {path.name for path in site.iterdir() if path.is_dir() and "dist-info" not in path.name} <= {"sluice", "bin"}
    text = next(site.glob("sluice-*.dist-info/entry_points.txt")).read_text()
    assert "sluice = sluice.__main__:main" in text


def test_from_init_to_a_reviewed_plan_beside_modules_of_the_same_names(
    site: Path, hook: ModuleType, tmp_path: Path
) -> None:
    made = run(site, hook, tmp_path, "init", "own", "--owner", "search")
    assert made.returncode == 0, made.stderr
    own = tmp_path / "own"
    for name in ("policies", "components"):
        (own / name).mkdir(exist_ok=True)
        (own / name / "__init__.py").write_text("raise RuntimeError('this is the user\\'s own')\n")
    git(own, "init", "-q")
    git(own, "add", ".")
    git(own, "commit", "-q", "-m", "begin")
    file = own / "environments" / "dev.yaml"
    file.write_text(file.read_text().replace("mlflow:chat-llm/1 ", "mlflow:chat-llm/2 "))
    planned = run(site, hook, own, "plan", "dev", "--against", "HEAD", "--json")
    assert planned.returncode == 0, planned.stderr
    (change,) = [c for c in json.loads(planned.stdout)["changes"] if c["action"] != "none"]
    assert change["address"] == "dev/eu-central-1/chat"
    assert {"path": "model", "from": "mlflow:chat-llm/1", "to": "mlflow:chat-llm/2"} in change["fields"]
    assert run(site, hook, own, "init", "--upgrade", "--json").returncode == 0


def test_a_pulumi_program_of_a_new_repository_finds_its_environment(
    site: Path, hook: ModuleType, tmp_path: Path
) -> None:
    """Its four lines are run with a stand-in for the engine: the stacks load the user's file, not one of ours."""
    assert run(site, hook, tmp_path, "init", ".").returncode == 0
    project = tmp_path / "stacks" / "foundation"
    code = BLOCK.format(names=set(hook.PACKAGES)) + (
        "import pulumi\n"
        "pulumi.get_stack = lambda: 'dev'\n"
        "import sluice.stacks.foundation.program as program\n"
        "program.build = lambda found: print(found.environment, found.owned)\n"
        "import runpy; runpy.run_path('__main__.py')\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=project, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, "dev.yaml has no infrastructure block yet, and the program says which key is missing"
    assert "INFRA-" in done.stderr
    assert "dev" in done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from policies.x import y\n", "from sluice.policies.x import y\n"),
        ("    from reconciler import z  # policies\n", "    from sluice.reconciler import z  # policies\n"),
        ("from environments.a import (\n    b,\n)\n", "from sluice.environments.a import (\n    b,\n)\n"),
        ("from policies_of_mine import x\n", "from policies_of_mine import x\n"),
        ("from . import policies\n", "from . import policies\n"),
        ("words = 'from policies.x import y'\n", "words = 'from policies.x import y'\n"),
    ],
)
def test_only_import_statements_of_our_packages_are_moved(hook: ModuleType, before: str, after: str) -> None:
    indented = before.startswith(" ")
    prefix = "if True:\n" if indented else ""
    assert hook.moved(prefix + before, "x.py") == prefix + after


def test_an_import_that_cannot_be_moved_ends_the_build(hook: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"x.py:1"):
        hook.moved("import policies.x\n", "x.py")
