#include "engine/model/checkpoint/torch/zip_members.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "engine/model/checkpoint/file/shown.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Names and places of fields: PKWARE's APPNOTE.TXT, 4.3.
constexpr uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;
constexpr uint64_t kZip64EndBytes = 56, kZip64LocatorBytes = 20;
constexpr uint64_t kLocalSignature = 0x04034b50, kCentralSignature = 0x02014b50;
constexpr uint64_t kEndSignature = 0x06054b50;
constexpr uint64_t kZip64EndSignature = 0x06064b50, kZip64LocatorSignature = 0x07064b50;
constexpr uint64_t kMaxCommentBytes = 0xffff;
constexpr uint64_t kMaxDirectoryBytes = 64u << 20;
constexpr uint64_t kIn64Bits = 0xffffffff;  // a field whose value is in the zip64 record
constexpr uint64_t kZip64Extra = 0x0001;
constexpr uint64_t kEncrypted = 1u << 0;

// Little-endian; the caller has checked that it is inside.
uint64_t Field(std::string_view bytes, size_t at, size_t count) {
  uint64_t number = 0;
  for (size_t i = count; i-- > 0;) number = number << 8 | static_cast<uint8_t>(bytes[at + i]);
  return number;
}

StatusOr<std::string> ReadPiece(const FileBytes& file, uint64_t at, uint64_t count) {
  if (at > file.size() || count > file.size() - at) {
    return DataLoss(fmt::format("zip: {} bytes at {} reach beyond the file", count, at));
  }
  std::string bytes(count, '\0');
  PRECIS_RETURN_IF_ERROR(file.Read(at, std::as_writable_bytes(std::span(bytes))));
  return bytes;
}

struct Directory {
  uint64_t entries = 0;
  uint64_t bytes = 0;
  uint64_t begin = 0;
  uint64_t limit = 0;  // where the records behind it begin
};

StatusOr<Directory> ReadZip64End(const FileBytes& file, uint64_t locator_at,
                                 std::string_view locator) {
  const uint64_t at = Field(locator, 8, 8);
  PRECIS_ASSIGN_OR_RETURN(const std::string end, ReadPiece(file, at, kZip64EndBytes));
  if (Field(end, 0, 4) != kZip64EndSignature || at + kZip64EndBytes > locator_at) {
    return InvalidArgument("zip: the zip64 end record is not where its locator says");
  }
  if (Field(end, 16, 4) != 0 || Field(end, 20, 4) != 0 || Field(end, 24, 8) != Field(end, 32, 8)) {
    return Unimplemented("zip: an archive in several parts");
  }
  return Directory{Field(end, 32, 8), Field(end, 40, 8), Field(end, 48, 8), at};
}

// From the end of the file: the last record whose comment ends with it.
StatusOr<Directory> FindDirectory(const FileBytes& file) {
  const uint64_t tail_bytes = std::min(file.size(), kEndBytes + kMaxCommentBytes);
  const uint64_t tail_at = file.size() - tail_bytes;
  PRECIS_ASSIGN_OR_RETURN(const std::string tail, ReadPiece(file, tail_at, tail_bytes));
  std::optional<uint64_t> found;
  for (uint64_t at = tail_bytes < kEndBytes ? 0 : tail_bytes - kEndBytes + 1; at-- > 0 && !found;) {
    if (Field(tail, at, 4) != kEndSignature) continue;
    if (Field(tail, at + 20, 2) == tail_bytes - at - kEndBytes) found = at;
  }
  if (!found) return DataLoss("zip: no end record: truncated?");
  const std::string_view end = std::string_view(tail).substr(*found, kEndBytes);
  const uint64_t end_at = tail_at + *found;
  if (end_at >= kZip64LocatorBytes) {
    const uint64_t locator_at = end_at - kZip64LocatorBytes;
    PRECIS_ASSIGN_OR_RETURN(const std::string locator,
                            ReadPiece(file, locator_at, kZip64LocatorBytes));
    if (Field(locator, 0, 4) == kZip64LocatorSignature) {
      return ReadZip64End(file, locator_at, locator);
    }
  }
  if (Field(end, 4, 2) != 0 || Field(end, 6, 2) != 0 || Field(end, 8, 2) != Field(end, 10, 2)) {
    return Unimplemented("zip: an archive in several parts");
  }
  return Directory{Field(end, 10, 2), Field(end, 12, 4), Field(end, 16, 4), end_at};
}

struct Central {
  std::string name;
  uint64_t flags = 0, method = 0;
  uint64_t compressed = 0, bytes = 0, local_at = 0;
};

// Values of more than 32 bits are in the extra field, in this order.
Status TakeZip64(std::string_view extra, Central& member) {
  uint64_t* const fields[] = {&member.bytes, &member.compressed, &member.local_at};
  if (std::ranges::none_of(fields, [](const uint64_t* field) { return *field == kIn64Bits; })) {
    return OkStatus();
  }
  while (extra.size() >= 4) {
    const uint64_t bytes = Field(extra, 2, 2);
    if (bytes > extra.size() - 4) break;
    std::string_view content = extra.substr(4, bytes);
    const uint64_t id = Field(extra, 0, 2);
    extra.remove_prefix(4 + bytes);
    if (id != kZip64Extra) continue;
    for (uint64_t* const field : fields) {
      if (*field != kIn64Bits) continue;
      if (content.size() < 8) return InvalidArgument("its zip64 field is too short");
      *field = Field(content, 0, 8);
      content.remove_prefix(8);
    }
    return OkStatus();
  }
  return InvalidArgument("has no zip64 field, which its sizes need");
}

Status CheckStored(const Central& member) {
  if ((member.flags & kEncrypted) != 0) return Unimplemented("is encrypted");
  if (member.method != 0) {
    return Unimplemented(fmt::format(
        "is compressed (method {}), which torch.save never does: was the file packed again, or "
        "saved with torch.jit.save?",
        member.method));
  }
  if (member.compressed == member.bytes) return OkStatus();
  return InvalidArgument(
      fmt::format("is stored, but has {} bytes for {}", member.compressed, member.bytes));
}

// The member's own header says where its data begin, and must be of the same member.
StatusOr<uint64_t> DataBegin(const FileBytes& file, const Central& member, uint64_t limit) {
  if (member.local_at > limit || limit - member.local_at < kLocalBytes) {
    return InvalidArgument(fmt::format("begins at byte {}, outside the file", member.local_at));
  }
  PRECIS_ASSIGN_OR_RETURN(const std::string local, ReadPiece(file, member.local_at, kLocalBytes));
  if (Field(local, 0, 4) != kLocalSignature) {
    return InvalidArgument(fmt::format("has no header at byte {}", member.local_at));
  }
  const uint64_t name_bytes = Field(local, 26, 2);
  PRECIS_ASSIGN_OR_RETURN(const std::string name,
                          ReadPiece(file, member.local_at + kLocalBytes, name_bytes));
  if (name != member.name || Field(local, 8, 2) != member.method) {
    return InvalidArgument("its header differs from the directory's");
  }
  const uint64_t begin = member.local_at + kLocalBytes + name_bytes + Field(local, 28, 2);
  if (begin <= limit && member.bytes <= limit - begin) return begin;
  return DataLoss(fmt::format("{} bytes at {} reach beyond the data, which end at {}", member.bytes,
                              begin, limit));
}

StatusOr<std::vector<Central>> ParseDirectory(std::string_view bytes, uint64_t entries) {
  std::vector<Central> members;
  while (!bytes.empty()) {
    if (bytes.size() < kCentralBytes || Field(bytes, 0, 4) != kCentralSignature) {
      return InvalidArgument(fmt::format("zip: entry {} of the directory is none", members.size()));
    }
    const uint64_t name_bytes = Field(bytes, 28, 2);
    const uint64_t extra_bytes = Field(bytes, 30, 2);
    const uint64_t all_bytes = kCentralBytes + name_bytes + extra_bytes + Field(bytes, 32, 2);
    if (all_bytes > bytes.size()) {
      return InvalidArgument(fmt::format("zip: entry {} of the directory is cut", members.size()));
    }
    Central member{std::string(bytes.substr(kCentralBytes, name_bytes)),
                   Field(bytes, 8, 2),
                   Field(bytes, 10, 2),
                   Field(bytes, 20, 4),
                   Field(bytes, 24, 4),
                   Field(bytes, 42, 4)};
    Status status = TakeZip64(bytes.substr(kCentralBytes + name_bytes, extra_bytes), member);
    if (status.ok()) status = CheckStored(member);
    if (!status.ok()) return Annotate(status, "zip: " + Shown(member.name));
    members.push_back(std::move(member));
    bytes.remove_prefix(all_bytes);
  }
  if (members.size() == entries) return members;
  return InvalidArgument(fmt::format("zip: {} entries in the directory, the end record says {}",
                                     members.size(), entries));
}

// Two members with the same bytes are no archive of torch's, which writes one behind the other.
Status CheckApart(const std::vector<ZipMember>& members) {
  std::vector<const ZipMember*> order;
  for (const ZipMember& member : members) order.push_back(&member);
  std::ranges::sort(order, {}, [](const ZipMember* m) { return std::pair(m->begin, m->bytes); });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->begin + order[i - 1]->bytes <= order[i]->begin) continue;
    return InvalidArgument(fmt::format("zip: {}: lies in the bytes of {}", Shown(order[i]->name),
                                       Shown(order[i - 1]->name)));
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::vector<ZipMember>> ReadZipMembers(const FileBytes& file) {
  PRECIS_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(file));
  if (directory.begin > directory.limit || directory.bytes > directory.limit - directory.begin) {
    return InvalidArgument(fmt::format("zip: a directory of {} bytes at {} reaches beyond {}",
                                       directory.bytes, directory.begin, directory.limit));
  }
  if (directory.bytes > kMaxDirectoryBytes) {
    return InvalidArgument(fmt::format("zip: a directory of {} bytes, more than {}",
                                       directory.bytes, kMaxDirectoryBytes));
  }
  PRECIS_ASSIGN_OR_RETURN(const std::string bytes,
                          ReadPiece(file, directory.begin, directory.bytes));
  PRECIS_ASSIGN_OR_RETURN(const std::vector<Central> entries,
                          ParseDirectory(bytes, directory.entries));
  std::vector<ZipMember> members;
  for (const Central& entry : entries) {
    auto begin = DataBegin(file, entry, directory.begin);
    if (!begin.ok()) return Annotate(begin.status(), "zip: " + Shown(entry.name));
    members.push_back({entry.name, *begin, entry.bytes});
  }
  std::ranges::sort(members, {}, &ZipMember::name);
  const auto twice = std::ranges::adjacent_find(members, {}, &ZipMember::name);
  if (twice != members.end()) {
    return InvalidArgument(fmt::format("zip: {}: is there twice", Shown(twice->name)));
  }
  PRECIS_RETURN_IF_ERROR(CheckApart(members));
  return members;
}

}  // namespace precis
