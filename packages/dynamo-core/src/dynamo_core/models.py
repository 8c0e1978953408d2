"""What can be known of a model and its engine before minutes are spent on starting them."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from dynamo_core import interpreter
from dynamo_core.elsewhere import has_own_files
from dynamo_core.errors import UserError

logger = logging.getLogger(__name__)

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tiktoken.model")


def check_model(model: str) -> None:
    """Raise `UserError` if `model` is a path to nothing, or a folder that holds no model.

    Anything that is no path is taken for a Hugging Face model id; since the engine may then
    download it, that is said.
    """
    path = Path(model).expanduser()
    try:
        path.exists()
    except OSError as error:
        raise UserError(f"--model: {model[:80]!r} is no path: {error.strerror}") from None
    if path.is_dir():
        if not (path / "config.json").is_file():
            found = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
            raise UserError(
                f"--model: the folder {model} is no model: it has no config.json (found: {found})",
                fix="give the folder that holds config.json, the tokenizer and the weights",
            )
        if not any((path / name).exists() for name in TOKENIZERS):
            raise UserError(
                f"--model: the folder {model} has no tokenizer; the frontend reads one of "
                f"{', '.join(TOKENIZERS)}",
                fix="add the tokenizer that the model was trained with",
            )
    elif path.exists():
        raise UserError(
            f"--model: {model} is a file; a model is a folder with config.json, a tokenizer and weights",
            fix=f"give the folder that holds it, {path.parent}",
        )
    elif _is_path(model):
        if has_own_files():
            return
        raise UserError(f"--model: there is no folder {model}", fix="check the path")
    else:
        logger.info(
            "%s is no local folder: taking it for a Hugging Face model id, which may be downloaded", model
        )


@contextlib.contextmanager
def engine_import(engine: str, fix: str) -> Iterator[None]:
    """Wrap the import of an engine: if it is not installed, `UserError` says `fix`, how to install it."""
    try:
        with interpreter.importing():
            yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != engine:
            raise
        raise UserError(f"{engine} is not installed in {sys.prefix}", fix=fix) from None


def _is_path(model: str) -> bool:
    """Model ids look like `name` or `owner/name`."""
    return model.startswith(("/", ".", "~")) or model.count("/") > 1
