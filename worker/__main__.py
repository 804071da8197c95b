"""`python -m worker` is `pgembedd`."""

from worker.cli import main

main()
