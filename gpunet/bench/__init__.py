"""Tools for kernel development: compile, check, benchmark and tune.

`nvrtc` compiles for GPUs on a machine without one, `check` runs a user's kernel on the simulated GPU against a NumPy
reference, and `child` runs code that may crash or hang in a separate process.

`measure` is the benchmark: `cases` defines the operations, `gate` checks the results of a kernel, `timing` measures its
time, `ceilings` measures the limits of the device; `results`, `table`, `plot` and `compare` report. `tune` finds, with
the same gate and clock, the fastest tiles and splits for a model.
"""
