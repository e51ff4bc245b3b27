"""The schedulers that a service has by name, for models of every kind of noise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from diffusion_serving.documents.serving_config import Scheduler
from diffusion_serving.observability.startup_errors import ModelLoadFailed
from lazily import Lazily
from pipelines import image_request, loaded, pixels

if TYPE_CHECKING:
    import diffusers
    import torch

    from diffusion_serving.pipeline import schedulers
else:
    diffusers = Lazily("diffusers")
    torch = Lazily("torch")
    schedulers = Lazily("diffusion_serving.pipeline.schedulers")

BY_NAME: tuple[Scheduler, ...] = tuple(name for name in get_args(Scheduler) if name != "own")
ZERO_SNR = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def read(folder: Path, config: dict[str, Any], listed: str | None = None) -> Any:
    (folder / "scheduler_config.json").write_text(json.dumps(config))
    return schedulers.read_scheduler(folder, listed or config["_class_name"])


def refusal(folder: Path, config: dict[str, Any], name: Scheduler = "ddim") -> str:
    with pytest.raises(ModelLoadFailed) as refused:
        schedulers.require_understood(name, read(folder, config), 4)
    return str(refused.value)


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize(
    "config",
    [
        {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0},
        {"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_data": 0.5},
    ],
    ids=lambda config: config["_class_name"],
)
def test_noise_of_another_kind_is_refused_for_each_scheduler_by_name(
    tmp_path: Path, name: Scheduler, config: dict[str, Any]
) -> None:
    message = refusal(tmp_path, config, name)
    assert config["_class_name"] in message
    assert "generation.scheduler to own" in message


def test_flow_matching_is_refused_with_the_schedulers_that_a_unet_can_have(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})
    assert "FlowMatchEulerDiscreteScheduler" in message
    assert "EulerDiscreteScheduler," in message


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (
            {"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True},
            "use_flow_sigmas",
        ),
        ({"_class_name": "EulerDiscreteScheduler", "sigma_max": 700.0}, "sigma_max 700.0"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}, "continuous"),
        ({"_class_name": "DDPMScheduler", "variance_type": "learned_range"}, "learned_range"),
        ({"_class_name": "DDIMScheduler", "prediction_type": "flow_prediction"}, "flow_prediction"),
        ({"_class_name": "DDIMScheduler", "sigma_shift": 3.0}, "sigma_shift"),
        ({"_class_name": "DDIMScheduler", "beta_schedule": "cosine"}, "cosine"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_value_that_the_scheduler_would_leave_out_is_refused_by_its_name(
    tmp_path: Path, config: dict[str, Any], named: str
) -> None:
    assert named in refusal(tmp_path, config)


def test_configuration_of_another_class_than_the_index_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match="EulerDiscreteScheduler"):
        read(tmp_path, {"_class_name": "DDIMScheduler"}, "EulerDiscreteScheduler")


def test_keys_of_other_samplers_are_no_reason_to_refuse_a_model(tmp_path: Path) -> None:
    config = {
        "_class_name": "EulerDiscreteScheduler",
        "clip_sample": False,
        "interpolation_type": "linear",
        "sample_max_value": 1.0,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
    }
    own = read(tmp_path, config)
    for name in get_args(Scheduler):
        schedulers.require_understood(name, own, 4)


@pytest.mark.parametrize("name", get_args(Scheduler))
def test_velocity_and_a_last_timestep_without_signal_are_kept(
    tmp_path: Path, name: Scheduler
) -> None:
    own = read(tmp_path, ZERO_SNR)
    schedulers.require_understood(name, own, 4)
    made = schedulers.make_scheduler(name, own, 4)
    made.set_timesteps(4)
    assert made.config.prediction_type == "v_prediction"
    assert float(made.alphas_cumprod[-1]) < 1e-6, "no signal is left at the last timestep"
    assert float(made.timesteps[0]) > 990, "sampling begins there"


@pytest.mark.parametrize("name", BY_NAME)
def test_noise_that_a_model_has_by_its_class_s_default_is_kept(
    tmp_path: Path, name: Scheduler
) -> None:
    own = read(tmp_path, {"_class_name": "LCMScheduler"})
    made = schedulers.make_scheduler(name, own, 4)
    assert torch.equal(made.betas, own.betas)


@pytest.mark.parametrize("its", ["PNDMScheduler", "HeunDiscreteScheduler"])
def test_own_scheduler_of_several_calls_a_step_is_refused(tmp_path: Path, its: str) -> None:
    message = refusal(tmp_path, {"_class_name": its, "skip_prk_steps": True}, "own")
    assert its in message
    assert "euler" in message


def test_sigmas_of_karras_are_others(tmp_path: Path) -> None:
    own = read(tmp_path, {"_class_name": "DDIMScheduler"})
    pairs: list[tuple[Scheduler, Scheduler]] = [
        ("euler", "euler-karras"),
        ("dpm++2m", "dpm++2m-karras"),
    ]
    for names in pairs:
        plain, karras = (schedulers.make_scheduler(name, own, 6) for name in names)
        for made in (plain, karras):
            made.set_timesteps(6)
        assert not torch.allclose(plain.sigmas, karras.sigmas)


def test_model_of_another_kind_of_noise_draws_with_its_own_scheduler_alone(
    tiny_model: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    index = json.loads((copy / "model_index.json").read_text())
    index["scheduler"][1] = "EDMEulerScheduler"
    (copy / "model_index.json").write_text(json.dumps(index))
    config = {"_class_name": "EDMEulerScheduler", "sigma_data": 0.5}
    (copy / "scheduler/scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadFailed, match="EDMEulerScheduler"):
        loaded(copy)
    assert pixels(loaded(copy, "own"), image_request()) != pixels(
        loaded(tiny_model), image_request()
    )
