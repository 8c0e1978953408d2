"""The double's KV cache: blocks that are kept, found again, evicted, and told of in events."""

from __future__ import annotations

import hashlib
import itertools
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

WINDOW = 2048


class Block(NamedTuple):
    begin: int
    size: int
    hash: int
    """Unsigned, as published."""


class BlockCache:
    """The least recently used block goes first. A block's hash follows from all tokens up to its end."""

    def __init__(self, blocks: int, block_size: int, event_buffer: int) -> None:
        self.blocks = blocks
        self.block_size = block_size
        self.events: deque[dict[str, Any]] = deque(maxlen=event_buffer)
        self._held: OrderedDict[int, None] = OrderedDict()
        self._event_id = 0
        self._looked_up = self._found = 0
        self._tell({"type": "created", "num_blocks_per_cache_level": [blocks, 0]})

    @property
    def hit_rate(self) -> float:
        """The part of all blocks that were looked up and found."""
        return self._found / self._looked_up if self._looked_up else 0.0

    def reuse(self, tokens: Sequence[int]) -> int:
        """How many tokens at the beginning are there already."""
        blocks = self._blocks_of(tokens)
        found = list(itertools.takewhile(lambda block: block.hash in self._held, blocks))
        self._looked_up += len(blocks)
        self._found += len(found)
        return sum(block.size for block in found)

    def store(self, tokens: Sequence[int], *, partial: bool) -> None:
        """Keep the blocks of a sequence; with `partial` its unfinished last one, too."""
        blocks = [block for block in self._blocks_of(tokens) if partial or block.size == self.block_size]
        new = [block for block in blocks if block.hash not in self._held]
        for block in reversed(blocks):  # so that the last one goes first
            self._held[block.hash] = None
            self._held.move_to_end(block.hash)
        if new:
            before = blocks[: len(blocks) - len(new)]
            told = [_told(block, tokens) for block in new]
            self._tell({"type": "stored", "parent_hash": before[-1].hash if before else None, "blocks": told})
        evicted = [self._held.popitem(last=False)[0] for _ in range(len(self._held) - self.blocks)]
        if evicted:
            self._tell({"type": "removed", "block_hashes": evicted})

    def _blocks_of(self, tokens: Sequence[int]) -> list[Block]:
        found, state = [], hashlib.sha256()
        for begin in range(0, len(tokens), self.block_size):
            block = list(tokens[begin : begin + self.block_size])
            state.update(repr(block).encode())
            found.append(Block(begin, len(block), int.from_bytes(state.digest()[:8], "big")))
        return found

    def _tell(self, data: dict[str, Any]) -> None:
        self.events.append({"event_id": self._event_id, "data": data, "window_size": WINDOW})
        self._event_id += 1


def _told(block: Block, tokens: Sequence[int]) -> dict[str, Any]:
    ids = tokens[block.begin : block.begin + block.size]
    return {
        "block_hash": block.hash,
        "tokens": [{"token_id": token, "token_extra_id": 0} for token in ids],
        "cache_level": 0,
        "priority": 35,
    }
