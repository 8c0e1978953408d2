"""Whether an engine package keeps every promise of `BaseWorker`:

    pytest --pyargs dynamo_core.testing.conformance --engine dynamo_vllm

The package says in its `conformance.toml` how its engine is started small (see
`dynamo_core.testing.engines`) and which promises cannot apply, with the reason; any other skip fails.
The result is a table; `--conformance-json FILE` writes it down too.
"""
