"""What fits tell the logger "fastgmm": INFO for fits, starts and components that collapse, DEBUG for iterations.

Nothing is written unless the user sets logging up, ``logging.basicConfig(level="INFO")`` for one. Lines that nobody
wants are not made.
"""

import logging

__all__ = ["collapse", "fit_begins", "fit_ends", "following", "start_begins", "start_ends", "start_fails"]

LOGGER = logging.getLogger("fastgmm")


def fit_begins(source, family, n_components, n_starts, settings):
    """Log what is fitted to what, and how; `settings` is a mapping of arguments of `fit`."""
    if LOGGER.isEnabledFor(logging.INFO):
        how = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        LOGGER.info(
            "fit begins: %d components, %s covariance, %d rows, %d features, starts: %d, %s",
            *(n_components, family.name, source.n_rows, source.n_features, n_starts, how),
        )


def start_begins(init):
    """Log that a start begins."""
    LOGGER.info("start %d begins", init)


def following(callback):
    """Return a callback that logs every iteration before it calls the given one, if anybody wants to read that."""
    if not LOGGER.isEnabledFor(logging.DEBUG):
        return callback

    def follow(state):
        LOGGER.debug(
            "start %d, iteration %d: log-likelihood %.10g per row, gain %.3g",
            *(state.init, state.iteration, state.lower_bound, state.change),
        )
        return callback is not None and callback(state)

    return follow


def collapse(event):
    """Log a `Collapse`."""
    LOGGER.info(
        "iteration %d: component %s collapsed (%s) and was %s",
        *(event.iteration, "(any)" if event.component is None else event.component, event.cause, event.action),
    )


def start_ends(ended):
    """Log why a start stopped, and where."""
    LOGGER.info(
        "start %d ends after %d iterations by %s, log-likelihood %.10g per row",
        *(ended.init, ended.n_iter, ended.run.stopped_by, ended.lower_bound),
    )


def start_fails(init, error):
    """Log that a start has failed, and why."""
    LOGGER.info("start %d fails: %s", init, error)


def fit_ends(result, n_starts):
    """Log which start was kept."""
    LOGGER.info(
        "fit ends: start %d of %d is kept, log-likelihood %.10g per row, estimate of what is still to gain %.2g, "
        "starts that failed: %d",
        *(result.best_init, n_starts, result.lower_bound, result.remaining_gain, result.n_failed_inits),
    )
