"""Run the command line with ``python -m skytool``."""

from skytool.cli.main import main

if __name__ == "__main__":
    main()
