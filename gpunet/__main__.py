"""`python -m gpunet`: the command line, for when the `gpunet` script is not on the path."""

from gpunet.cli import main

main(prog_name="gpunet")
