"""Makes the drawings of the notebooks; `python -m tools.draw`."""
