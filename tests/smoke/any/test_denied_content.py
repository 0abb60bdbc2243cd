"""Content of every layer, in bytes: nothing that `[content]` in images.toml denies, also where it was deleted later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.inspect import content

if TYPE_CHECKING:
    from dynamo_containers.inspect.content import ContentCheck
    from tests.smoke.layers import SavedImage


def test_no_layer_of_the_image_has_what_the_rules_deny(content_checks: dict[str, ContentCheck], image: str) -> None:
    check = content_checks[image]
    assert check.denied == (), content.text(check)


def test_no_layer_of_its_ci_image_has_what_the_rules_deny(content_checks: dict[str, ContentCheck], image: str) -> None:
    checks = [check for tag, check in content_checks.items() if tag != image]  # a base image has none
    assert [finding for check in checks for finding in check.denied] == [], "\n".join(map(content.text, checks))


def test_the_check_read_the_layers_of_the_image(
    content_checks: dict[str, ContentCheck], saved_images: dict[str, SavedImage], image: str
) -> None:
    assert len(content_checks[image].layers) == len(saved_images[image].layers)
    assert content_checks[image].binaries > 100
