"""The cost curve: the seconds of a step by the work in it, measured on the device itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from diffusion_serving.engine.image_request import ImageRequest

_RECENT = 0.2
"""The weight of a new measurement in a point's moving average."""
_SAME = 0.01
"""The share by which the work of a step may differ from that of the point which it changes."""


@dataclass(frozen=True, slots=True)
class CostCurve:
    """The measured cost of a step and of decoding.

    Work is counted in pixels that the U-Net computes in a step: width times height, twice with
    guidance. `reference` is the work of one image in one step of the warm-up request. `points` are
    steps of the warm-up request: images, and seconds of the step, the fewest images first.
    `decode_seconds` is the time to decode one image of `reference_pixels`.
    """

    reference: int
    points: tuple[tuple[float, float], ...]
    reference_pixels: int
    decode_seconds: float = 0.0

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
        images = work / self.reference
        low, high = self._around(images)
        share = (images - low[0]) / (high[0] - low[0])
        return max(0.0, low[1] + share * (high[1] - low[1]))

    def decoding_seconds(self, pixels: int) -> float:
        """Returns the seconds to decode so many pixels."""
        return self.decode_seconds * pixels / self.reference_pixels

    def request_seconds(self, request: ImageRequest) -> float:
        """Returns the seconds that a request takes if it has the device to itself."""
        step = self.step_seconds(request.images * request.step_work)
        return request.steps * step + self.decoding_seconds(request.images * request.pixels)

    def with_step(self, work: float, seconds: float) -> "CostCurve":
        """Returns the curve with one more measured step.

        A step at a point changes the point's moving average; one with more work than any adds a
        point; any other leaves the curve as it is.
        """
        images = work / self.reference
        # One stall must not make a size look dear: a size that isn't chosen is not measured again.
        points = tuple(
            (size, known + _RECENT * (min(seconds, 2 * known) - known))
            if _close(size, images)
            else (size, known)
            for size, known in self.points
        )
        if images > self.largest * (1 + _SAME):
            points = (*points, (images, seconds))
        return replace(self, points=points)

    def with_point(self, images: float, seconds: float) -> "CostCurve":
        """Returns the curve with a point measured anew."""
        points = {**dict(self.points), images: seconds}
        return replace(self, points=tuple(sorted(points.items())))

    def with_decoding(self, pixels: int, seconds: float) -> "CostCurve":
        """Returns the curve with one more measured decoding of so many pixels."""
        measured = seconds * self.reference_pixels / pixels
        known = self.decode_seconds or measured
        return replace(self, decode_seconds=known + _RECENT * (measured - known))

    def size(self, images: int, largest: int, work: int) -> int:
        """Returns how many of so many images should share a step, at most `largest`.

        `work` is that of one image in one step.

        The size by which they all are finished soonest on average. In steps of n out of k images,
        `ceil(k / n)` groups take turns, so more images a step shorten the wait for the groups
        before, and lengthen each step. With seconds of `a + b n` the best size is the square root
        of `a k / b`: all at once where a step costs the same whatever its size, and one at a time
        where it costs as much for each image. A size beyond the measured ones is tried once, twice
        the largest measured at most, and is measured by that.
        """
        most = min(images, largest)
        known = max(1, int(self.largest * self.reference / work))
        if most > known:
            return min(most, 2 * known)
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

    def _around(self, images: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Returns the two points between which, or beyond which, so many images are."""
        if len(self.points) == 1:
            return (0.0, 0.0), self.points[0]
        segments = list(pairwise(self.points))
        return next((each for each in segments if images <= each[1][0]), segments[-1])


def _candidates(largest: int) -> Iterator[int]:
    """Yields the sizes to choose from: powers of two, and the largest."""
    yield from (2**exponent for exponent in range(largest.bit_length()))
    yield largest


def _close(size: float, images: float) -> bool:
    return abs(size - images) <= _SAME * size
