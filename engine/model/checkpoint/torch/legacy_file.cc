#include "engine/model/checkpoint/torch/legacy_file.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>

#include "engine/model/checkpoint/file/shown.h"
#include "engine/model/checkpoint/torch/pickle_bytes.h"
#include "engine/model/checkpoint/torch/pickle_objects.h"
#include "engine/model/checkpoint/torch/pickle_reader.h"
#include "engine/model/checkpoint/torch/state_dict.h"
#include "engine/model/checkpoint/torch/torch_globals.h"
#include "fmt/format.h"

namespace precis {
namespace {

using Kind = PickleValue::Kind;
using Places = std::vector<std::optional<StoragePlace>>;

constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // torch 0.1.10 on
constexpr int64_t kProtocol = 1001;

// Three pickles that say what wrote the file.
Status CheckBeginning(PickleBytes& in) {
  PickleObjects objects;
  PRECIS_ASSIGN_OR_RETURN(const PickleValue magic, PickleReader(in, objects).Read());
  if (magic.kind != Kind::kLong || objects.Text(magic) != kMagic) {
    return InvalidArgument("is a pickle, but not of torch.save");
  }
  PRECIS_ASSIGN_OR_RETURN(const PickleValue protocol, PickleReader(in, objects).Read());
  if (protocol.kind != Kind::kInt || protocol.number != kProtocol) {
    return Unimplemented("the protocol of its torch.save is not 1001");
  }
  PRECIS_ASSIGN_OR_RETURN(const PickleValue machine, PickleReader(in, objects).Read());
  if (machine.kind != Kind::kDict) return InvalidArgument("does not say what machine wrote it");
  for (const auto& [key, value] : objects.Pairs(machine)) {
    if (objects.Text(key) != "little_endian") continue;
    if (value.kind == Kind::kBool && value.number == 1) return OkStatus();
    return Unimplemented("was written by a big-endian machine, which is not read");
  }
  return InvalidArgument("does not say whether it is little-endian");
}

// Where the storage `key` lies, whose number of elements is at `at`. Cut where the file ends.
StatusOr<StoragePlace> PlaceAt(const FileBytes& file, uint64_t at, const TorchStorage& storage) {
  int64_t count = 0;
  if (file.size() - at < sizeof(count)) return StoragePlace{file.size(), 0};
  PRECIS_RETURN_IF_ERROR(file.Read(at, std::as_writable_bytes(std::span(&count, 1))));
  if (count < 0 || static_cast<uint64_t>(count) > storage.count) {
    return InvalidArgument(fmt::format("storage {}: {} elements before its data, {} in the pickle",
                                       Shown(storage.key), count, storage.count));
  }
  const uint64_t bytes =
      static_cast<uint64_t>(count) * TorchGlobals()[storage.global].element_bytes;
  const uint64_t begin = at + sizeof(count);
  return StoragePlace{begin, std::min(bytes, file.size() - begin)};
}

StatusOr<Places> FindStorages(const FileBytes& file, uint64_t at, const PickleObjects& objects,
                              const std::vector<PickleValue>& keys) {
  const std::vector<TorchStorage>& storages = objects.storages();
  Places places(storages.size());
  for (const PickleValue key : keys) {
    const std::string_view text = objects.Text(key);
    const auto storage = objects.FindStorage(text);
    if (!storage) {
      return InvalidArgument(fmt::format("storage {}: no tensor says its type", Shown(text)));
    }
    if (places[*storage]) {
      return InvalidArgument(fmt::format("storage {}: is in the file twice", Shown(text)));
    }
    PRECIS_ASSIGN_OR_RETURN(places[*storage], PlaceAt(file, at, storages[*storage]));
    at = places[*storage]->begin + places[*storage]->bytes;
  }
  return places;
}

}  // namespace

StatusOr<std::vector<TensorEntry>> ReadLegacyTensors(const FileBytes& file) {
  PickleBytes in(file, 0, file.size());
  PRECIS_RETURN_IF_ERROR(CheckBeginning(in));
  PickleObjects objects;
  PRECIS_ASSIGN_OR_RETURN(const PickleValue state_dict, PickleReader(in, objects).Read());
  PRECIS_ASSIGN_OR_RETURN(const PickleValue keys, PickleReader(in, objects).Read());
  if (keys.kind != Kind::kList) return InvalidArgument("has no list of its storages");
  PRECIS_ASSIGN_OR_RETURN(const Places places,
                          FindStorages(file, in.position(), objects, objects.Items(keys)));
  return TensorsOf(objects, state_dict, places);
}

}  // namespace precis
