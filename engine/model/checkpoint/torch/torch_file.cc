#include "engine/model/checkpoint/torch/torch_file.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model/checkpoint/torch/legacy_file.h"
#include "engine/model/checkpoint/torch/pickle_bytes.h"
#include "engine/model/checkpoint/torch/pickle_objects.h"
#include "engine/model/checkpoint/torch/pickle_reader.h"
#include "engine/model/checkpoint/torch/state_dict.h"
#include "engine/model/checkpoint/torch/zip_members.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr std::string_view kZipBegin = "PK\x03\x04";
constexpr char kPickleBegin = '\x80';
constexpr std::string_view kTarMark = "ustar";  // torch before 0.1.10
constexpr uint64_t kTarMarkAt = 257;
constexpr std::string_view kPickle = "/data.pkl";
constexpr uint64_t kMaxByteOrderBytes = 16;

const ZipMember* Find(const std::vector<ZipMember>& members, std::string_view name) {
  const auto found = std::ranges::lower_bound(
      members, name, std::ranges::less{},
      [](const ZipMember& member) -> std::string_view { return member.name; });
  return found == members.end() || found->name != name ? nullptr : &*found;
}

// The folder in which all members lie: it is named after the file that was saved.
StatusOr<std::string> FolderOf(const std::vector<ZipMember>& members) {
  std::optional<std::string> folder;
  for (const ZipMember& member : members) {
    const std::string& name = member.name;
    if (!name.ends_with(kPickle) || name.find('/') != name.size() - kPickle.size()) continue;
    if (folder) return InvalidArgument("zip: data.pkl is there twice");
    folder = name.substr(0, name.size() - kPickle.size() + 1);
  }
  if (!folder) return InvalidArgument("zip: no data.pkl: not of torch.save");
  return *folder;
}

// The member was not written before torch 2.1; what was written then is little-endian.
Status CheckByteOrder(const FileBytes& file, const ZipMember* member) {
  if (member == nullptr) return OkStatus();
  std::string order(std::min(member->bytes, kMaxByteOrderBytes), '\0');
  PRECIS_RETURN_IF_ERROR(file.Read(member->begin, std::as_writable_bytes(std::span(order))));
  if (order == "little") return OkStatus();
  return Unimplemented("byteorder: is not little, and nothing else is read");
}

StatusOr<std::vector<TensorEntry>> ReadZipTensors(const FileBytes& file) {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<ZipMember> members, ReadZipMembers(file));
  PRECIS_ASSIGN_OR_RETURN(const std::string folder, FolderOf(members));
  PRECIS_RETURN_IF_ERROR(CheckByteOrder(file, Find(members, folder + "byteorder")));
  const ZipMember* const pickle = Find(members, folder + "data.pkl");
  PickleBytes in(file, pickle->begin, pickle->begin + pickle->bytes);
  PickleObjects objects;
  PRECIS_ASSIGN_OR_RETURN(const PickleValue state_dict, PickleReader(in, objects).Read());
  std::vector<std::optional<StoragePlace>> places;
  for (const TorchStorage& storage : objects.storages()) {
    const ZipMember* const data = Find(members, folder + "data/" + storage.key);
    places.push_back(data == nullptr ? std::nullopt
                                     : std::optional<StoragePlace>({data->begin, data->bytes}));
  }
  return TensorsOf(objects, state_dict, places);
}

StatusOr<std::vector<TensorEntry>> ReadTensors(const FileBytes& file) {
  std::string start(std::min<uint64_t>(file.size(), kTarMarkAt + kTarMark.size()), '\0');
  PRECIS_RETURN_IF_ERROR(file.Read(0, std::as_writable_bytes(std::span(start))));
  if (start.starts_with(kZipBegin)) return ReadZipTensors(file);
  if (start.starts_with(kPickleBegin)) return ReadLegacyTensors(file);
  if (start.find(kTarMark, kTarMarkAt) == kTarMarkAt) {
    return Unimplemented("is of a torch before 0.1.10: load it in torch and save it again");
  }
  return InvalidArgument("begins neither as torch's zip format nor as the one before torch 1.6");
}

}  // namespace

StatusOr<std::unique_ptr<TensorFile>> OpenTorchFile(const std::string& path) {
  PRECIS_ASSIGN_OR_RETURN(FileBytes file, FileBytes::Open(path));
  auto tensors = ReadTensors(file);
  if (!tensors.ok()) return Annotate(tensors.status(), path);
  return std::make_unique<TensorFile>(std::move(file), std::move(tensors).value());
}

}  // namespace precis
