"""Engines' metrics under common names."""

from __future__ import annotations

from dynamo_core.handlers.metrics import common_metrics

TEXT = """\
# HELP toy:tokens_total All tokens.
# TYPE toy:tokens_total counter
toy:tokens_total{rank="0",text="a b"} 3.0
# HELP toy:tokens_created All tokens.
# TYPE toy:tokens_created gauge
toy:tokens_created 1.7e+09
# HELP toy:first_seconds Time.
# TYPE toy:first_seconds histogram
toy:first_seconds_bucket{le="0.1"} 1.0
toy:first_seconds_bucket{le="+Inf"} 2.0
toy:first_seconds_count 2.0
toy:first_seconds_sum 0.5
# TYPE toy:other gauge
toy:other 1
"""
NAMES = {
    "dynamo_core_generated_tokens": "toy:tokens",
    "dynamo_core_time_to_first_token_seconds": "toy:first_seconds",
}


def test_what_all_engines_count_has_one_name() -> None:
    assert common_metrics(TEXT, NAMES) == (
        "# HELP dynamo_core_generated_tokens_total Tokens that the engine has generated.\n"
        "# TYPE dynamo_core_generated_tokens_total counter\n"
        'dynamo_core_generated_tokens_total{rank="0",text="a b"} 3.0\n'
        "# HELP dynamo_core_time_to_first_token_seconds From the request's arrival to its first token.\n"
        "# TYPE dynamo_core_time_to_first_token_seconds histogram\n"
        'dynamo_core_time_to_first_token_seconds_bucket{le="0.1"} 1.0\n'
        'dynamo_core_time_to_first_token_seconds_bucket{le="+Inf"} 2.0\n'
        "dynamo_core_time_to_first_token_seconds_count 2.0\n"
        "dynamo_core_time_to_first_token_seconds_sum 0.5\n"
    )


def test_an_engine_without_metrics_has_none() -> None:
    assert common_metrics("", NAMES) == common_metrics(TEXT, {}) == ""
