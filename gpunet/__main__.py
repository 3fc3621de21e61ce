"""`python -m gpunet`: the command line, where the `gpunet` script is not on the path."""

from gpunet.cli import main

main(prog_name="gpunet")
