"""What a handler has ready for a request and nobody has taken yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PER_TOKEN = ("token_ids", "log_probs", "top_logprobs")
_OPEN = frozenset(("index", "cum_log_probs", *_PER_TOKEN))
"""The keys of a chunk that another one of the same choice may follow in the same chunk."""


class Outbox:
    """Chunks in order. Those that follow each other within one choice become one, since a chunk costs the
    same whatever it holds; anything else, of handlers that are no engine's too, stays as it is.

    Not safe for several threads at once.
    """

    __slots__ = ("_chunks", "_own", "tokens")

    def __init__(self) -> None:
        self._chunks: list[Any] = []
        self._own: dict[str, Any] | None = None
        """The last chunk if it was made here; the handler's own are never changed."""
        self.tokens = 0
        """How many tokens are in here; what is no chunk of tokens counts as one."""

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def add(self, chunk: Any) -> None:
        tokens = chunk.get("token_ids") if isinstance(chunk, dict) else None
        self.tokens += len(tokens) if isinstance(tokens, list) else 1
        if not self._chunks or not _follows(self._chunks[-1], chunk):
            self._chunks.append(chunk)
            return
        last = self._chunks[-1]
        if last is not self._own:
            last = self._own = {k: list(v) if k in _PER_TOKEN else v for k, v in last.items()}
            self._chunks[-1] = last
        for name, value in chunk.items():
            if name in _PER_TOKEN:
                last.setdefault(name, []).extend(value)
            else:
                last[name] = value

    def take(self) -> list[Any]:
        """Everything, which is gone from here."""
        chunks, self._chunks = self._chunks, []
        self._own = None
        self.tokens = 0
        return chunks


def _follows(last: Any, chunk: Any) -> bool:
    """Whether `chunk` goes on where `last` ends: the same choice, and the same lists about its tokens."""
    if not isinstance(last, dict) or not isinstance(chunk, dict):
        return False
    if not isinstance(last.get("token_ids"), list) or not isinstance(chunk.get("token_ids"), list):
        return False
    if not last.keys() <= _OPEN or (last.get("index") or 0) != (chunk.get("index") or 0):
        return False
    return not (last["token_ids"] and chunk["token_ids"]) or _about(last) == _about(chunk)


def _about(chunk: Mapping[str, Any]) -> list[bool]:
    return [name in chunk for name in _PER_TOKEN]
