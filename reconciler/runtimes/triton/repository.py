"""Plans the model repository with which a release is served, from the names of its artifact's files. Pure.

An artifact is a Triton repository (a folder a model), one model's folder (`config.pbtxt` beside `1/`), or files alone:
`model.py`, `model.onnx`, `model.plan`, `model.xml`, or the weights of a language model, which the vLLM backend serves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from environments.errors import SluiceError
from reconciler.core.canonical import digest
from reconciler.core.model.release import Release
from reconciler.runtimes.triton.config import (
    BACKEND_OF,
    CONFIG,
    asked_versions,
    is_ensemble,
    read_config,
    served_config,
)
from reconciler.runtimes.triton.text import Message, Word, write_text

_VERSION = re.compile(r"[1-9][0-9]*")
_MEANT_AS_VERSION = re.compile(r"v[0-9]+|0[0-9]*", re.IGNORECASE)
_LINKED = ""


@dataclass(frozen=True)
class Repository:
    """What is to lie in a folder: `files` path → text, `links` path → path in the artifact (empty: all of it).

    `models` are what a server loads, the served one first; `version` is the served one's.
    """

    models: tuple[str, ...]
    version: int
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return a digest over everything that this says."""
        return digest([list(self.models), self.version, dict(self.files), dict(self.links)])


@dataclass(frozen=True)
class _Model:
    """One model of an artifact: where it lies in there, its files from there on, and its configuration."""

    name: str
    at: str
    files: tuple[str, ...]
    config: Message


def plan_repository(
    release: Release, files: Collection[str], configs: Mapping[str, str], *, model_path: str
) -> Repository:
    """Return the repository that serves a release under its endpoint's name.

    `files` are the artifact's, relative; `configs` the text of each of them that is called `config.pbtxt`; `model_path`
    is where the artifact is to the server.

    Raises:
        SluiceError: `RUN-007` the files are no model repository, `RUN-008` a configuration cannot be used.
    """
    if CONFIG in files:
        config = read_config(configs[CONFIG], where=f"{release.model.ref}/{CONFIG}", folder=None, files=files)
        return _alone(release, _Model(release.endpoint, "", tuple(sorted(files)), config))
    if any(name.endswith(f"/{CONFIG}") and name.count("/") == 1 for name in files):
        return _several(release, _models(release, files, configs))
    return _bare(release, sorted(files), model_path)


def _models(release: Release, files: Iterable[str], configs: Mapping[str, str]) -> list[_Model]:
    """Return the models of a repository, each with its configuration, sorted by name."""
    by_folder: dict[str, list[str]] = {}
    for name in sorted(files):
        folder, slash, rest = name.partition("/")
        if slash:
            by_folder.setdefault(folder, []).append(rest)
    lacking = sorted(folder for folder, names in by_folder.items() if CONFIG not in names)
    if lacking:
        raise _no_repository(
            release, f"{', '.join(lacking)} has no {CONFIG}", f"put a {CONFIG} into each model's folder"
        )
    return [
        _Model(folder, folder, tuple(names), read_config(
            configs[f"{folder}/{CONFIG}"], where=f"{release.model.ref}/{folder}/{CONFIG}", folder=folder, files=names
        ))
        for folder, names in sorted(by_folder.items())
    ]  # fmt: skip


def _several(release: Release, models: list[_Model]) -> Repository:
    """Return a repository of models; one alone is served as the endpoint, of several the one of that name is."""
    if len(models) == 1:
        return _alone(release, models[0])
    served = next((model for model in models if model.name == release.endpoint), None)
    if served is None:
        names = ", ".join(model.name for model in models)
        raise _no_repository(
            release,
            f'none of its models ({names}) is called "{release.endpoint}"',
            f'call the model that clients are to reach "{release.endpoint}", as the endpoint is called',
        )
    parts = [_alone(release, served)]
    parts += [
        _part(model, model.name, _version(release, model, {}), model.config) for model in models if model != served
    ]
    return Repository(
        models=tuple(name for part in parts for name in part.models),
        version=parts[0].version,
        files={path: text for part in parts for path, text in part.files.items()},
        links={path: target for part in parts for path, target in part.links.items()},
    )


def _alone(release: Release, model: _Model) -> Repository:
    version = _version(release, model, release.engine)
    name = release.endpoint
    config = served_config(model.config, name=name, release=release.id, version=version, engine=release.engine)
    return _part(model, name, version, config)


def _part(model: _Model, name: str, version: int, config: Message) -> Repository:
    """Return one model's part: its configuration, the version that is served, and what lies beside the versions."""
    tops = sorted({file.partition("/")[0] for file in model.files})
    kept = [top for top in tops if top != CONFIG and (not _VERSION.fullmatch(top) or top == str(version))]
    prefix = f"{model.at}/" if model.at else ""
    files = {f"{name}/{CONFIG}": write_text(config)}
    if str(version) not in tops:  # an ensemble's: a folder without files has no digest, and so is not there
        files[f"{name}/{version}/.keep"] = ""
    return Repository((name,), version, files, {f"{name}/{top}": f"{prefix}{top}" for top in kept})


def _version(release: Release, model: _Model, engine: Mapping[str, Any]) -> int:
    """Return the version to serve: the one that is asked for, else the highest.

    Raises:
        SluiceError: `RUN-007` there is none, or a folder that was meant as one would be passed over.
    """
    folders = sorted({file.partition("/")[0] for file in model.files if "/" in file})
    where = f" of {model.name}" if model.at else ""
    found = [int(folder) for folder in folders if _VERSION.fullmatch(folder)]
    if odd := [folder for folder in folders if _MEANT_AS_VERSION.fullmatch(folder)]:
        raise _no_version(release, f"the version folder {odd[0]}{where} is not a number from 1 on")
    if not found and not is_ensemble(model.config):
        seen = f"only {', '.join(folders)}" if folders else "none"
        raise _no_version(release, f"no folder{where} is a version's: there is {seen}")
    found = found or [1]
    asked = engine.get("version")
    if asked is None:
        named = [version for version in asked_versions(model.config) if version in found]
        return max(named or found)
    if asked not in found:
        raise _no_version(release, f"engine.version asks for {asked}; there is {', '.join(map(str, found))}")
    return int(asked)


def _bare(release: Release, files: list[str], model_path: str) -> Repository:
    """Return the repository of files that come without a configuration."""
    inner = sorted(file for file in files if file.count("/") == 1 and file.partition("/")[2] in BACKEND_OF)
    if inner:
        backend = BACKEND_OF[inner[0].partition("/")[2]]
        return _alone(release, _Model(release.endpoint, "", tuple(files), Message((("backend", backend),))))
    model_file = next((file for file in files if file in BACKEND_OF), None)
    if model_file:
        return _one_version(release, Message((("backend", BACKEND_OF[model_file]),)), {}, linked=True)
    if "config.json" in files and any(file.endswith(".safetensors") for file in files):
        settings = {**release.engine.get("vllm", {}), "model": model_path}
        group = Message((("count", 1), ("kind", Word("KIND_MODEL"))))
        config = Message((("backend", "vllm"), ("instance_group", group)))
        text = json.dumps(settings, sort_keys=True, indent=1) + "\n"
        return _one_version(release, config, {"model.json": text}, linked=False)
    raise _no_repository(
        release,
        f"there is no {CONFIG} and no file that tells a backend",
        f"bring a {CONFIG}, or one of {', '.join(BACKEND_OF)}, or a language model's config.json and safetensors",
    )


def _one_version(release: Release, config: Message, texts: Mapping[str, str], *, linked: bool) -> Repository:
    name, version = release.endpoint, int(release.engine.get("version", 1))
    served = served_config(config, name=name, release=release.id, version=version, engine=release.engine)
    files = {f"{name}/{CONFIG}": write_text(served)}
    files |= {f"{name}/{version}/{file}": text for file, text in texts.items()}
    return Repository((name,), version, files, {f"{name}/{version}": _LINKED} if linked else {})


def _no_version(release: Release, why: str) -> SluiceError:
    return _no_repository(release, why, "put the model's files into a folder that is called by a number, such as 1")


def _no_repository(release: Release, why: str, do: str) -> SluiceError:
    return SluiceError(
        "RUN-007", where=release.model.ref, what=f"this is no model repository that Triton could serve: {why}", do=do
    )
