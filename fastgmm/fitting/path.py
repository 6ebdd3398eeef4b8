"""What the paths of accelerations have in common: how far trials may go, and how many passes may be lost."""

from typing import Self

__all__ = ["LEAST_REACH", "RADIUS", "Path"]

RADIUS = 0.25
"""Largest length of a trial (`coordinates.length`): further away the log-likelihood is not what steps of EM tell of."""
LEAST_REACH = 2.0
"""Steps of EM that a trial is at least allowed to be long: where that is beyond `RADIUS`, nothing is tried."""
MAX_LOST = 0.2  # of the passes that are not lost


class Path:
    """A frozen dataclass of parameters, coordinates and what else says where a fit stands between two passes.

    Its first attributes are `point`, `parameters` and `coordinates`. It has `trial` too, None or the coordinates of
    `point`; `passes`, the number of passes so far, and `lost`, of those at trials that were given up.
    """

    @classmethod
    def begin(cls, start, coordinates) -> Self:
        """Return the path from a start."""
        return cls(start, start, coordinates)

    @property
    def on_trial(self):
        """Whether the next pass is made at a point that may be given up."""
        return self.trial is not None

    def affords(self, saved=0.0):
        """Whether one more pass may be lost, if other trials have saved so many.

        Those that are lost are at most a fifth of the others, so that a fit takes no more than 1.2 times as many
        passes as it would with steps of EM in place of all that were given up.
        """
        return self.lost + 1 <= MAX_LOST * (self.passes + 1 - self.lost + saved)

    def afresh(self, start) -> Self:
        """Return a path from a start that no step of EM has led to."""
        return self.begin(start, self.coordinates)

    def changed(self, **changes) -> Self:
        """Return the path with other values of some attributes: `dataclasses.replace`, but for looking at all others.

        It is called several times between two passes that may take microseconds.
        """
        path = object.__new__(type(self))
        path.__dict__.update(self.__dict__, **changes)
        return path
