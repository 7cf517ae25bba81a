#!/usr/bin/env python3
"""Times peer engines (CTranslate2, Hugging Face transformers, OpenVINO) on fixed T5 and BART workloads; a JSON line a case.

A case is `batch` documents of so many random token ids each, exactly `new` new tokens a document, `beams` beams.
encode_s: seconds to encode the batch. total_s: seconds for the whole batch. step_ms: (total - encode) / new tokens.
load_s: seconds to load what was converted. What an engine wants converted is kept beside the checkpoint, in DIR-ENGINE-TYPE.
"""
import argparse
import json
import os
import random
import resource
import shutil
import time

LOWEST_ID, HIGHEST_ID = 10, 500  # ids every tokenizer here has


def config_of(model_dir):
    with open(os.path.join(model_dir, "config.json"), encoding="utf-8") as file:
        return json.load(file)


def around(config):
    """Ids before and behind a document: `<s> A </s>` of BART, `A </s>` of T5."""
    before = [config["bos_token_id"]] if config["model_type"] == "bart" else []
    return before, [config["eos_token_id"]]


def sources(config, batch, length, seed=1):
    before, after = around(config)
    rng = random.Random(seed)
    inner = length - len(before) - len(after)
    return [before + [rng.randint(LOWEST_ID, HIGHEST_ID) for _ in range(inner)] + after for _ in range(batch)]


def add_tokenizer(folder, spiece_model):
    """A tokenizer with as many pieces as the model has rows, for a converter that asks for one; no text is ever read."""
    config = config_of(folder)
    if config["model_type"] != "bart":
        from transformers import T5Tokenizer
        shutil.copy(spiece_model, os.path.join(folder, "spiece.model"))
        T5Tokenizer.from_pretrained(folder).save_pretrained(folder)
        return
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(4, config["vocab_size"])), "<mask>"]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as file:
        json.dump({piece: i for i, piece in enumerate(pieces)}, file)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n")


def converted(model_dir, name, convert):
    """The folder that `convert(folder)` has filled, now or in an earlier run."""
    folder = f"{model_dir.rstrip('/')}-{name}"
    if not os.path.exists(folder):
        unfinished = folder + ".unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        convert(unfinished)
        os.rename(unfinished, folder)
    return folder


class CTranslate2:
    @staticmethod
    def prepare(model_dir, dtype, tokenizer):
        import ctranslate2

        def convert(folder):
            source = folder + ".source"  # the checkpoint with a tokenizer, which the converter asks for
            shutil.copytree(model_dir, source, dirs_exist_ok=True)
            add_tokenizer(source, tokenizer)
            ctranslate2.converters.TransformersConverter(source).convert(folder, quantization=dtype)
            shutil.rmtree(source)

        return converted(model_dir, f"ctranslate2-{dtype}", convert)

    def __init__(self, folder, dtype, threads):
        import ctranslate2
        with open(os.path.join(folder, "shared_vocabulary.json"), encoding="utf-8") as file:
            self.pieces = json.load(file)
        self.translator = ctranslate2.Translator(folder, device="cpu", inter_threads=1, intra_threads=threads,
                                                 compute_type=dtype)

    def generate(self, ids, beams, new):
        text = [[self.pieces[i] for i in row] for row in ids]
        result = self.translator.translate_batch(text, beam_size=beams, max_decoding_length=new,
                                                 min_decoding_length=new, max_input_length=0)
        assert all(len(r.hypotheses[0]) == new for r in result)

    def encode(self, ids):  # one step is the least it does
        self.generate(ids, 1, 1)


class Transformers:
    @staticmethod
    def prepare(model_dir, _dtype, _tokenizer):
        return model_dir

    def __init__(self, folder, dtype, threads):
        import torch
        from transformers import AutoModelForSeq2SeqLM
        torch.set_num_threads(threads)
        self.torch = torch
        self.model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def generate(self, ids, beams, new):
        with self.torch.inference_mode():
            x = self.torch.tensor(ids)
            out = self.model.generate(input_ids=x, attention_mask=self.torch.ones_like(x), num_beams=beams,
                                      do_sample=False, max_new_tokens=new, min_new_tokens=new,
                                      decoder_start_token_id=self.model.config.decoder_start_token_id)
        assert out.shape[1] == new + 1, tuple(out.shape)

    def encode(self, ids):
        with self.torch.inference_mode():
            self.model.get_encoder()(self.torch.tensor(ids))


class OpenVINO(Transformers):
    @staticmethod
    def prepare(model_dir, dtype, _tokenizer):
        from optimum.intel import OVModelForSeq2SeqLM
        weights = dtype.partition("-")[2]

        def convert(folder):
            model = OVModelForSeq2SeqLM.from_pretrained(model_dir, export=True, load_in_8bit=weights == "w8",
                                                        compile=False)
            model.save_pretrained(folder)

        return converted(model_dir, f"openvino-{weights or 'all'}", convert)

    def __init__(self, folder, dtype, threads):
        import torch
        from optimum.intel import OVModelForSeq2SeqLM
        self.torch = torch
        self.model = OVModelForSeq2SeqLM.from_pretrained(
            folder, ov_config={"INFERENCE_PRECISION_HINT": dtype.partition("-")[0],
                               "INFERENCE_NUM_THREADS": str(threads)})

    def encode(self, ids):
        x = self.torch.tensor(ids)
        self.model.encoder(input_ids=x, attention_mask=self.torch.ones_like(x))


ENGINES = {"ctranslate2": CTranslate2, "transformers": Transformers, "openvino": OpenVINO}


def best_of(repeats, call):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def numbers(text):
    return [int(part) for part in text.split(",")]


def run(args):
    engine_class = ENGINES[args.engine]
    folder = engine_class.prepare(args.model, args.type, args.tokenizer)
    start = time.perf_counter()
    engine, config = engine_class(folder, args.type, args.threads), config_of(args.model)
    load_s = time.perf_counter() - start
    engine.generate(sources(config, 1, 16), 1, 4)  # what is made at the first call is not a case's time
    for case in args.cases.split(","):
        batch, beams = map(int, case.split("x"))
        for source in args.source:
            ids = sources(config, batch, source)
            encode_s = best_of(args.repeats, lambda: engine.encode(ids))
            total_s = best_of(args.repeats, lambda: engine.generate(ids, beams, args.new))
            print(json.dumps({
                "engine": args.engine, "type": args.type, "model": os.path.basename(args.model.rstrip("/")),
                "threads": args.threads, "batch": batch, "beams": beams, "source": source, "new": args.new,
                "encode_s": round(encode_s, 4), "total_s": round(total_s, 4),
                "step_ms": round((total_s - encode_s) / args.new * 1e3, 3),
                "new_tokens_per_s": round(batch * args.new / total_s, 1),
                "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "load_s": round(load_s, 3)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("model", help="directory of a T5 or BART checkpoint with as many KV heads as heads")
    parser.add_argument("--type", required=True,
                        help="ctranslate2: float32, int8; transformers: float32, bfloat16; openvino: f32, bf16, bf16-w8")
    parser.add_argument("--cases", default="1x1,8x1,32x1,1x4", help="batch x beams, with commas between cases")
    parser.add_argument("--source", type=numbers, default=[512], help="tokens of a document; with commas: each")
    parser.add_argument("--new", type=int, default=128, help="tokens of a summary, exactly")
    parser.add_argument("--repeats", type=int, default=2, help="runs of a case; the fastest counts")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tokenizer", default="models/demo/spiece.model",
                        help="a sentencepiece model: ctranslate2's converter asks for one of T5")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
