"""Timing and tuning on a GPU: `tritonmoe bench` and `tritonmoe tune`."""
