"""What is installed in this interpreter, and whether it fits together. No engine is imported."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    entry_points,
    packages_distributions,
    version,
)
from typing import Any

from dynamo_core.args.groups import RuntimeSettings
from dynamo_core.deploy.describe import load
from dynamo_core.deploy.installed import GROUP
from dynamo_core.deploy.installed import components as installed_components
from dynamo_core.doctor.findings import Finding

CORE, RUNTIME = "dynamo-core", "ai-dynamo-runtime"
LOAD_TIMEOUT = 30.0
"""Seconds for loading the compiled library, which takes 0.2."""


def python(_: RuntimeSettings) -> Iterator[Finding]:
    """The interpreter, against what each package declares."""
    found = platform.python_version()
    specifiers = _packaging("specifiers")
    for ours in _ours() if specifiers else ():
        needed = ours.metadata["Requires-Python"]
        if needed and not specifiers.SpecifierSet(needed).contains(found, prereleases=True):
            fix = f"make a virtual environment with Python {needed}"
            yield Finding("error", "Python", f"{found}, but {ours.name} needs {needed}", fix)
            return
    yield Finding("ok", "Python", f"{found} ({sys.executable})")


def packages(_: RuntimeSettings) -> Iterator[Finding]:
    """Our packages, and whether what they require, engines above all, is here in that version."""
    requirement = _packaging("requirements")
    if requirement is None:
        yield Finding("warning", "packages", "requirements were not checked", "pip install packaging")
    of_core = {needed.name for needed in _needed(distribution(CORE), requirement)}
    for ours in _ours():
        needed = _needed(ours, requirement)
        if problems := [problem for each in needed if (problem := _problem(ours, each))]:
            yield from problems
            continue
        own = [" ".join(_provider(each.name)) for each in needed if each.name not in (CORE, *of_core)]
        brings = f" with {', '.join(own)}" if own and ours.name not in (CORE, RUNTIME) else ""
        yield Finding("ok", ours.name, ours.version + brings)


def runtime_library(_: RuntimeSettings) -> Iterator[Finding]:
    """Whether the compiled library loads, in a process of its own."""
    subject = "Rust runtime"
    found = version(RUNTIME)
    command = [sys.executable, "-c", "import dynamo._core"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        yield Finding("error", subject, f"{found} did not load within {LOAD_TIMEOUT:g} s")
        return
    if run.returncode == 0:
        yield Finding("ok", subject, f"{found} loads")
    else:
        why = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        fix = f"pip install --force-reinstall {RUNTIME}=={found}; it needs a Linux with glibc"
        yield Finding("error", subject, f"{found} does not load: {why}", fix)


def event_loop(_: RuntimeSettings) -> Iterator[Finding]:
    """uvloop, which every component runs on."""
    if importlib.util.find_spec("uvloop"):
        yield Finding("ok", "uvloop", version("uvloop"))
    else:
        yield Finding("error", "uvloop", "not installed, and components run on it", "pip install uvloop")


def components(_: RuntimeSettings) -> Iterator[Finding]:
    """Whether each installed component can be planned: its module is imported, its engine is not."""
    for name, module in installed_components().items():
        try:
            load(module).parser()
        except Exception as error:  # a component is anybody's code
            text = f"{module} is no component: {type(error).__name__}: {error}"
            yield Finding("error", name, text, "reinstall or uninstall its package")
            continue
        yield Finding("ok", name, module)


def _ours() -> list[Distribution]:
    """The core, the Rust runtime's wheel, and every package that has components."""
    found: dict[str, Distribution] = {}
    for name in (CORE, RUNTIME):
        found[name] = distribution(name)
    for point in entry_points(group=GROUP):
        if point.dist is not None:
            found[point.dist.name] = point.dist
    return list(found.values())


def _needed(ours: Distribution, requirement: Any) -> list[Any]:
    """What a package requires here and now, without its extras; nothing if that cannot be read."""
    every = [requirement.Requirement(text) for text in ours.requires or ()] if requirement else []
    return [needed for needed in every if not needed.marker or needed.marker.evaluate({"extra": ""})]


def _problem(ours: Distribution, needed: Any) -> Finding | None:
    name, found = _provider(needed.name)
    if found and needed.specifier.contains(found, prereleases=True):
        return None
    wanted = f"{needed.name}{needed.specifier}"
    what = f"found {name} {found}" if found else "which is not installed"
    fix = f'pip install "{wanted}"'
    return Finding("error", ours.name, f"{ours.version} needs {wanted}, {what}", fix)


def _provider(name: str) -> tuple[str, str]:
    """The distribution of a name, or another one that brings a module of that name, and its version;
    empty if there is none.

    An engine built for other hardware is often published under a name of its own.
    """
    try:
        return name, version(name)
    except PackageNotFoundError:
        for other in packages_distributions().get(name.replace("-", "_").lower(), ()):
            return other, version(other)
    return name, ""


def _packaging(module: str) -> Any:
    """The library that compares versions: nothing of ours needs it, but pip has a copy."""
    for package in ("packaging", "pip._vendor.packaging"):
        try:
            return importlib.import_module(f"{package}.{module}")
        except ImportError:
            continue
    return None
