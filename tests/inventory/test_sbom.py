"""The SBOM of each image of the debian bases is valid by CycloneDX's own schema. It takes seconds for each.

No engine and no image is needed: an SBOM is made from the locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.inspect.inventory import image

if TYPE_CHECKING:
    from dynamo_containers.platforms import Platform

CATALOGUE = load_catalogue()
IMAGES = [
    (row.name, platform) for row in CATALOGUE.images.values() if "debian" in row.bases for platform in row.platforms
]


@pytest.mark.parametrize(("name", "platform"), IMAGES, ids=lambda value: getattr(value, "arch", value))
def test_the_sbom_of_an_image_is_valid_by_the_schema(name: str, platform: Platform) -> None:
    sbom = image.inventory(CATALOGUE, name, "", [platform.value], "debian", "cyclonedx").text
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom) is None
