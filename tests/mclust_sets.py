"""Data sets that mclust is compared on, with labels to start from: those that need not be stored beside its values."""

import numpy as np
from problems import FAITHFUL
from sklearn.datasets import load_breast_cancer, load_iris, load_wine


def faithful():
    """Old Faithful: 272 eruptions, 2 features; long and short."""
    X = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
    return X, (X[:, 0] > 3).astype(np.int64)


def iris():
    """Iris: 150 flowers, 4 features, 3 species."""
    return load_iris(return_X_y=True)


def wine():
    """Wine: 178 wines, the first 6 of 13 features, 3 cultivars."""
    X, y = load_wine(return_X_y=True)
    return X[:, :6], y


def breast_cancer():
    """Breast cancer: 569 tumours, 10 means of features on scales from 1e-2 to 1e3, 2 diagnoses."""
    X, y = load_breast_cancer(return_X_y=True)
    return X[:, :10], y


SHARED = {each.__name__: each for each in (faithful, iris, wine, breast_cancer)}


def durations():
    """Old Faithful: how long eruptions take, one feature."""
    X, y = faithful()
    return X[:, :1], y


PRIOR = {**SHARED, "durations": durations}
