"""`sluice policy`: what the policies are, why, and what they say of an environment. Read only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import environment_options, json_option, load_environment, print_json
from reconciler.core.wording import number_of

if TYPE_CHECKING:
    from policies.policy import Policy
    from reconciler.core.model.finding import Finding

EXIT_DENIED, EXIT_FAILED = 3, 1


@click.group()
def policy() -> None:
    """List, explain, check and test policies."""


@policy.command(name="list")
@environment_options
@click.option("--env", "kind", default="prod", hidden=True, help="Whose default levels to show without ENV.")
@json_option
def list_(env: str | None, file: Path | None, kind: str, as_json: bool) -> int:
    """List every policy with its level: the one in force with ENV, the default of production without."""
    from policies.catalog import CATALOG, policies_of
    from policies.policy import kind_of

    spec = load_environment(env, file).spec if env or file else None
    policies = policies_of(spec) if spec else CATALOG
    if as_json:
        print_json([_to_json(each) | ({"level": each.level(spec)} if spec else {}) for each in policies])
        return 0
    for each in policies:
        level = each.level(spec) if spec else each.levels[kind_of(kind)]
        click.echo(f"{each.id:10} {level:5} {each.subject:15} {each.title}")
    return 0


@policy.command()
@click.argument("id")
@environment_options
@json_option
def explain(id: str, env: str | None, file: Path | None, as_json: bool) -> int:
    """Say what a policy asks for, why, and how to comply; or what an error's code means.

    With ENV it also knows the policies of that file's own, and says which level is in force there.
    """
    from environments.error_codes import find_code
    from policies.catalog import find_policy
    from policies.own import is_own

    if is_own(id) or env or file:
        return _explain_in(id, env, file, as_json=as_json)
    if code := find_code(id.upper()):
        if as_json:
            print_json(vars(code))
        else:
            click.echo(f"{code.code}  {code.title}\n  when: {code.when}\n  do:   {code.do}")
        return 0
    found = find_policy(id.upper())
    if as_json:
        print_json(_to_json(found))
        return 0
    _say(found)
    levels = ", ".join(f"{kind} {level}" for kind, level in sorted(found.levels.items()))
    click.echo(f"  levels: {levels}")
    return 0


def _explain_in(id: str, env: str | None, file: Path | None, *, as_json: bool) -> int:
    """Explain a policy as an environment has it: one of its own, or a shipped one at its level there."""
    from environments.errors import SluiceError, nearest
    from policies.catalog import policies_of

    if env is None and file is None:
        raise SluiceError(
            "CLI-002",
            what=f"{id} is a policy of an environment file, and none is named",
            why="its rule stands in that file",
            do=f"sluice policy explain {id} ENV",
        )
    spec = load_environment(env, file).spec
    known = {each.id: each for each in policies_of(spec)}
    found = known.get(id) or known.get(id.upper())
    if found is None:
        raise SluiceError(
            "CLI-002",
            where=spec.environment,
            what=f'there is no policy "{id}" in this environment',
            do=f"sluice policy list {spec.environment} ({nearest(id, known)})",
        )
    declared = spec.policies.get(found.id)
    rule = declared.model_dump(mode="json", exclude_defaults=True, exclude_none=True) if declared else {}
    if as_json:
        print_json(_to_json(found) | {"level": found.level(spec), "declared": rule})
        return 0
    _say(found)
    click.echo(f"  level in {spec.environment}: {found.level(spec)}")
    for key in ("match", "variables", "validations"):
        for each in rule[key] if isinstance(rule.get(key), list) else [rule[key]] if key in rule else []:
            click.echo(f"  {key}: " + ", ".join(f"{name} {value}" for name, value in each.items()))
    return 0


def _say(found: Policy) -> None:
    click.echo(f"{found.id}  {found.title}\n  why:  {found.why}\n  fix:  {found.fix}")


@policy.command()
@environment_options
@json_option
@click.option("--sarif", type=click.Path(path_type=Path, dir_okay=False), help="Also write SARIF 2.1.0 to this file.")
def check(env: str | None, file: Path | None, as_json: bool, sarif: Path | None) -> int:
    """Check an environment file, with its suites and profiles, against the policies; exits 3 when one denies.

    Looks at files alone: nothing that is live is read, and no server is asked.
    """
    from datetime import UTC, datetime

    from environments.errors import SpecError
    from policies.plans import check_spec
    from reconciler.compose import checks_of
    from reconciler.output.sarif import sarif_of

    loaded = load_environment(env, file)
    checks, names = checks_of(loaded), sorted(loaded.spec.endpoints)
    if problems := [*checks.engine_problems(names), *checks.gate_problems(names)]:
        raise SpecError(problems)
    findings = check_spec(loaded.spec, now=datetime.now(UTC))
    if sarif:
        text = json.dumps(sarif_of(findings, loaded.lines, loaded.spec), indent=1, sort_keys=True)
        sarif.write_text(text + "\n")
    if as_json:
        print_json({"environment": loaded.spec.environment, "findings": [f.to_json() for f in findings]})
    else:
        _print(findings)
    return EXIT_DENIED if any(f.level == "deny" for f in findings) else 0


@policy.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...", type=click.Path(path_type=Path, exists=True))
@json_option
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write JUnit XML to this file.")
def test(paths: tuple[Path, ...], as_json: bool, junit: Path | None) -> int:
    """Run the cases of policies: files called *.cases.yaml, those of the folder policies/ unless some are named.

    A case is an environment file with edits, changes and facts, and the findings that have to come. Reads files alone.
    Exits 1 when a case fails.
    """
    from reconciler.cli.policy_test import json_of, junit_of, run_files, text_of

    results = run_files(paths)
    if junit:
        junit.write_text(junit_of(results), encoding="utf-8")
    if as_json:
        print_json(json_of(results))
    else:
        click.echo(text_of(results))
    return EXIT_FAILED if any(not each.good for outcomes in results.values() for each in outcomes) else 0


def _print(findings: tuple[Finding, ...]) -> None:
    for found in findings:
        click.echo(f"{found.level:5} {found.policy}  {found.address}\n      {found.message}")
    denied = sum(f.level == "deny" for f in findings)
    verb = "denies" if denied == 1 else "deny"
    click.echo(f"{number_of(len(findings), 'finding')}, {denied} of them {verb}")


def _to_json(found: Policy) -> dict[str, object]:
    return {
        "id": found.id,
        "title": found.title,
        "why": found.why,
        "fix": found.fix,
        "levels": dict(found.levels),
        "subject": found.subject,
    }
