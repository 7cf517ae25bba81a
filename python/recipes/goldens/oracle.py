"""Who answers: transformers where it can (T5, BART and what else it has), else tests/golden/reference.py."""
import copy
import math
import sys
import tempfile
from pathlib import Path

import torch
import transformers

from training import checkpoint, folding, grouping


def trim(ids, ends):
    """Cuts what generate() fills up after the first end."""
    ids = [int(i) for i in ids]
    return ids[:next((n + 1 for n, i in enumerate(ids) if n > 0 and i in ends), len(ids))]


def read_settings(folder):
    """config.json with what its family's class says of ids and vocabulary, and the ids that generate() takes."""
    said = checkpoint.read_json(folder / "config.json")
    try:
        own = transformers.AutoConfig.from_pretrained(folder)
        known = type(own) in transformers.AutoModelForSeq2SeqLM._model_mapping
    except ValueError:
        known = False
    if not known:
        sys.exit(f"{folder}/config.json: model_type {said.get('model_type')}: transformers {transformers.__version__} has "
                 "no encoder-decoder of that name")
    start, end = getattr(own, "decoder_start_token_id", None), getattr(own, "eos_token_id", None)
    ids = checkpoint.token_ids(folder, said, 0 if start is None else start, 1 if end is None else end)
    return {**said, "vocab_size": own.vocab_size, "pad_token_id": own.pad_token_id, **ids}


def load_transformers(folder, config):
    kind = transformers.AutoModelForSeq2SeqLM
    if config.get("attention_variant", "mha") == "mha":
        return kind.from_pretrained(folder, torch_dtype=torch.float32).eval()
    plain, tensors = folding.head_repeated(checkpoint.read_config(folder), checkpoint.read_tensors(folder))
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "repeated"
        checkpoint.write(made, tensors, plain, folder, torch.float32)
        return kind.from_pretrained(made, torch_dtype=torch.float32).eval()


class Transformers:
    """The oracle for every grouping that is fixed at load."""

    def __init__(self, folder, config):
        self.model, self.ends = load_transformers(folder, config), config["end_token_ids"]
        self.source = f"transformers {transformers.__version__}"
        # What the checkpoint asks for by default must not mix into the options that golden.json names.
        self.own, self.model.generation_config = self.model.generation_config, transformers.GenerationConfig(
            decoder_start_token_id=config["decoder_start_token_id"], eos_token_id=config["end_token_ids"] or None,
            pad_token_id=config["pad_token_id"])
        # transformers sizes its cache by the encoder's depth, and fails where the decoder is deeper
        shape = self.model.config
        deeper = getattr(shape, "num_decoder_layers", getattr(shape, "decoder_layers", 0)) > shape.num_hidden_layers
        self.how = {"do_sample": False, "use_cache": not deeper, "return_dict_in_generate": True}

    def forced(self, ids, decoder_ids):
        """Encoder output [S, D] and logits [T, V]."""
        out = self.model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([decoder_ids]))
        return out.encoder_last_hidden_state[0], out.logits[0]

    def _generate(self, ids, **options):
        batch = torch.tensor([ids])
        return self.model.generate(input_ids=batch, attention_mask=torch.ones_like(batch), **self.how, **options)

    def greedy(self, ids, options):
        """Ids and the smallest gap between the two best scores of a step that is not forced."""
        out = self._generate(ids, num_beams=1, output_scores=True, **options)
        gaps = [top[0] - top[1] for top in (step[0].float().topk(2).values.tolist() for step in out.scores)]
        return trim(out.sequences[0], self.ends), min(g for g in gaps if g < math.inf)

    def beams(self, ids, options):
        out = self._generate(ids, output_scores=True, **options)
        return [trim(s, self.ends) for s in out.sequences], out.sequences_scores.tolist()

    def defaults(self, ids):
        """generate() by the checkpoint's own settings alone."""
        config, batch = copy.deepcopy(self.own), torch.tensor([ids])
        config.update(output_scores=True, **self.how)
        out = self.model.generate(input_ids=batch, attention_mask=torch.ones_like(batch), generation_config=config)
        scores = getattr(out, "sequences_scores", None)
        return [trim(s, self.ends) for s in out.sequences], None if scores is None else scores.tolist()


class Reference:
    """The oracle for groupings that follow the keys, or add noise, as the model runs."""

    source = "reference.py"

    def __init__(self, folder, _):
        sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests" / "golden"))
        import reference
        self.model = reference.Reference(folder)

    def forced(self, ids, decoder_ids):
        return self.model.encode([ids])[0], self.model.logits([ids], [decoder_ids])[0]

    def greedy(self, ids, options):
        return self.model.greedy(ids, **options)

    def beams(self, ids, options):
        return self.model.beam_search(ids, **options)[:2]


def make_oracle(folder, config):
    as_it_runs = config.get("attention_variant", "mha") in grouping.KEY_DRIVEN + ("pgqa",)
    return (Reference if as_it_runs else Transformers)(folder, config)
