"""Failures of a model, in the words of the check that knows the cause."""

from diffusion_serving.engine.errors import EngineFailed
from diffusion_serving.engine.pipeline_interface import NotFiniteError, OutOfMemory, Picture
from diffusion_serving.observability.startup_errors import ModelLoadFailed


class BlankPictureError(ValueError):
    """A picture of one colour alone."""


def require_picture(picture: Picture) -> None:
    """Requires a picture of more than one colour.

    Raises:
        BlankPictureError: each pixel is the same, as of a model whose weights are not those it was
            saved with.

    """
    if picture.rgb == picture.rgb[:3] * (picture.width * picture.height):
        raise BlankPictureError("each pixel of the image has the same colour")


def failed_request(error_id: str, error: Exception) -> EngineFailed:
    """Returns a request's outcome for an error of the pipeline."""
    match error:
        case NotFiniteError():
            return EngineFailed(
                error_id,
                "The model computed values that are not finite, and the same request would again. "
                f"Change its guidance scale, steps or size. For the service's owner: {error}",
            )
        case OutOfMemory():
            return EngineFailed(
                error_id,
                "The device's memory doesn't hold one image of this size. Ask for a smaller one.",
            )
        case _:
            return EngineFailed(error_id)


def failed_start(error: Exception) -> ModelLoadFailed:
    """Returns the reason for which a model whose warm-up image failed is not served."""
    begin = "The model loaded, but its warm-up image"
    match error:
        case NotFiniteError():
            return ModelLoadFailed(f"{begin} has values that are not finite. {error}")
        case OutOfMemory():
            return ModelLoadFailed(
                f"{begin} needs more memory than the device has ({error}). Set a smaller "
                "generation.width and height, or a GPU with more memory."
            )
        case BlankPictureError():
            return ModelLoadFailed(
                f"{begin} has one colour alone. Its weights are not those of its configuration: "
                "copy the model again."
            )
        case _:
            return ModelLoadFailed(
                f"{begin} failed inside the model ({type(error).__name__}: {error}). Check that "
                "the parts in its directory belong together."
            )
