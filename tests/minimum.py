"""Print the oldest versions that pyproject.toml admits, as constraints for pip."""

import re
import sys
import tomllib
from pathlib import Path


def oldest_versions(pyproject: str) -> list[str]:
    """Return ``name==version`` for the lower bound of every dependency, also of the extras.

    Raises
    ------
    ValueError
        If a dependency has no lower bound.
    """
    project = tomllib.loads(pyproject)["project"]
    extras = project.get("optional-dependencies", {}).values()
    found = []
    for requirement in [*project["dependencies"], *(item for extra in extras for item in extra)]:
        bound = re.match(r"([\w-]+)\s*>=\s*([\w.]+)", requirement)
        if bound is None:
            msg = f"no lower bound: {requirement}"
            raise ValueError(msg)
        found.append(f"{bound[1]}=={bound[2]}")
    return sorted(found)


if __name__ == "__main__":
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    sys.stdout.write("\n".join(oldest_versions(text)) + "\n")
