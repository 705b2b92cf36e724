"""The inside of `data_setup.py`: images and folders of them, their sources and splits, features on disk."""
