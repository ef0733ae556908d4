"""Proof that the suite can fail: faults put into the layer's source one by one, the suite run on each."""
