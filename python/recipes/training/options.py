"""Command line options that the training scripts share."""
import sys
from pathlib import Path


def add(parser, rate):
    parser.add_argument("run", type=Path, help="the run's folder; if it is there, the run goes on")
    parser.add_argument("--train", type=Path, nargs="+", required=True,
                        help="files of JSON lines with 'document' and 'summary'; one that is given twice counts twice")
    parser.add_argument("--held-out", type=Path, required=True, help="the same, for the loss that is logged")
    parser.add_argument("--held-out-texts", type=int, default=256, help="how many of them")
    parser.add_argument("--steps", type=int, help="length of the run in steps")
    parser.add_argument("--minutes", type=float, help="length of the run in minutes of training")
    parser.add_argument("--tokens", type=int, default=4096, help="source tokens a batch, about")
    parser.add_argument("--source-length", type=int, default=512)
    parser.add_argument("--target-length", type=int, default=64)
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="adamw")
    parser.add_argument("--rate", type=float, default=rate,
                        help="highest rate, relative to each weight's size at its start (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=0.03, help="share of the run in which the rate rises")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--label-smoothing", type=float, default=0.0,
                        help="share of a target's probability that is spread over the vocabulary while training")
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient")
    parser.add_argument("--average", type=float, default=0.995, help="decay of the weights' running average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=20, help="steps; the held-out loss comes every tenth time")
    parser.add_argument("--save-every", type=int, default=200, help="steps")
    parser.add_argument("--compute", choices=("float32", "bfloat16"), default="bfloat16")


def check(args):
    if not args.steps and not args.minutes:
        sys.exit("--steps or --minutes: one of them is needed")
    for name in ("steps", "minutes", "tokens", "log_every", "save_every", "clip", "held_out_texts"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            sys.exit(f"--{name.replace('_', '-')} {value}: not more than 0")
    for name in ("dropout", "label_smoothing", "average", "warm_up"):
        if not 0 <= getattr(args, name) < 1:
            sys.exit(f"--{name.replace('_', '-')} {getattr(args, name)}: not in [0, 1)")
    for name in ("source_length", "target_length"):
        if getattr(args, name) < 8:
            sys.exit(f"--{name.replace('_', '-')} {getattr(args, name)}: less than 8")


def settings(args):
    """What run.json keeps: every option, as plain values, less the run's own folder."""
    def plain(v):
        return [plain(x) for x in v] if isinstance(v, list) else str(v) if isinstance(v, Path) else v

    return {k: plain(v) for k, v in vars(args).items() if k != "run"}
