"""scikit-learn's `MLPClassifier` and `MLPRegressor`, trained by gpunet; only the import line changes.

    from gpunet.sklearn import MLPClassifier

Requires scikit-learn: `pip install 'gpunet[sklearn]'`.
"""

from gpunet.errors import MissingPackageError

try:
    from gpunet.sklearn.estimators import MLPClassifier, MLPRegressor
except ModuleNotFoundError as error:
    if error.name not in ("scipy", "sklearn"):
        raise
    raise MissingPackageError("gpunet.sklearn needs scikit-learn: pip install 'scikit-learn>=1.7'.") from None

__all__ = ["MLPClassifier", "MLPRegressor"]
