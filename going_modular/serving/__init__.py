"""What export.py, compare.py and the like need: models that leave torch, and runs side by side."""
