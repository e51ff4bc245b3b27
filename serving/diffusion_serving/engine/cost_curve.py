"""The cost curve: seconds of a step and of a decoding by their size, measured on the device."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from diffusion_serving.engine.image_request import ImageRequest

_RECENT = 0.2
"""The weight of a new measurement in a point's moving average."""
_SAME = 0.01
"""The share by which the work of a step may differ from that of the point which it changes."""

Points = tuple[tuple[float, float], ...]
"""Images of the warm-up request in one call, and its seconds, the fewest images first."""


@dataclass(frozen=True, slots=True)
class CostCurve:
    """The measured cost of a step and of decoding.

    Work is counted in pixels that the U-Net computes in a step: width times height, twice with
    guidance. `reference` is the work of one image in one step of the warm-up request, and
    `reference_pixels` are that image's pixels. `points` are steps, and `decoding` decodings.
    """

    reference: int
    points: Points
    reference_pixels: int
    decoding: Points = ()

    @property
    def largest(self) -> float:
        """The most images of the warm-up request of which a step was measured."""
        return self.points[-1][0]

    @property
    def seconds_per_work(self) -> float:
        """The seconds of a unit of work where the device is at its best."""
        return min(seconds / images for images, seconds in self.points) / self.reference

    def step_seconds(self, work: float) -> float:
        """Returns the seconds of a step with so much work.

        Linear between two points, and beyond the last as between the last two; a single point
        makes the cost proportional to the work.
        """
        return _seconds(self.points, work / self.reference)

    def decoding_seconds(self, pixels: float) -> float:
        """Returns the seconds to decode so many pixels at once; 0 before the first decoding."""
        return _seconds(self.decoding, pixels / self.reference_pixels) if self.decoding else 0.0

    def request_seconds(self, request: ImageRequest) -> float:
        """Returns the seconds that a request takes if it has the device to itself."""
        step = self.step_seconds(request.images * request.step_work)
        return request.steps * step + self.decoding_seconds(request.images * request.pixels)

    def with_step(self, work: float, seconds: float) -> "CostCurve":
        """Returns the curve with one more measured step.

        A step at a point changes the point's moving average; one with more work than any adds a
        point; any other leaves the curve as it is.
        """
        return replace(self, points=_moved(self.points, work / self.reference, seconds))

    def with_point(self, images: float, seconds: float) -> "CostCurve":
        """Returns the curve with a step of so many images measured anew."""
        return replace(self, points=_with(self.points, images, seconds))

    def with_decoding(self, pixels: float, seconds: float) -> "CostCurve":
        """Returns the curve with one more measured decoding, as `with_step` does."""
        images = pixels / self.reference_pixels
        return replace(self, decoding=_moved(self.decoding, images, seconds))

    def with_decoding_point(self, images: float, seconds: float) -> "CostCurve":
        """Returns the curve with a decoding of so many images measured anew."""
        return replace(self, decoding=_with(self.decoding, images, seconds))

    def size(self, images: int, largest: int, work: int) -> int:
        """Returns how many of so many images should share a step, at most `largest`.

        `work` is that of one image in one step.

        The size by which they all are finished soonest on average. In steps of n out of k images,
        `ceil(k / n)` groups take turns, so more images a step shorten the wait for the groups
        before, and lengthen each step. With seconds of `a + b n` the best size is the square root
        of `a k / b`: all at once where a step costs the same whatever its size, and one at a time
        where it costs as much for each image. Beyond the measured ones twice the largest is tried
        where the last two say that it pays, or where there is one alone, and is measured by that.
        """
        known = max(1, int(self.largest * self.reference / work))
        most = min(images, largest, 2 * known)
        if most > known and len(self.points) == 1:
            return most
        return min(
            _candidates(most), key=lambda size: (self._mean_finish(images, size, work), -size)
        )

    def _mean_finish(self, images: int, size: int, work: int) -> float:
        """Returns the mean time at which images finish one step in groups of `size`."""
        full, rest = divmod(images, size)
        group = self.step_seconds(size * work)
        total = group * size * full * (full + 1) / 2
        if rest:
            total += rest * (full * group + self.step_seconds(rest * work))
        return total / images


def _seconds(points: Points, images: float) -> float:
    """Returns the seconds of a call with so many images, as `CostCurve.step_seconds` says."""
    low, high = _around(points, images)
    share = (images - low[0]) / (high[0] - low[0])
    return max(0.0, low[1] + share * (high[1] - low[1]))


def _around(points: Points, images: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns the two points between which, or beyond which, so many images are."""
    if len(points) == 1:
        return (0.0, 0.0), points[0]
    segments = list(pairwise(points))
    return next((each for each in segments if images <= each[1][0]), segments[-1])


def _moved(points: Points, images: float, seconds: float) -> Points:
    """Returns the points with one more call: a moving average, or a point of more images."""
    # One stall must not make a size look dear: a size that isn't chosen is not measured again.
    moved = tuple(
        (size, known + _RECENT * (min(seconds, 2 * known) - known))
        if _close(size, images)
        else (size, known)
        for size, known in points
    )
    if not points or images > points[-1][0] * (1 + _SAME):
        return (*moved, (images, seconds))
    return moved


def _with(points: Points, images: float, seconds: float) -> Points:
    """Returns the points with this one, in place of an earlier one of so many images."""
    return tuple(sorted({**dict(points), images: seconds}.items()))


def _candidates(largest: int) -> Iterator[int]:
    """Yields the sizes to choose from: powers of two, and the largest."""
    yield from (2**exponent for exponent in range(largest.bit_length()))
    yield largest


def _close(size: float, images: float) -> bool:
    return abs(size - images) <= _SAME * size
