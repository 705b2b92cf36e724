"""Entry point of `python -m tools.render_sample`."""

from tools.render_sample.cli import main

if __name__ == "__main__":
    main()
