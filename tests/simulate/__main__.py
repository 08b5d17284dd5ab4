"""Write the small night: ``python -m tests.simulate data/fixtures``."""

import sys
from pathlib import Path

from tests.simulate.night import write_night


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.simulate FOLDER\n")
        return 2
    for path in write_night(Path(arguments[0])):
        sys.stdout.write(f"{path}\t{path.stat().st_size}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
