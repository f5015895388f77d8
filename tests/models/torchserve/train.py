"""Trains, scripts and archives the digits. Runs in the TorchServe image; reads /task, writes to the model store."""

import json
import subprocess
import urllib.request
from pathlib import Path

import torch

TASK = Path("/task")
TRAINED_ON = 900
# Version 1 has seen few images, so that its answers differ from those of version 2.
SEEN = {"1": 60, "2": TRAINED_ON}


class Network(torch.nn.Module):
    """8 x 8 grey values of 0 to 16 in, a score for each of the ten digits out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 16, 3, padding=1)
        self.second = torch.nn.Conv2d(16, 32, 3, padding=1)
        self.last = torch.nn.Linear(32 * 4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (N, 10) for images (N, 64)."""
        grid = images.reshape(-1, 1, 8, 8) / 16.0
        grid = torch.nn.functional.max_pool2d(torch.relu(self.first(grid)), 2)
        grid = torch.nn.functional.max_pool2d(torch.relu(self.second(grid)), 2)
        return self.last(grid.flatten(1))


def train(images: torch.Tensor, truth: torch.Tensor) -> Network:
    """A network that has seen the images 60 times, by gradient descent with momentum.

    Not by torch.optim: that imports parts of PyTorch which an image for serving does without.
    """
    torch.manual_seed(7)
    network = Network()
    weights = list(network.parameters())
    steps = [torch.zeros_like(weight) for weight in weights]
    for _ in range(60):
        for batch in torch.randperm(len(images)).split(50):
            loss = torch.nn.functional.cross_entropy(network(images[batch]), truth[batch])
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for weight, step, gradient in zip(weights, steps, gradients, strict=True):
                    step.mul_(0.9).add_(gradient, alpha=-0.02)
                    weight.add_(step)
    return network.eval()


def archive(version: str, model: Path, handler: Path) -> Path:
    """Packs a scripted model and its handler into ./VERSION.mar."""
    subprocess.run(
        ["torch-model-archiver", "--model-name", version, "--version", "1.0", "--serialized-file", model,
         "--handler", handler, "--export-path", ".", "--force"],
        check=True,
    )  # fmt: skip
    return Path(f"{version}.mar")


def main() -> None:
    """All of it."""
    torch.set_num_threads(2)
    data, task = (json.loads((TASK / name).read_text()) for name in ("data.json", "task.json"))
    images, truth = torch.tensor(data["images"], dtype=torch.float32), torch.tensor(data["truth"])
    asked = torch.tensor(task["images"], dtype=torch.float32)
    about: dict[str, dict[str, object]] = {"accuracy": {}, "answers": {}}
    made = []
    for version, seen in SEEN.items():
        network = train(images[:seen], truth[:seen])
        with torch.no_grad():
            right = network(images[TRAINED_ON:]).argmax(1) == truth[TRAINED_ON:]
            about["answers"][version] = network(asked).argmax(1).tolist()
        about["accuracy"][version] = right.float().mean().item()
        model = Path(f"digits-{version}.pt")
        torch.jit.script(network).save(str(model))
        made.append(archive(version, model, TASK / "handler.py"))
    made.append(archive("broken", model, TASK / "broken_handler.py"))
    Path("about.json").write_text(json.dumps(about))
    for file in (*made, Path("about.json")):
        request = urllib.request.Request(task["uploads"][file.name], data=file.read_bytes(), method="PUT")
        with urllib.request.urlopen(request, timeout=60) as response:
            print(file, response.status, flush=True)


main()
