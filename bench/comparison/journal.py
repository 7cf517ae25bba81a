"""Measurements as lines of JSON, appended one by one: an interruption loses the one that was under way."""
import json
import os


class Journal:
    def __init__(self, path):
        self.path = path
        self.entries = {}  # by key; a later one replaces an earlier one
        if os.path.exists(path):
            self._read()

    def _read(self):
        with open(self.path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith("\n"):
                    break  # what an interruption has cut off
                try:
                    entry = json.loads(line)
                    self.entries[entry["key"]] = entry
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{self.path}:{number}: no measurement: {error}") from error

    def has(self, key):
        return key in self.entries and not self.entries[key].get("error")

    def add(self, key, **fields):
        entry = {"key": key, **fields}
        self.entries[key] = entry
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        self._drop_cut_line()
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _drop_cut_line(self):
        if not os.path.exists(self.path):
            return
        with open(self.path, "r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)

    def results(self, **wanted):
        """Lines of all entries whose fields are as wanted."""
        found = []
        for entry in self.entries.values():
            if not entry.get("error") and all(entry.get(name) == value for name, value in wanted.items()):
                found.extend(entry["results"])
        return found
