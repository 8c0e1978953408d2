"""Whether a model can be what the user meant, before an engine spends minutes finding out."""

from __future__ import annotations

import logging
from pathlib import Path

from dynamo_core.errors import UserError

logger = logging.getLogger(__name__)


def check_model(model: str) -> None:
    """Raise `UserError` if `model` is a path to nothing, or a folder that holds no model.

    Anything that is no path is taken for a Hugging Face model id; since the engine may then
    download it, that is said.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            found = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
            raise UserError(
                f"--model: the folder {model} is no model: it has no config.json (found: {found})",
                fix="give the folder that holds config.json, the tokenizer and the weights",
            )
    elif path.exists():
        raise UserError(
            f"--model: {model} is a file; a model is a folder with config.json, a tokenizer and weights",
            fix=f"give the folder that holds it, {path.parent}",
        )
    elif _is_path(model):
        raise UserError(f"--model: there is no folder {model}", fix="check the path")
    else:
        logger.info(
            "%s is no local folder: taking it for a Hugging Face model id, which may be downloaded", model
        )


def _is_path(model: str) -> bool:
    """Model ids look like `name` or `owner/name`."""
    return model.startswith(("/", ".", "~")) or model.count("/") > 1
