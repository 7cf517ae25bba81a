"""Files of texts, and folders that are either finished or not there under their name."""
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path


@contextlib.contextmanager
def finished_together(target):
    """Yields an empty folder beside target that gets target's name only when the block ends without an error."""
    target = Path(target)
    if target.exists():
        sys.exit(f"{target}: exists already; nothing is overwritten")
    if not target.resolve().parent.is_dir():
        sys.exit(f"{target}: {target.resolve().parent} is no folder")
    unfinished = target.with_name(f".{target.name}.unfinished.{os.getpid()}")
    unfinished.mkdir()
    try:
        yield unfinished
        unfinished.rename(target)
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)


def replace_text(path, text):
    """Writes a whole file under a second name and moves it over: a reader sees the old one or the new one."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def read_jsonl(path, keys=("document", "summary")):
    """Rows with these texts; anything else is an error that names the line."""
    rows = []
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as e:
        sys.exit(f"{path}: {e}")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as e:
            sys.exit(f"{path}:{number}: no JSON: {e}")
        for key in keys:
            if not isinstance(row, dict) or not isinstance(row.get(key), str) or not row[key].strip():
                sys.exit(f"{path}:{number}: '{key}' is no text")
        rows.append(row)
    return rows or sys.exit(f"{path}: no texts")
