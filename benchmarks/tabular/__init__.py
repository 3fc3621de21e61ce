"""The recipe of `gpunet train` for tables next to other methods, on real data sets, on one core."""
