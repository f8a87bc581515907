"""Let the SageMaker SDK (version 2) find images of one's own by their versions.

    use_images("sdk")  # the folder that `dlc sdk-config --to sdk` wrote into

From then on, HuggingFace(transformers_version=...), HuggingFaceModel(...) and image_uris.retrieve
in this process name the images of that folder. Other frameworks are as before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def use_images(folder: str | Path) -> None:
    """Read the SDK's lists of images from a folder first, then from the SDK's own."""
    from sagemaker import image_uris

    own = image_uris.config_for_framework

    def config_for_framework(framework: str) -> Any:
        path = Path(folder, f"{framework}.json")
        return json.loads(path.read_text("utf-8")) if path.is_file() else own(framework)

    image_uris.config_for_framework = config_for_framework
