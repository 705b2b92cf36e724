"""The seed of every split, head and order, unless a user names another."""

DEFAULT_SEED = 42
