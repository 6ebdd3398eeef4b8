"""fastgmm: Gaussian mixture models at the speed of the hardware.

Names are loaded on first use, so that importing the package costs next to nothing:

    GaussianMixture      scikit-learn's estimator of that name
    GaussianMixtureClassifier
                         discriminant analysis: a mixture for each class
    select, GaussianMixtureSelector
                         number of components and structure of covariances, chosen by a criterion
    fit                  the same fit without scikit-learn, returns a FitResult
    ConjugatePrior       for fits that maximise a posterior density
    Noise                a uniform component for outliers
    Mixture, load        the fitted distribution, and reading one from a file
    accumulate, Statistics, KernelConstants, covariance
                         what EM is made of: statistics of rows, and families that turn them into parameters
    show_config          what this installation can do
    get_include          where the C headers are
"""

from importlib import import_module

from fastgmm._version import __version__

_HOME = {
    "ConjugatePrior": "fastgmm.covariance",
    "ConvergenceWarning": "fastgmm._errors",
    "FitResult": "fastgmm.fitting",
    "GaussianMixture": "fastgmm.estimators",
    "GaussianMixtureClassifier": "fastgmm.estimators",
    "GaussianMixtureSelector": "fastgmm.selection.selector",
    "IllDefinedCovarianceError": "fastgmm._errors",
    "InvalidParameterError": "fastgmm._errors",
    "KernelConstants": "fastgmm.engine",
    "Mixture": "fastgmm.mixture",
    "ModelFileError": "fastgmm._errors",
    "Noise": "fastgmm.covariance",
    "NotFittedError": "fastgmm._errors",
    "NothingObservedWarning": "fastgmm._errors",
    "Selection": "fastgmm.selection",
    "Statistics": "fastgmm.engine",
    "accumulate": "fastgmm.engine",
    "fit": "fastgmm.fitting",
    "get_include": "fastgmm._config",
    "load": "fastgmm.mixture",
    "select": "fastgmm.selection",
    "show_config": "fastgmm._config",
}
_MODULES = ("covariance", "distributed", "engine", "estimators", "fitting", "io", "plot", "selection", "sources")

__all__ = ["__version__", "covariance", *_HOME]


def __getattr__(name):
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
