"""What the paths of accelerations have in common."""

from typing import Self

__all__ = ["Path"]


class Path:
    """A frozen dataclass of parameters, coordinates and what else says where a fit stands between two passes.

    Its first attributes are `point`, `parameters` and `coordinates`. It has `trial` too, None or the coordinates of
    `point`.
    """

    @classmethod
    def begin(cls, start, coordinates) -> Self:
        """Return the path from a start."""
        return cls(start, start, coordinates)

    @property
    def on_trial(self):
        """Whether the next pass is made at a point that may be given up."""
        return self.trial is not None

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
