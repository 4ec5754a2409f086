"""`python -m recgauntlet` is the command `recgauntlet`."""

from recgauntlet.cli import main

if __name__ == "__main__":
    main()
