"""The training loop: one run folder that can be killed at any time and goes on where it was.

RUN/run.json        what was asked for; going on with other settings is refused
RUN/state.pt        weights, their average, optimisers, place in the data; replaced as a whole
RUN/log.csv         one line every so many steps (curves.py draws it)
RUN/checkpoint/     appears when the run is finished: the average of the weights
"""
import csv
import json
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from training import checkpoint, files, optimiser, text

COLUMNS = ("step", "minutes", "epoch", "source_tokens", "rate", "training_loss", "held_out_loss")


MAY_CHANGE = {"steps", "minutes", "log_every", "save_every"}  # a run may go on for longer than was first planned


class Run:
    def __init__(self, folder, model, texts, held_out, settings, beside):
        """texts, held_out: of text.py; settings: the run's options, all plain values; beside: see checkpoint.write."""
        self.folder, self.model, self.texts, self.held_out = Path(folder), model, texts, held_out
        self.settings, self.beside = settings, beside
        self.average = {n: t.detach().clone() for n, t in model.state_dict().items()}
        self.optimisers = optimiser.make(model, settings["optimizer"])
        self.at = {"step": 0, "epoch": 0, "batch": 0, "seconds": 0.0, "source_tokens": 0}
        self.noted = []  # losses since the last line of the log
        self._open()

    def _open(self):
        described = {**self.settings, "config": self.model.config}
        path = self.folder / "run.json"
        if path.exists():
            before = json.loads(path.read_text())
            differ = sorted(k for k in (before.keys() | described.keys()) - MAY_CHANGE
                            if before.get(k) != described.get(k))
            if differ:
                sys.exit(f"{path}: this run was begun with another {', '.join(differ)}")
        else:
            if self.folder.exists() and any(self.folder.iterdir()):
                sys.exit(f"{self.folder}: not empty and no run of this recipe; nothing is overwritten")
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace_text(path, json.dumps(described, indent=1) + "\n")
        if (self.folder / "checkpoint").exists():
            sys.exit(f"{self.folder}/checkpoint: this run is finished")
        if (self.folder / "state.pt").exists():
            self._load()

    def _load(self):
        state = torch.load(self.folder / "state.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average, self.at = state["average"], state["at"]
        for own, saved in zip(self.optimisers, state["optimisers"]):
            own.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        self._cut_log()
        print(f"{self.folder}: goes on at step {self.at['step']}", flush=True)

    def _cut_log(self):
        """Lines behind the saved state are made again."""
        path = self.folder / "log.csv"
        if path.exists():
            with open(path, newline="") as f:
                rows = [r for r in csv.DictReader(f) if r["step"] and int(r["step"]) <= self.at["step"]]
            lines = [",".join(COLUMNS)] + [",".join(r[c] or "" for c in COLUMNS) for r in rows]
            files.replace_text(path, "\n".join(lines) + "\n")

    def save(self):
        unfinished = self.folder / "state.pt.unfinished"
        torch.save({"model": self.model.state_dict(), "average": self.average, "at": self.at,
                    "optimisers": [o.state_dict() for o in self.optimisers], "random": torch.get_rng_state()},
                   unfinished)
        unfinished.replace(self.folder / "state.pt")

    def progress(self):
        """Share of the run that is done, by steps or by minutes, whichever is further."""
        steps, minutes = self.settings["steps"], self.settings["minutes"]
        shares = [self.at["step"] / steps] if steps else []
        return min(1.0, max(shares + ([self.at["seconds"] / 60 / minutes] if minutes else [])))

    def step(self, batch):
        rate = optimiser.scheduled(self.progress(), self.settings["rate"], self.settings["warm_up"])
        optimiser.set_rate(self.optimisers, rate)
        self.model.train()
        loss, _ = self.model.loss(batch.ids, batch.mask, batch.labels, seed=self.at["step"],
                                  smoothing=self.settings["label_smoothing"])
        if not torch.isfinite(loss):
            sys.exit(f"{self.folder}: the loss is {loss.item()} at step {self.at['step']}: lower --rate; state.pt is "
                     "from before it")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings["clip"])
        for o in self.optimisers:
            o.step()
            o.zero_grad()
        self._average()
        self.noted.append(loss.item())
        return rate

    @torch.no_grad()
    def _average(self):
        step = self.at["step"]
        keep = min(self.settings["average"], (1 + step) / (10 + step))
        own = self.model.state_dict()
        torch._foreach_lerp_([self.average[n] for n in own], list(own.values()), 1 - keep)

    @torch.no_grad()
    def held_out_loss(self):
        """Mean loss a token of the averaged weights."""
        own = {n: t.clone() for n, t in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        self.model.eval()
        total = count = 0
        for batch in text.epoch(self.held_out, self.settings["tokens"], 0, 0):
            loss, n = self.model.loss(batch.ids, batch.mask, batch.labels)
            total, count = total + loss.item() * n, count + n
        self.model.load_state_dict(own)
        return total / count

    def _log(self, rate, held_out):
        path = self.folder / "log.csv"
        row = {"step": self.at["step"], "minutes": round(self.at["seconds"] / 60, 2), "epoch": self.at["epoch"],
               "source_tokens": self.at["source_tokens"], "rate": f"{rate:.6g}",
               "training_loss": round(sum(self.noted) / len(self.noted), 4),
               "held_out_loss": "" if held_out is None else round(held_out, 4)}
        self.noted = []
        with open(path, "a", newline="") as f:
            writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
            if f.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        return row

    def _after_step(self, rate, bar):
        s, every = self.settings, self.settings["log_every"]
        done = self.progress() >= 1.0
        if self.at["step"] % every == 0 or done:
            held_out = self.held_out_loss() if done or self.at["step"] % (10 * every) == 0 else None
            row = self._log(rate, held_out)
            bar.set_postfix(loss=row["training_loss"], refresh=False)
            bar.n = round(100 * self.progress(), 1)
            bar.refresh()
        if self.at["step"] % s["save_every"] == 0 or done:
            self.save()
        return done

    def train(self):
        with tqdm(total=100, unit="%", desc=str(self.folder), initial=round(100 * self.progress(), 1)) as bar:
            done = self.progress() >= 1.0
            while not done:
                skip = self.at["batch"]
                for batch in text.epoch(self.texts, self.settings["tokens"], self.settings["seed"],
                                        self.at["epoch"], skip):
                    begun = time.monotonic()
                    rate = self.step(batch)
                    self.at["step"] += 1
                    self.at["batch"] += 1
                    self.at["seconds"] += time.monotonic() - begun
                    self.at["source_tokens"] += int(batch.mask.sum())
                    done = self._after_step(rate, bar)
                    if done:
                        break
                else:
                    self.at["epoch"] += 1
                    self.at["batch"] = 0
        self.finish()

    def finish(self):
        checkpoint.write(self.folder / "checkpoint", self.average, self.model.config, self.beside)
        print(f"{self.folder}/checkpoint: written after {self.at['step']} steps")
