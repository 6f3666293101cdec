#!/usr/bin/env python3
"""Hold models/alexnet.yaml against PyTorch: pytorch_agrees.py PATH/TO/graph-runner [--batch N] [--seed N]

The same weights and images go through both: the logits, the loss and the gradient of every parameter
must agree within 1e-4 of the largest element, and the weights after five SGD steps without dropout
within 1e-3. Then, from weights as published and without dropout, ten steps on ten batches: their losses
must agree within 1e-4 of each. Where the two largest values of a pooling window agree to the last bits, rounding decides
which of them gets the gradient, and the two programs may part there by more: another --seed draws
other weights and images. Needs PyTorch and NumPy (Debian: python3-torch); not part of the test suite, which needs
neither.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch
from torch import nn

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", "alexnet.yaml")
DTYPES = {"F32": np.float32, "I32": np.int32}
STEPS = 10
LEARNING_RATE = 0.001  # with weights of this scale 0.01 throws the loss about, and any two programs part


def write(path, tensors):
    header, data, offset = {}, b"", 0
    for name, array in tensors.items():
        array = np.ascontiguousarray(array)
        kind = {"float32": "F32", "int32": "I32"}[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def read(path):
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = file.read()
    return {name: np.frombuffer(data[e["data_offsets"][0]:e["data_offsets"][1]], DTYPES[e["dtype"]])
            .reshape(e["shape"]) for name, e in header.items() if name != "__metadata__"}


def alexnet():
    """AlexNet as published, without dropout; the layers with parameters carry our names."""
    layers = {}

    def named(name, layer):
        layers[name] = layer
        return layer

    net = nn.Sequential(
        nn.ConstantPad2d((0, 3, 0, 3), 0.0), named("conv1", nn.Conv2d(3, 96, 11, 4)), nn.ReLU(),
        nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0), nn.MaxPool2d(3, 2),
        named("conv2", nn.Conv2d(96, 256, 5, padding=2, groups=2)), nn.ReLU(),
        nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0), nn.MaxPool2d(3, 2),
        named("conv3", nn.Conv2d(256, 384, 3, padding=1)), nn.ReLU(),
        named("conv4", nn.Conv2d(384, 384, 3, padding=1, groups=2)), nn.ReLU(),
        named("conv5", nn.Conv2d(384, 256, 3, padding=1, groups=2)), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Flatten(), named("fc6", nn.Linear(9216, 4096)), nn.ReLU(),
        named("fc7", nn.Linear(4096, 4096)), nn.ReLU(), named("fc8", nn.Linear(4096, 1000)))
    for layer in layers.values():
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(layer.bias, std=0.1)
    return net, layers


def initialise_as_published(layers):
    for name, layer in layers.items():
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.constant_(layer.bias, 0.0 if name in ("conv1", "conv3") else 1.0)


def parameters(layers):
    return {f"{name}.{part}": getattr(layer, part) for name, layer in layers.items()
            for part in ("weight", "bias")}


def worst(ours, theirs):
    """The largest difference relative to the largest element."""
    return float(np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runner")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    net, layers = alexnet()
    image = torch.randn(options.batch, 3, 224, 224)
    label = torch.randint(0, 1000, (options.batch,))
    failed = 0

    def compare(name, ours, theirs, tolerance):
        nonlocal failed
        difference = worst(ours, theirs)
        failed += difference > tolerance
        print(f"{name:24} {difference:9.2e}  {'ok' if difference <= tolerance else 'TOO FAR'}")

    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)

        def run(*arguments):
            return subprocess.run([options.runner, "run", MODEL, "--weights", path("weights"), "--inputs",
                                   path("inputs"), *arguments], check=True, capture_output=True, text=True).stdout

        write(path("weights"), {k: v.detach().numpy() for k, v in parameters(layers).items()})
        write(path("inputs"), {"image": image.numpy(), "label": label.numpy().astype(np.int32)})
        fetch = ["fc8", "loss"] + [f"grad:{name}" for name in parameters(layers)]
        run("--fetch", ",".join(fetch), "--outputs", path("outputs"))
        ours = read(path("outputs"))
        logits = net(image)
        loss = nn.functional.cross_entropy(logits, label)
        loss.backward()
        compare("fc8", ours["fc8"], logits.detach().numpy(), 1e-4)
        compare("loss", ours["loss"], loss.detach().numpy(), 1e-4)
        for name, value in parameters(layers).items():
            compare(f"grad:{name}", ours[f"grad:{name}"], value.grad.numpy(), 1e-4)

        run("--fetch", "loss", "--outputs", path("outputs"), "--steps", "5", "--learning-rate",
            str(LEARNING_RATE), "--save-weights", path("trained"))
        optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, 0.9, weight_decay=5e-4)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(image), label).backward()
            optimizer.step()
        ours = read(path("trained"))
        print("after five steps:")
        for name, value in parameters(layers).items():
            compare(name, ours[name], value.detach().numpy(), 1e-3)

        initialise_as_published(layers)
        images = torch.randn(STEPS * options.batch, 3, 224, 224) * 60  # pixels, less their mean
        labels = torch.randint(0, 1000, (STEPS * options.batch,))
        write(path("weights"), {k: v.detach().numpy() for k, v in parameters(layers).items()})
        write(path("inputs"), {"image": images.numpy(), "label": labels.numpy().astype(np.int32)})
        lines = run("--batch", str(options.batch), "--fetch", "loss", "--steps", str(STEPS), "--learning-rate", "0.01").splitlines()
        optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4)
        print("losses of ten steps:")
        for line, x, y in zip(lines, images.split(options.batch), labels.split(options.batch), strict=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            compare(line, np.array(float(line.split()[-1])), loss.detach().numpy(), 1e-4)
    sys.exit(failed > 0)


main()
