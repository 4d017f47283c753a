"""An exported network against PyTorch, part by part, in alternation within one process.

    tfsasm export --format onnx --weights tiny --output tiny-onnx
    python benchmarks/runtimes.py --export tiny-onnx --runtime onnx --weights tiny --size 768x576
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch

import tfsasm
from tfsasm.runtime.allocator import keep_freed_memory
from tfsasm.runtime.network import Network


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", required=True, help="folder that tfsasm export made")
    parser.add_argument("--runtime", choices=["onnx", "openvino"], required=True)
    parser.add_argument("--weights", default="tiny")
    parser.add_argument("--size", default="768x576", help="WIDTHxHEIGHT of the image")
    parser.add_argument("--proposals", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    networks: list[Network] = [
        tfsasm.load(options.weights, device="cpu").network,
        tfsasm.load(options.export, runtime=options.runtime, threads=options.threads).network,
    ]
    width, height = (int(side) for side in options.size.split("x"))
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(noise, (15, 15), 0)
    boxes = random.uniform(0.1, 0.9, (options.proposals, 4)).astype(np.float32)
    scores = random.random(options.proposals, dtype=np.float32)

    def decode(network: Network, features: object) -> None:
        queries = network.queries(network.asarray(boxes), network.asarray(scores))
        network.decode(features, queries)

    features = [network.encode([image])[0] for network in networks]
    maps = features[1]
    parts = {
        "encode": [partial(network.encode, [image]) for network in networks],
        "decode": [partial(decode, *pair) for pair in zip(networks, features, strict=True)],
    }
    tokens = sum(level.shape[1] * level.shape[2] for level in maps)
    print(f"{platform.processor()}, {options.threads} threads, {tokens} tokens, torch and "
          f"{options.runtime} in alternation, median of {options.rounds}")  # fmt: skip
    for name, (by_torch, by_runtime) in parts.items():
        by_torch(), by_runtime()
        pairs = [(milliseconds(by_torch), milliseconds(by_runtime)) for _ in range(options.rounds)]
        torch_ms, runtime_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{name}: torch {torch_ms:.1f} ms, {options.runtime} {runtime_ms:.1f} ms, "
              f"{ratio:.2f} times as fast")  # fmt: skip


if __name__ == "__main__":
    main()
