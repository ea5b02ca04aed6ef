"""`python -m vecna`: the command line."""

from vecna.cli import main

if __name__ == "__main__":
    main()
