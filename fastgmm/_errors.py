"""Typed errors and warnings. They stand below every other floor so that each of them can raise them."""

__all__ = [
    "ConvergenceWarning",
    "IllDefinedCovarianceError",
    "InvalidParameterError",
    "ModelFileError",
    "NotFittedError",
    "NothingObservedWarning",
]


class ConvergenceWarning(UserWarning):
    """A fit stopped before its convergence criterion was met."""


class NothingObservedWarning(UserWarning):
    """Rows hold nothing but gaps, so that they say nothing about the mixture."""


class NotFittedError(ValueError, AttributeError):
    """An estimator was used before it was fitted."""


class InvalidParameterError(ValueError, TypeError):
    """A parameter has a value of the wrong type or outside its range."""


class ModelFileError(ValueError):
    """A model file is malformed, truncated, of an unknown version, or hostile."""


class IllDefinedCovarianceError(ValueError):
    """A component's covariance is not positive definite, so that its density does not exist.

    Parameters
    ----------
    component : int or None
        Index of the first component that failed; None if all components share the covariance.
    single_precision : bool, default=False
        Whether the rows were float32, where a hint to pass float64 helps.
    """

    MESSAGE = (
        "Fitting the mixture model failed because some components have ill-defined empirical covariance (for instance "
        "caused by singleton or collapsed samples). Try to decrease the number of components, increase reg_covar, or "
        "scale the input data."
    )
    SINGLE = " The numerical accuracy can also be improved by passing float64 data instead of float32."

    def __init__(self, component=None, single_precision=False):
        super().__init__(self.MESSAGE + (self.SINGLE if single_precision else ""))
        self.component, self.single_precision = component, single_precision

    def __reduce__(self):
        """Pickle what the error was made from: processes send errors to each other."""
        return type(self), (self.component, self.single_precision)
