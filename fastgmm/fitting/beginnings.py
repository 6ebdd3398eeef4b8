"""Where the runs of a fit begin: from parameters that are given, or from starts, which may be raced first."""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Parameters
from fastgmm.fitting.moves import proposals
from fastgmm.fitting.mstep import MStep
from fastgmm.fitting.quiet import quiet_rows
from fastgmm.fitting.race import n_kept, race, track
from fastgmm.fitting.starts import first_parameters

__all__ = ["Beginnings"]


class Beginnings:
    """Where the runs of a fit begin, and their M-steps.

    Parameters
    ----------
    few : Source
        What starts are made of; an ArraySource where starts are made.
    family : Family
    n_components : int
    init_params : str, labels, responsibilities or callable
        As `check_init_params` returns it.
    start : Parameters or None
        Where the fit is continued.
    given : dict
        Checked "weights", "means" and "precisions" in place of those of a start.
    constraints : mapping
        Arguments of `MStep`.
    special : bool
        Whether the M-step is another than that of the family.
    """

    def __init__(self, few, family, n_components, init_params, start, given, constraints, special):
        self._few, self._family, self._n_components, self._given = few, family, n_components, given
        self._init_params, self._start = init_params, start
        self._constraints, self._special = constraints, special
        self._raced, self._quiet = {}, {}

    def race(self, raced, n_init, rng, deadline):
        """Run a race and return a seed for each of the starts that go on: see `race`.

        Parameters
        ----------
        raced : Race
        n_init : int
        rng : numpy.random.Generator
        deadline : float
        """
        rows = track(self._few, self._n_components, rng)
        best = self._raced_on(rows, raced.contestants(n_init), rng, n_kept(n_init), deadline)
        seeds = rng.integers(2**63, size=len(best)).tolist()
        self._raced = dict(zip(seeds, best, strict=True))
        return seeds

    def move(self, mixture, rng, deadline):
        """Return the seed, in a list, of the best split-and-merge move out of an optimum; none if there is no move.

        Parameters
        ----------
        mixture : Mixture
        rng : numpy.random.Generator
        deadline : float
        """
        K = mixture.n_components  # fewer than at first, where components were dropped
        rows = track(self._few, K, rng)
        masks = {name: mask[:K] for name, mask in self._constraints["masks"].items()}  # nothing is held
        self._n_components, self._given = K, {}
        self._constraints = {**self._constraints, "masks": masks, "continued": False}
        moves = proposals(rows, mixture)
        try:
            best = self._raced_on(rows, moves, rng, 1, deadline) if moves else []
        except IllDefinedCovarianceError:
            return []
        seeds = rng.integers(2**63, size=len(best)).tolist()
        self._raced.update(zip(seeds, best, strict=True))
        return seeds

    def _raced_on(self, rows, contestants, rng, n_kept, deadline):
        options = {"n_kept": n_kept, "reg_covar": self._constraints["reg_covar"], "deadline": deadline}
        best = race(rows, self._family, contestants, self._make, self._racing_mstep, rng, **options)
        if rows is self._few and rows.sample_of is None:  # all rows: a run goes on as if the race had not ended
            return best
        return [(parameters, None) for parameters, _ in best]

    def at(self, seed):
        """Return the Parameters, float64, of a run, its MStep, None for that of the family, and its Progress or None.

        A run that goes on from a race over all rows has made some progress.
        """
        progress = None
        if seed in self._raced:
            parameters, progress = self._raced[seed]
        elif self._start is not None:
            parameters = self._start.astype(np.float64)
        else:
            parameters = self._make(self._few, self._init_params, seed)
        mstep = self._mstep(self._few, parameters, seed)
        return parameters if mstep is None else mstep.start, mstep, progress

    def _mstep(self, rows, parameters, seed, **others):
        if not self._special:
            return None
        constraints = {**self._constraints, **others}
        return MStep(rows, self._family, parameters, **constraints, rng=np.random.default_rng([seed or 0, 1]))

    def _racing_mstep(self, rows, parameters, seed):
        """Return the M-step of a race, which drops no component: the run that goes on does, and tells."""
        on_collapse = self._constraints["on_collapse"]
        return self._mstep(rows, parameters, seed, on_collapse="floor" if on_collapse == "drop" else on_collapse)

    def _make(self, rows, init_params, seed):
        """Return where a start begins: the given parts, and the rest as `init_params` says, which may have no part."""
        given = self._given
        if len(given) == 3:
            return Parameters(given["weights"], given["means"], *given["precisions"])
        constraints = {name: self._constraints[name] for name in ("reg_covar", "floor", "prior")}
        rng = np.random.default_rng(seed)
        noise = self._constraints["noise"]
        if noise is not None and isinstance(init_params, str):
            if rows not in self._quiet:
                self._quiet[rows] = quiet_rows(rows, noise, self._n_components, rng)
            rows = self._quiet[rows]
        made = first_parameters(rows, self._family, self._n_components, init_params, rng, **constraints)
        if not given:
            return made
        precisions = given.get("precisions", (made.covariances, made.precisions_cholesky))
        return Parameters(given.get("weights", made.weights), given.get("means", made.means), *precisions)
