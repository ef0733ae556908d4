"""The conformance suite: the 162 cases, their inputs, reference and judgement, and the platforms they
run on.
"""
