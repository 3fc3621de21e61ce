"""Work on kernels: what a compiler makes of them, whether they are right, how fast they are.

`nvrtc` compiles for GPUs without one, `check` runs a user's kernel on the simulated GPU against a NumPy reference, and
`child` runs what may crash or never end in a process of its own.

`measure` is the benchmark: `cases` says what is computed, `gate` whether a kernel computes it, `timing` how long it
takes, `ceilings` what the device could reach; `results`, `table`, `plot` and `compare` show it. `tune` finds, by the
same gate and clock, which tiles and splits serve a model best.
"""
