"""The inside of `metrics.py` and `evaluate.py`: scores, curves, uncertainty, leaks, explanations, the report."""
