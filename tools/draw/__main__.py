"""Entry point of `python -m tools.draw`."""

from tools.draw.build import main

if __name__ == "__main__":
    main()
