"""`python -m benchmarks`: see `benchmarks.run`."""

import sys

from benchmarks import environment

if __name__ == "__main__":
    environment.restart_without_misleading_variables("benchmarks")  # before anything imports numpy
    from benchmarks.run import main

    sys.exit(main())
