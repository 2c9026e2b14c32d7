"""`python -m cellcycle`: the command line."""

from cellcycle.cli import main

main()
