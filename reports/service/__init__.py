"""The service: keeps reports by their digest, answers with verdicts on them. `tritonmoe serve` starts it."""
