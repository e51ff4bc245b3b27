"""Rollout: how a new revision takes over, and the gate that it has to pass."""

from typing import Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Duration,
    Model,
    duration_rules,
    rule,
    rules,
)
from diffusion_operator.api.load import LOAD_RULES, LoadSpec


class GateLoad(LoadSpec):
    """The load that a canary is tested with."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *LOAD_RULES,
            rule(
                "has(self.slo)",
                "say in slo what a new revision has to keep, such as slo: {p95: 8s}",
                ".slo",
            ),
        )
    )


class RolloutGate(Model):
    """Test that a new revision has to pass before it takes over."""

    load_test_template: GateLoad = Field(
        description="A LoadTest's spec without a target. One replica of the new revision is tried "
        "with it on a preview Service of its own; requests go to the new revision only when that "
        "LoadTest is Valid and SLOMet."
    )


class Rollout(Model):
    """Takeover by a new revision."""

    gate: RolloutGate | None = Field(
        None,
        description="Test that a new revision has to pass before it takes over. "
        "Default: nothing. The "
        "first revision of a service has no one to take over from, and none to pass.",
    )

    on_failure: Literal["Rollback", "Hold"] = Field(
        "Rollback",
        description="Reaction when no pod of a new revision becomes ready. Rollback: the last "
        "revision that served comes back until the spec changes again. Hold: the rollout stays "
        "where it is. Default: Rollback.",
    )
    surge_timeout: Duration = Field(
        "10m",
        description="Longest wait for a node that the cluster's autoscaler adds for a new pod; "
        "afterwards an old pod makes room where it can, and a pod without a node is a failure. "
        "Default: 10m.",
        json_schema_extra=duration_rules(
            "duration(self) >= duration('0s') && duration(self) <= duration('24h')",
            "rollout.surgeTimeout is between 0s and 24h",
        ),
    )
