"""What commands print: output that may be cut off, as by `| head`, and errors of any number."""

from __future__ import annotations

import os
import re
import sys

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def visible(text: str, keep: str = "\n\t") -> str:
    """Text with its control characters written out, so that no file can talk to the terminal."""
    return _CONTROL.sub(lambda match: match[0] if match[0] in keep else repr(match[0])[1:-1], text)


def emit(text: str) -> None:
    """Print to stdout. A reader that has gone is no error: the process ends with 0, as if it had read."""
    try:
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # What is left in the buffer would fail again, and loudly, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def each_problem(problems: str) -> list[str]:
    """The problems in a message; lines that begin with a space belong to the one before them."""
    return re.split(r"\n(?! )", problems)


def complain(prog: str, problems: str) -> None:
    """Print an error to stderr: one in a line, several in a list below their number."""
    problems = visible(problems)
    found = each_problem(problems)
    if len(found) == 1:
        print(f"{prog}: error: {problems}", file=sys.stderr)
        return
    print(f"{prog}: error: {len(found)} problems", file=sys.stderr)
    for problem in found:
        print("\n".join(f"  {line}" for line in problem.splitlines()), file=sys.stderr)
