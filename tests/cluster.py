"""A Dask scheduler with two worker processes; ends when its standard input does."""

import sys
from pathlib import Path


def main(address_file):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        part = Path(address_file).with_suffix(".part")
        part.write_text(cluster.scheduler_address)
        part.replace(address_file)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
