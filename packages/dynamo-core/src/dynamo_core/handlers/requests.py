"""What every engine that samples tokens has to make of a request in the same way."""

from __future__ import annotations

from collections.abc import Mapping

from dynamo_core.errors import InvalidArgument
from dynamo_core.handlers.types import GuidedDecoding, Request, SamplingOptions

CONSTRAINTS = ("json", "regex", "choice", "grammar", "structural_tag")


def end_tokens(request: Request) -> set[int]:
    """Every token that may end the output, the model's own end tokens left out.

    Engines emit the token that they stopped at; it stays in the chunk, since the frontend hides it
    from the text and counts it.
    """
    stop = request.get("stop_conditions") or {}
    return {
        *(stop.get("stop_token_ids") or ()),
        *(stop.get("stop_token_ids_visible") or ()),
        *(stop.get("stop_token_ids_hidden") or ()),
    }


def refuse_beam_search(options: SamplingOptions, engine: str, reason: str) -> None:
    """Raise `InvalidArgument` for options that belong to beam search; `reason` says why there is none."""
    n = options.get("n") or 1
    best_of = options.get("best_of") or n
    length_penalty = options.get("length_penalty")
    if options.get("use_beam_search"):
        raise InvalidArgument(
            f"use_beam_search is not supported: {reason}; leave it out and set n for more choices"
        )
    if best_of != n:
        raise InvalidArgument(
            f"best_of must equal n, since {engine} returns every sequence that it generates, "
            f"but best_of is {best_of} and n is {n}; set n alone"
        )
    if length_penalty not in (None, 1.0):
        raise InvalidArgument(
            f"length_penalty belongs to beam search, which is not supported, but it is {length_penalty}; "
            "leave it out"
        )


def the_constraint(guided: GuidedDecoding) -> Mapping[str, object]:
    """The one constraint by name, empty if there is none. Raises `InvalidArgument` for several."""
    given: dict[str, object] = {
        name: value for name, value in guided.items() if name in CONSTRAINTS and value is not None
    }
    if len(given) > 1:
        names = [name for name in CONSTRAINTS if name in given]
        raise InvalidArgument(
            f"guided decoding takes one of {', '.join(CONSTRAINTS)}, "
            f"but {' and '.join(names)} are set; keep one"
        )
    return given


def max_new_tokens(request: Request, *, context: int, left: int, default: int | None) -> int:
    """How many tokens to generate at most, where `left` fit after this prompt.

    As the engines' own servers do it: a number that no prompt could ever leave room for is refused,
    one that this prompt leaves no room for is cut down to what is left.
    """
    wanted = (request.get("stop_conditions") or {}).get("max_tokens")
    if wanted is None:
        return left if default is None else min(left, default)
    if wanted > context:
        raise InvalidArgument(
            f"max_tokens must not be greater than the model's context of {context} tokens, "
            f"but it is {wanted}; ask for fewer, or leave it out to use what the prompt leaves"
        )
    return min(left, wanted)
