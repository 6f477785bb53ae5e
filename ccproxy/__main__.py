"""``python -m ccproxy`` is ``cc-boost``."""

from .command_line import main

if __name__ == "__main__":
    main()
