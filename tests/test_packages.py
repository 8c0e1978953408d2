"""Each package as its users get it: a wheel, installed alone into a clean environment."""

from __future__ import annotations

import ast
import email
import json
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
ENGINES = {"dynamo-vllm": "vllm", "dynamo-sglang": "sglang", "dynamo-trtllm": "tensorrt-llm"}
PACKAGES = ["dynamo-core", "dynamo-frontend", "dynamo-mocker", *ENGINES]
PLAIN = [name for name in PACKAGES if name not in ENGINES]
MODULES = {
    "dynamo-core": ["dynamo_core.testing.scripted"],
    "dynamo-frontend": ["dynamo_frontend", "dynamo_frontend.router"],
    "dynamo-mocker": [f"dynamo_mocker.{name}" for name in ("worker", "prefill", "decode", "echo")],
    **{
        package: [f"{package.replace('-', '_')}.{name}" for name in ("worker", "prefill", "decode")]
        for package in ENGINES
    },
}
SCRIPTS = {
    "dynamo-core": "dynamo",
    "dynamo-frontend": "dynamo-frontend",
    "dynamo-mocker": "dynamo-mocker-worker",
    "dynamo-vllm": "dynamo-vllm-worker",
    "dynamo-sglang": "dynamo-sglang-worker",
    "dynamo-trtllm": "dynamo-trtllm-worker",
}
DISTRIBUTIONS = {
    "dynamo": "ai-dynamo-runtime",
    "PIL": "pillow",
    "opentelemetry": "opentelemetry-proto",
    "pynvml": "nvidia-ml-py",
    "tensorrt_llm": "tensorrt-llm",
    "yaml": "pyyaml",
}
"""Import names that differ from the name of what provides them."""
CONFORMANCE = "dynamo_core/testing/conformance/"
"""Tests that are meant for the users of a package."""
HEAVY = ("torch", "vllm", "sglang", "tensorrt_llm", "mpi4py")
"""Modules that nobody may import but a worker that starts."""
BY_ITS_ENGINE = {"nixl"}
"""Asked for by us, imported by the engine."""
IN_TESTING_ONLY = {"dynamo-core": {"numpy", "pillow", "safetensors", "torch", "transformers"}}
"""Imported by a package's testing module where an engine has brought them."""


@dataclass(frozen=True)
class Built:
    wheel: Path
    metadata: Message

    @property
    def names(self) -> list[str]:
        return zipfile.ZipFile(self.wheel).namelist()

    @property
    def requirements(self) -> list[Requirement]:
        return [Requirement(line) for line in self.metadata.get_all("Requires-Dist") or []]


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="session")
def built(dist: Path) -> dict[str, Built]:
    found = {}
    for name in PACKAGES:
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist)]
        subprocess.run([*command, str(ROOT / "packages" / name)], check=True, capture_output=True)
        wheel = next(dist.glob(f"{name.replace('-', '_')}-*.whl"))
        archive = zipfile.ZipFile(wheel)
        metadata = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        found[name] = Built(wheel, email.message_from_bytes(archive.read(metadata)))
    return found


@pytest.fixture(scope="session", params=PACKAGES)
def environment(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    built: dict[str, Built],
    dist: Path,
) -> tuple[str, Path]:
    """A package's name and the interpreter of an environment that has nothing else of ours.

    An engine package goes in without its engine, which is gigabytes: core first, then `--no-deps`.
    """
    name = request.param
    folder = tmp_path_factory.mktemp(name) / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--find-links", str(dist)]
    if name in ENGINES:
        subprocess.run([*pip, str(built["dynamo-core"].wheel)], check=True)
        subprocess.run([*pip, "--no-deps", str(built[name].wheel)], check=True)
    else:
        subprocess.run([*pip, str(built[name].wheel)], check=True)
    return name, python


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_has_types_and_no_tests(built: dict[str, Built], name: str) -> None:
    names = built[name].names
    assert f"{name.replace('-', '_')}/py.typed" in names
    tests = [entry for entry in names if re.search(r"(^|/)(tests?|conftest)(/|\.py$|_)", entry)]
    assert not [entry for entry in tests if not entry.startswith(CONFORMANCE)]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_console_script_of_a_component_is_known_as_one(name: str) -> None:
    """Completion, schemas and the reference find components by these entry points."""
    project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]
    scripts = {script: target for script, target in project["scripts"].items() if script != "dynamo"}
    components = project.get("entry-points", {}).get("dynamo.components", {})
    assert components.keys() == scripts.keys()
    assert all(scripts[script].startswith(module) for script, module in components.items())


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_declares_exactly_what_it_imports(built: dict[str, Built], name: str) -> None:
    own = name.replace("-", "_")
    imported = {module for module in _imports(ROOT / "packages" / name / "src") if module != own}
    declared = {r.name.lower().replace("-", "_") for r in built[name].requirements}
    needed = {DISTRIBUTIONS.get(module, module).lower().replace("-", "_") for module in imported}
    assert needed - IN_TESTING_ONLY.get(name, set()) == declared - BY_ITS_ENGINE


@pytest.mark.parametrize(("name", "engine"), ENGINES.items())
def test_an_engine_package_depends_on_core_and_its_engine(
    built: dict[str, Built], name: str, engine: str
) -> None:
    """P14 (ai-dynamo #4865, #14334): installing one engine brings no other."""
    declared = {requirement.name for requirement in built[name].requirements if not requirement.marker}
    assert {"dynamo-core", engine} <= declared
    assert not declared & ({*PACKAGES, *ENGINES.values()} - {"dynamo-core", engine})


@pytest.fixture(scope="session")
def traps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which importing any engine, or what it brings, ends the process."""
    folder = tmp_path_factory.mktemp("traps")
    for engine in HEAVY:
        (folder / f"{engine}.py").write_text("import os\nos._exit(77)\n")
    return {"PYTHONPATH": str(folder)}


def test_importing_it_imports_no_engine(environment: tuple[str, Path], traps: dict[str, str]) -> None:
    """P16 (ai-dynamo #5960, #992, #5948): nor where engines are installed."""
    name, python = environment
    for module in MODULES[name]:
        if module == "dynamo_core.testing.scripted":
            module = "dynamo_core.runtime, dynamo_core.handlers, dynamo_core.args, dynamo_core.deploy"
        code = f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))"
        loaded = set(json.loads(_run(python, "-c", code, env=traps)))
        assert not loaded & {*HEAVY, "dynamo._core"}


def test_nothing_heavy_is_installed(environment: tuple[str, Path]) -> None:
    """P14 (ai-dynamo #4865): all that a package brings besides its engine is light."""
    _, python = environment
    installed = {
        entry["name"].lower() for entry in json.loads(_run(python, "-m", "pip", "list", "--format=json"))
    }
    assert not installed & {"torch", "vllm", "sglang", "transformers", "numpy"}


def test_help_works_without_the_engine(environment: tuple[str, Path]) -> None:
    name, python = environment
    script = python.with_name(SCRIPTS[name])
    assert "usage:" in _run(script, "--help")
    for module in MODULES[name]:
        assert "--discovery-backend" in _run(python, "-m", module, "--help")


def test_its_dependencies_fit_together(environment: tuple[str, Path]) -> None:
    """P14 (ai-dynamo #14334)."""
    name, python = environment
    if name in PLAIN:
        assert "No broken requirements" in _run(python, "-m", "pip", "check")


@pytest.mark.parametrize("environment", ENGINES, indirect=True)
def test_a_missing_engine_says_what_to_install(environment: tuple[str, Path], tmp_path: Path) -> None:
    name, python = environment
    model = tmp_path / "model"
    model.mkdir()
    for file in ("config.json", "tokenizer.json"):
        (model / file).write_text("{}")
    command = [python, "-m", MODULES[name][0], "--model", model, "--discovery-path", tmp_path / "discovery"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert f"pip install {name}" in result.stderr
    assert "Traceback" not in result.stderr


def _imports(folder: Path) -> set[str]:
    """The top-level names of all that a package's files import, outside of the standard library."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names)


def _run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=120, env=env, check=False
    )
    assert result.returncode == 0, f"{result.returncode}: {result.stderr}"
    return result.stdout
