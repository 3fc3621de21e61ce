"""Tools for kernel development: compile, check, benchmark and tune.

`nvrtc` compiles for GPUs on a machine without one, `check` runs a user's kernel on the simulated GPU against a NumPy
reference, and `child` runs code that may crash or hang in a separate process.

`measure` is the benchmark: `cases` defines the operations, `gate` checks a kernel's results, `timing` times it,
`ceilings` measures the device's limits; `results`, `table`, `plot` and `compare` report. `tune` finds, with the same
gate and clock, the fastest tiles and splits for a model.

Conventions: a `fault` is text that says what is wrong with a kernel's results, "" if they are correct; a kernel with a
fault is not timed. The argument `seconds` is the approximate duration of all rounds of a timing.
"""
