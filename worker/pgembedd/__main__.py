"""`python -m pgembedd` is `pgembedd`."""

from pgembedd.cli import main

main()
