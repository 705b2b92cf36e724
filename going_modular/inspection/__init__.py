"""Look at a data set before training: what inspect_data.py is made of."""
