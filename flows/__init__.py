"""Prefect flows: schedule, retry, concurrency, parameters and artifacts around the evaluator."""
