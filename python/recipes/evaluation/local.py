"""Greedy summaries of a checkpoint by PyTorch, without a server: for groupings that no server at hand serves."""
import torch
from tqdm import tqdm

from training import checkpoint, text, vocabulary


@torch.no_grad()
def greedy(model, ids, mask, most, seed=0):
    """Ids of each row's summary without start and end. ids, mask: [B, S]. Every step decodes its whole prefix again."""
    config = model.config
    memory = model.memory(model.encode(ids, mask), mask)
    out = torch.full((len(ids), 1), config["decoder_start_token_id"])
    done = torch.zeros(len(ids), dtype=torch.bool)
    ends = config["end_token_ids"]
    for _ in range(most):
        best = model.vocabulary(model.decode(memory, out, seed)[:, -1]).argmax(-1)
        out = torch.cat([out, torch.where(done, config["pad_token_id"], best)[:, None]], 1)
        done |= torch.isin(best, torch.tensor(ends))
        if done.all():
            break
    return [text.until(row[1:].tolist(), ends) for row in out]


def summarize(folder, documents, prefix, source_length=512, most=48, batch=32):
    model = checkpoint.load(folder).eval()
    words = vocabulary.make_tokenizer(folder, model.config)
    source_length = min(source_length, model.config.get("max_position_embeddings", source_length))
    sources = [text.within(words, prefix + d, source_length) for d in documents]
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    summaries = [None] * len(sources)
    with tqdm(total=len(sources), desc=str(folder), unit="text") as bar:
        for start in range(0, len(order), batch):
            part = order[start:start + batch]
            made = text.to_batch([sources[i] for i in part], [words.after] * len(part))
            for i, ids in zip(part, greedy(model, made.ids, made.mask, most)):
                summaries[i] = words.decode(ids)
            bar.update(len(part))
    return summaries
