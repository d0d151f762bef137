"""`python -m rating.runtime`: the command, where its script is not on the path."""

from rating.runtime.cli import main

main(prog_name="ratecast")
