"""Puts the stand-ins into an environment: `python install.py`, run by that environment's own Python."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

MODULE = "sglang_cpu_stand_ins"


def main() -> None:
    site_packages = Path(sysconfig.get_path("purelib"))
    shutil.copy(Path(__file__).with_name(f"{MODULE}.py"), site_packages)
    (site_packages / f"{MODULE}.pth").write_text(f"import {MODULE}\n", encoding="utf-8")
    print(f"SGLang's CPU stand-ins are in {site_packages}")


if __name__ == "__main__":
    main()
