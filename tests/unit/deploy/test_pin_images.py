"""Images pinned in the file that Argo CD reads."""

import pytest
import yaml

from pin_images import flat, pinned_commit, values
from promote_images import variable

DIGEST = f"sha256:{'a' * 64}"
COMMIT = "0" * 40
BUILT = {
    "operator": f"ghcr.io/team/diffusion-operator@{DIGEST}",
    "loadtest": f"ghcr.io/team/diffusion-loadtest@{DIGEST}",
    "litserve": f"ghcr.io/team/diffusion-serving-litserve@{DIGEST}",
    "fastapi": f"ghcr.io/team/diffusion-serving-fastapi@{DIGEST}",
}


def test_each_image_has_the_key_that_the_chart_reads() -> None:
    images = yaml.safe_load(values(BUILT, COMMIT))["images"]
    assert images["operator"] == BUILT["operator"]
    assert images["loadtest"] == BUILT["loadtest"]
    assert images["backends"] == {name: BUILT[name] for name in ("fastapi", "litserve")}


def test_the_order_of_building_changes_nothing() -> None:
    assert values(BUILT, COMMIT) == values(dict(reversed(BUILT.items())), COMMIT)


def test_an_image_by_tag_is_refused() -> None:
    with pytest.raises(ValueError, match=r"operator: .* name the image by its digest"):
        values(BUILT | {"operator": "ghcr.io/team/diffusion-operator:latest"}, COMMIT)


def test_a_missing_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no image of loadtest"):
        values({"operator": BUILT["operator"]}, COMMIT)


def test_the_file_tells_whose_images_it_holds() -> None:
    assert pinned_commit(values(BUILT, COMMIT)) == COMMIT
    assert not pinned_commit("images: {}\n")


def test_terraforms_variable_is_read() -> None:
    assert flat(variable(BUILT)) == BUILT
