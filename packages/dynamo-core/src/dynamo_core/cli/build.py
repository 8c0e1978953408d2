"""`dynamo build PACKAGE…`: write what an image is built from; building it is podman's or docker's work."""

from __future__ import annotations

import shlex
from pathlib import Path

from dynamo_core.cli.parser import CommandParser
from dynamo_core.errors import UserError
from dynamo_core.printing import emit
from dynamo_core.targets.containerfile import Image

EPILOG = """\
The build's context is the folder with packages/, in which this command runs. The image runs as user 10001,
has what is installed here and nothing else, and names no entry point: a target's command is all of it."""


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo build",
        "Write a Containerfile for core and some packages of components, with the versions installed here.",
        EPILOG,
    )
    parser.add_argument(
        "packages", nargs="+", metavar="PACKAGE", help="such as vllm, vllm[disaggregation], or vllm frontend"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: images/PACKAGE")
    parser.add_argument("--base", metavar="IMAGE", help="default: Python's own of this version, slim")
    parser.add_argument("--index", action="append", default=[], metavar="URL", help="a further package index")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="leave out what the base image has, or what is asked for and not needed; can be repeated",
    )
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = build_parser().parse_args(argv)
    name = "-".join(word.partition("[")[0] for word in options.packages)
    output = options.output or Path("images", name)
    folder = _in_context(output)
    image = Image.of(options.packages, options.base, options.index, options.without)
    missing = [package for package in image.packages if not Path("packages", package).is_dir()]
    if missing:
        raise UserError(
            f"there is no packages/{missing[0]} in {Path.cwd()}",
            fix="run dynamo build at the top of a checkout, which is the build's context",
        )
    made_by = f"# Made by: {shlex.join(['dynamo', 'build', *argv])}\n"
    files = {
        "Containerfile": made_by + image.containerfile(folder),
        "Containerfile.dockerignore": made_by + image.ignored(folder),
        "requirements.txt": made_by + "".join(f"{one}\n" for one in image.requirements),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (output / file).write_text(text)
            emit(str(output / file))
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}", fix="give another -o") from None
    emit(
        f"\nnow: podman build -t dynamo-{name} -f {folder}/Containerfile "
        f"--ignorefile {folder}/Containerfile.dockerignore ."
    )
    return 0


def _in_context(output: Path) -> str:
    """The folder as a Containerfile names it. Raises `UserError` if the build could not see it."""
    here = Path.cwd()
    whole = (here / output).resolve()
    if not whole.is_relative_to(here):
        raise UserError(
            f"-o {output} is outside of {here}, which is the build's context", fix="give a folder within it"
        )
    return whole.relative_to(here).as_posix()
