// Writes pytorch_model.bin byte by byte, in both formats, and whatever lie a test wants to tell.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace precis::testing {

// `count` bytes, little-endian.
inline std::string Number(uint64_t number, size_t count) {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += static_cast<char>(i < 8 ? number >> (8 * i) : 0);
  return bytes;
}

// --- a pickle, one opcode after the other ---

inline std::string Proto(int version = 2) {
  return std::string("\x80") + static_cast<char>(version);
}
inline std::string Text(const std::string& text) { return "X" + Number(text.size(), 4) + text; }
inline std::string Int(int64_t value) {  // LONG1 of 8 bytes holds all
  return std::string("\x8a\x08") + Number(static_cast<uint64_t>(value), 8);
}
inline std::string Global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string Tuple(const std::vector<std::string>& items) {
  std::string bytes = "(";
  for (const std::string& item : items) bytes += item;
  return bytes + "t";
}
inline std::string Numbers(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(Int(value));
  return Tuple(items);
}
inline std::string OrderedDict() { return Global("collections", "OrderedDict") + ")R"; }

struct WrittenStorage {
  std::string type = "FloatStorage";
  std::string key = "0";
  int64_t count = 0;
};
inline std::string StorageId(const WrittenStorage& storage, const std::string& part = "") {
  return Tuple({Text("storage"), Global("torch", storage.type), Text(storage.key), Text("cpu"),
                Int(storage.count), part}) +
         "Q";
}

struct WrittenTensor {
  WrittenStorage storage;
  int64_t offset = 0;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
};
inline std::string Tensor(const WrittenTensor& tensor, const std::string& part = "",
                          const std::string& metadata = "") {
  return Global("torch._utils", "_rebuild_tensor_v2") +
         Tuple({StorageId(tensor.storage, part), Int(tensor.offset), Numbers(tensor.shape),
                Numbers(tensor.strides), "\x89", OrderedDict(), metadata}) +
         "R";
}
// One tensor of `count` elements in a row, which are all of its storage.
inline std::string Row(int64_t count, const std::string& key = "0",
                       const std::string& type = "FloatStorage") {
  return Tensor({{type, key, count}, 0, {count}, {1}});
}

using NamedPickles = std::vector<std::pair<std::string, std::string>>;
// A dict of names and values, a whole pickle.
inline std::string StateDict(const NamedPickles& items) {
  std::string bytes = Proto() + "}(";
  for (const auto& [name, value] : items) bytes += Text(name) + value;
  return bytes + "u.";
}

// --- the zip format ---

struct ZipEntry {
  std::string name;
  std::string data;
  // What the directory says, where it is not the truth.
  uint64_t method = 0;
  uint64_t flags = 0;
  std::string local_name = {};     // else `name`
  int64_t shift = 0;               // of where the directory says it begins
  int64_t bytes_more = 0;          // of both its sizes
  int64_t compressed_more = 0;     // of the compressed one
  bool is_zip64 = false;           // sizes and place in 64 bits
  bool lacks_zip64_field = false;  // though it is
  size_t padding = 0;              // in its own extra field, as torch aligns data
};

struct ZipLies {
  bool zip64_end = true;  // as torch always writes it
  int64_t entries_more = 0;
  int64_t directory_shift = 0;
  int64_t directory_bytes_more = 0;
  std::string comment = {};
};

namespace internal {

inline std::string CentralEntry(const ZipEntry& entry, uint64_t at) {
  const uint64_t bytes = entry.data.size() + static_cast<uint64_t>(entry.bytes_more);
  const uint64_t packed = bytes + static_cast<uint64_t>(entry.compressed_more);
  at += static_cast<uint64_t>(entry.shift);
  std::string extra;
  if (entry.is_zip64 && !entry.lacks_zip64_field) {
    extra = Number(0x9999, 2) + Number(3, 2) + "abc" + Number(1, 2) + Number(24, 2) +
            Number(bytes, 8) + Number(packed, 8) + Number(at, 8);
  }
  const auto small = [&](uint64_t number) { return Number(entry.is_zip64 ? ~0u : number, 4); };
  return Number(0x02014b50, 4) + Number(0, 4) + Number(entry.flags, 2) + Number(entry.method, 2) +
         Number(0, 8) + small(packed) + small(bytes) + Number(entry.name.size(), 2) +
         Number(extra.size(), 2) + Number(0, 2) + Number(0, 8) + small(at) + entry.name + extra;
}

}  // namespace internal

// Members one behind the other, the directory, the records of its end.
inline std::string ZipBytes(const std::vector<ZipEntry>& entries, const ZipLies& lies = {}) {
  std::string file;
  std::string directory;
  for (const ZipEntry& entry : entries) {
    directory += internal::CentralEntry(entry, file.size());
    const std::string& name = entry.local_name.empty() ? entry.name : entry.local_name;
    // As miniz writes it: sizes behind the data.
    file += Number(0x04034b50, 4) + Number(0, 2) + Number(0x0808, 2) + Number(entry.method, 2) +
            Number(0, 16) + Number(name.size(), 2) + Number(entry.padding, 2) + name +
            std::string(entry.padding, 'Z') + entry.data + Number(0x08074b50, 4) + Number(0, 4) +
            Number(entry.data.size(), 4) + Number(entry.data.size(), 4);
  }
  const uint64_t count = entries.size() + static_cast<uint64_t>(lies.entries_more);
  const uint64_t begin = file.size() + static_cast<uint64_t>(lies.directory_shift);
  const uint64_t bytes = directory.size() + static_cast<uint64_t>(lies.directory_bytes_more);
  file += directory;
  const uint64_t end = file.size();
  if (lies.zip64_end) {
    file += Number(0x06064b50, 4) + Number(44, 8) + Number(0, 4) + Number(0, 8) + Number(count, 8) +
            Number(count, 8) + Number(bytes, 8) + Number(begin, 8);
    file += Number(0x07064b50, 4) + Number(0, 4) + Number(end, 8) + Number(1, 4);
  }
  return file + Number(0x06054b50, 4) + Number(0, 4) + Number(count, 2) + Number(count, 2) +
         Number(bytes, 4) + Number(begin, 4) + Number(lies.comment.size(), 2) + lies.comment;
}

using Storages = std::vector<std::pair<std::string, std::string>>;  // key, bytes
inline std::vector<ZipEntry> TorchEntries(const std::string& pickle, const Storages& storages) {
  std::vector<ZipEntry> entries = {{.name = "archive/data.pkl", .data = pickle},
                                   {.name = "archive/byteorder", .data = "little"}};
  for (const auto& [key, bytes] : storages) {
    entries.push_back({.name = "archive/data/" + key, .data = bytes, .padding = 5});
  }
  entries.push_back({.name = "archive/version", .data = "3\n"});
  return entries;
}
inline std::string TorchZip(const std::string& pickle, const Storages& storages) {
  return ZipBytes(TorchEntries(pickle, storages));
}

// --- the format before 1.6 ---

inline const std::string kLegacyMagic =
    Proto() + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
inline std::string LegacyMachine(const std::string& is_little) {
  return Proto() + "}(" + Text("protocol_version") + Int(1001) + Text("little_endian") + is_little +
         "u.";
}
inline std::string LegacyStart() {
  return kLegacyMagic + Proto() + Int(1001) + "." + LegacyMachine("\x88");
}
inline std::string LegacyKeys(const std::vector<std::string>& keys) {
  std::string bytes = Proto() + "](";
  for (const std::string& key : keys) bytes += Text(key);
  return bytes + "e.";
}
// Storages of 4 bytes an element, as their counts say.
inline std::string TorchLegacy(const std::string& pickle, const Storages& storages) {
  std::vector<std::string> keys;
  std::string data;
  for (const auto& [key, bytes] : storages) {
    keys.push_back(key);
    data += Number(bytes.size() / 4, 8) + bytes;
  }
  return LegacyStart() + pickle + LegacyKeys(keys) + data;
}

}  // namespace precis::testing
