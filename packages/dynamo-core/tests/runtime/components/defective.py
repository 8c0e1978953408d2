"""The answers component, with a defect in what watches over its registration."""

from __future__ import annotations

from typing import Any

import answers

from dynamo_core.runtime import component


async def stay_registered(*_: Any) -> None:
    raise ZeroDivisionError("the defect")


component.stay_registered = stay_registered

if __name__ == "__main__":
    answers.main()
