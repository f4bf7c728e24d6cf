"""Whatever happens to the text of a file, `load` gives an environment or coded errors, and nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from environments.errors import SpecError
from tests.unit.environments.loading import BASE, load_text

PROD = (Path(__file__).parents[3] / "environments" / "prod.yaml").read_text()
MARKS = [
    ":",
    " ",
    "\t",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "!x ",
    "'",
    '"',
    "#",
    "|",
    ">",
    "? ",
    "<<: *a",
    "%",
    "@",
]
VALUES = ["", "null", "true", ".nan", "1e999", "-1", "0", "99999999999999999999", "2026-01-01", "${env:X}", "${env:"]
STRANGE = ["é", "\u2028", "\ufeff", "\x00", "---", "...", "file:x", "mlflow:a/1", "\\", "\U0001f600"]
SNIPPETS = (*MARKS, *VALUES, *STRANGE)

edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "delete", "duplicate", "swap", "cut", "value"]),
        st.integers(0, 200),
        st.integers(0, 60),
        st.sampled_from(SNIPPETS) | st.text(max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def edited(text: str, edit_list: list[tuple[str, int, int, str]]) -> str:
    """Return a file after these edits."""
    lines = text.splitlines()
    for kind, row, column, text in edit_list:
        row %= len(lines)
        line = lines[row]
        match kind:
            case "insert":
                lines[row] = line[:column] + text + line[column:]
            case "replace":
                lines[row] = line[:column] + text + line[column + len(text) :]
            case "delete":
                lines[row] = line[:column]
            case "duplicate":
                lines.insert(row, line)
            case "swap":
                lines[row], lines[column % len(lines)] = lines[column % len(lines)], line
            case "cut":
                lines = lines[: max(1, row)]
            case "value":
                lines[row] = f"{line.partition(':')[0]}: {text}"
            case _:
                pass
    return "\n".join(lines)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([BASE, PROD]), edits)
def test_edited_files(tmp_path: Path, text: str, edit_list: list[tuple[str, int, int, str]]) -> None:
    expect_environment_or_errors(edited(text, edit_list).encode("utf-8", "surrogatepass"), tmp_path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(tmp_path: Path, raw: bytes) -> None:
    expect_environment_or_errors(raw, tmp_path)


yaml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["a", "prod", "l4"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BLOCKS = ["regions", "waves", "endpoints", "policies", "teams", "registry", "infrastructure", "store", "owner"]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(BLOCKS), yaml_values, min_size=1, max_size=4))
def test_any_value_for_any_block(tmp_path: Path, blocks: dict[str, object]) -> None:
    import yaml

    expect_environment_or_errors(yaml.safe_dump({"environment": "base", **blocks}).encode(), tmp_path)


def expect_environment_or_errors(raw: bytes, folder: Path) -> None:
    """Load; on errors check that each is coded, says what, and points at a line of the file."""
    lines = raw.count(b"\n") + raw.count(b"\r") + raw.count(b"\x85") + raw.count(b"\xe2\x80") + 1
    try:
        load_text(raw, folder)
    except SpecError as error:
        for problem in error.problems:
            file, _, line = problem.where.rpartition(":")
            assert file == "environments/base.yaml"
            assert 1 <= int(line) <= lines
            assert problem.code.startswith("SPEC-0")
            assert problem.what
            assert "Input should" not in problem.what
