"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`.

They take the parameters of scikit-learn's own, and dropout, batch normalisation, class weights and
callbacks besides; they work in pipelines and searches, and can be cloned and pickled. Training is
compiled; in the worker processes of ``n_jobs`` it keeps to the threads that joblib allows.

>>> import numpy as np
>>> from cotangent.sklearn import MLPClassifier
>>> x = np.random.default_rng(0).normal(size=(200, 2))
>>> y = np.where(x[:, 0] * x[:, 1] > 0, "same", "other")
>>> model = MLPClassifier((16,), learning_rate_init=0.02, max_iter=500, random_state=0).fit(x, y)
>>> bool(model.score(x, y) > 0.95)
True
"""

from importlib.util import find_spec

from ..errors import MissingPackageError

if find_spec("sklearn") is None:
    raise MissingPackageError(
        "cotangent.sklearn needs scikit-learn 1.7 or later: pip install 'cotangent[sklearn]'"
    )

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
