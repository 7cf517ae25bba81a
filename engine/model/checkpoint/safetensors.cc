#include "engine/model/checkpoint/safetensors.h"

#include <utility>
#include <vector>

#include "engine/model/checkpoint/safetensors_header.h"
#include "fmt/format.h"

namespace precis {
namespace {

StatusOr<std::vector<TensorEntry>> ReadHeader(const FileBytes& file) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes)) {
    return DataLoss(fmt::format("{} bytes are too few for a safetensors file", file.size()));
  }
  PRECIS_RETURN_IF_ERROR(file.Read(0, std::as_writable_bytes(std::span(&header_bytes, 1))));
  const uint64_t rest = file.size() - sizeof(header_bytes);
  if (header_bytes > rest) {
    return DataLoss(fmt::format("header of {} bytes in a file of {}: truncated, or no safetensors",
                                header_bytes, file.size()));
  }
  if (header_bytes > kMaxSafetensorsHeaderBytes) {
    return InvalidArgument(fmt::format("header of {} bytes is larger than {}", header_bytes,
                                       kMaxSafetensorsHeaderBytes));
  }
  std::string header(header_bytes, '\0');
  PRECIS_RETURN_IF_ERROR(
      file.Read(sizeof(header_bytes), std::as_writable_bytes(std::span(header))));
  PRECIS_ASSIGN_OR_RETURN(std::vector<TensorEntry> tensors,
                          ParseSafetensorsHeader(header, rest - header_bytes));
  for (TensorEntry& entry : tensors) {  // offsets of the data become places in the file
    entry.begin += sizeof(header_bytes) + header_bytes;
    entry.end += sizeof(header_bytes) + header_bytes;
  }
  return tensors;
}

}  // namespace

StatusOr<std::unique_ptr<TensorFile>> OpenSafetensors(const std::string& path) {
  PRECIS_ASSIGN_OR_RETURN(FileBytes file, FileBytes::Open(path));
  auto tensors = ReadHeader(file);
  if (!tensors.ok()) return Annotate(tensors.status(), path);
  return std::make_unique<TensorFile>(std::move(file), std::move(tensors).value());
}

}  // namespace precis
