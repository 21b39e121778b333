"""Clips of a dataset that the manifest marks `dev`, for benchmarks that draw nothing."""

import argparse
from collections import defaultdict

from heygem.lips import LipsModel
from heygem.training import dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say which clips, and by which model."""
    parser.add_argument("dataset")
    parser.add_argument("--model", help="lips model file; default: the one that comes with heygem")
    parser.add_argument("--speakers", default="", help="with commas; default: all")
    parser.add_argument("--cache", help="folder of tracked videos")


def load(options: argparse.Namespace) -> tuple[LipsModel, dict[str, list[dataset.Clip]]]:
    """The model, and the clips of each speaker with its features, in the order of their names."""
    model = LipsModel.load(options.model)
    chosen = {name for name in options.speakers.split(",") if name}
    sources = [
        source
        for source in dataset.find(options.dataset)
        if source.split == "dev" and (not chosen or source.speaker in chosen)
    ]
    by_speaker = defaultdict(list)
    for clip in dataset.load(sources, cache=options.cache, embedding=model.embedding).clips:
        by_speaker[clip.source.speaker].append(clip)
    return model, dict(sorted(by_speaker.items()))
