"""Compare the recipe of `gpunet train` for tables with other methods on real data sets, on one core."""
