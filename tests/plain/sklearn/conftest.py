"""scikit-learn's checks of array-API input are skipped unless this is set before SciPy is imported."""

import os

os.environ["SCIPY_ARRAY_API"] = "1"
