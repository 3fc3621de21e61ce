"""gpunet's recipe for tables next to other methods, on real data sets, on one core."""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", GPUNET_THREADS="1")  # before NumPy comes in
