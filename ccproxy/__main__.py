"""``python -m ccproxy`` is ``cc-boost``."""

from .cli import main

if __name__ == "__main__":
    main()
