"""The inside of `fine_tune.py`, from its settings to the files of a finished run."""
