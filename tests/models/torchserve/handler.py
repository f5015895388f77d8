"""TorchServe's handler for the digits: {"image": [64 grey values]} in, {"digit": 7} out."""

import os
from pathlib import Path
from typing import Any

import torch

REVISION = os.environ.get("PODIUM_REVISION", "")


class DigitsHandler:
    """Loads the scripted network; answers say which revision gave them."""

    def initialize(self, context: Any) -> None:
        """Loads the network from the archive."""
        torch.set_num_threads(1)
        archive = Path(context.system_properties["model_dir"])
        self.network = torch.jit.load(str(archive / context.manifest["model"]["serializedFile"]))

    def handle(self, requests: list[dict[str, Any]], context: Any) -> list[dict[str, int]]:
        """One answer per request."""
        for number in range(len(requests)):
            context.set_response_header(number, "x-podium-revision", REVISION)
        images = torch.tensor([request["body"]["image"] for request in requests], dtype=torch.float32)
        with torch.no_grad():
            digits = self.network(images).argmax(1).tolist()
        return [{"digit": digit} for digit in digits]
