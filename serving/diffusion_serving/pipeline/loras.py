"""LoRAs: all are loaded with the model, and each batch uses one of them or none."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.utils import peft_utils
from peft.tuners.lora import LoraLayer

from diffusion_serving.documents.serving_config import Lora
from diffusion_serving.engine.image_request import LoraUse
from diffusion_serving.fetch.model_files import find_lora
from diffusion_serving.observability.startup_errors import ModelLoadFailed

_utils: Any = peft_utils  # carries no annotations


class Loras:
    """The LoRAs of a pipeline, and the one in use.

    Raises:
        ModelLoadFailed: one cannot be loaded, or does not belong to this model.

    """

    def __init__(self, pipe: Any, loras: Sequence[Lora]) -> None:
        for lora in loras:
            _load(pipe, lora)
        parts: list[Any] = [getattr(pipe, name) for name in pipe.get_list_adapters()]
        encoders = [part for part in parts if part is not pipe.unet]
        self._in_text = {name for encoder in encoders for name in encoder.peft_config}
        self._parts = parts
        self._in_use: LoraUse | None = None
        self._is_known = False
        self.use(None)

    def use(self, lora: LoraUse | None) -> None:
        """Switches the model to this LoRA; does nothing if it is in use already."""
        if self._is_known and lora == self._in_use:
            return
        self._is_known = False  # if this fails halfway, the next call starts over
        self._apply(lora)
        self._in_use, self._is_known = lora, True

    def changes_text(self, lora: LoraUse | None) -> bool:
        """Returns whether this LoRA changes the text encoder's embeddings."""
        return lora is not None and lora.name in self._in_text

    def _apply(self, lora: LoraUse | None) -> None:
        # Part by part: diffusers' set_adapters leaves a part active that only the last LoRA had.
        for part in self._parts:
            if lora is None or lora.name not in part.peft_config:
                _utils.set_adapter_layers(part, enabled=False)
            else:
                _utils.set_adapter_layers(part, enabled=True)
                _utils.set_weights_and_activate_adapters(part, [lora.name], [lora.scale])
                _as_tensors(part, lora.name)


def _as_tensors(part: Any, name: str) -> None:
    """Replaces the numbers by which a LoRA's layers multiply with tensors of the same values.

    Compiled code has a number in it as a constant, so each new scale would compile the model again.
    """
    device = next(part.parameters()).device
    for module in part.modules():
        if isinstance(module, LoraLayer) and name in module.scaling:
            module.scaling[name] = torch.tensor(float(module.scaling[name]), device=device)


def _load(pipe: Any, lora: Lora) -> None:
    file = find_lora(lora.name, lora.path)
    try:
        pipe.load_lora_weights(
            file.parent,
            weight_name=file.name,
            adapter_name=lora.name,
            local_files_only=True,
            use_safetensors=True,
        )
    except Exception as error:
        raise ModelLoadFailed(
            f"The LoRA {lora.name} ({file}) cannot be loaded ({type(error).__name__}: {error}). "
            "Check that it was trained for this kind of model."
        ) from error
    adapters = pipe.get_list_adapters()
    if not any(lora.name in names for names in adapters.values()):
        raise ModelLoadFailed(
            f"The LoRA {lora.name} ({file}) changes no part of this model. Check that it was "
            "trained for this kind of model."
        )
