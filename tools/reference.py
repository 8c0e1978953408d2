"""Write docs/reference: a page per component, from its declarations.

    python tools/reference.py [--check]

Run it after a setting has changed. With --check nothing is written; the exit code is 1 if a page is
not current.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dynamo_core.args.reference import reference_page
from dynamo_core.deploy.describe import load
from dynamo_core.deploy.installed import components

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only tell which pages are not current")
    check = parser.parse_args().check
    FOLDER.mkdir(exist_ok=True)
    stale = []
    for name, module in components().items():
        page, path = reference_page(name, load(module).parser()), FOLDER / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != page:
            stale.append(path.name)
            if not check:
                path.write_text(page, encoding="utf-8")
    if stale:
        print(f"{'not current' if check else 'written'}: {', '.join(stale)}")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
