"""What each model is measured on, unless bench/compare is told otherwise. Sizes: bench/make_checkpoint.cc."""
from typing import NamedTuple


class Cases(NamedTuple):
    cases: str    # batch x beams
    sources: str  # tokens of a document
    parts: tuple  # of latency, throughput and serving


T5 = Cases("1x1,8x1,32x1,1x4", "512", ("latency", "throughput", "serving"))
BART = Cases("1x1,1x4", "512,1024", ("latency",))

MODELS = {"t5-small": T5, "t5-base": T5, "t5-large": T5, "bart-large-cnn": BART, "distilbart-cnn-12-6": BART}
