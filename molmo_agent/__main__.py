"""``python -m molmo_agent`` is the ``agent`` command."""

from molmo_agent.cli import main

if __name__ == "__main__":
    main()
