#include "engine/model/kv_memory.h"

#include "fmt/format.h"

namespace precis {
namespace {

constexpr size_t kOverhang = 64;

}  // namespace

StatusOr<KvMemory> KvMemory::Create(Backend& backend, uint32_t num_pages, size_t page_bytes) {
  StatusOr<DeviceMemory> memory = backend.Allocate(size_t{num_pages} * page_bytes + kOverhang);
  if (!memory.ok()) {
    return Status(memory.status().code(), fmt::format("the page pool: {} (see --pool-bytes)",
                                                      std::string(memory.status().message())));
  }
  return KvMemory(*std::move(memory), num_pages, page_bytes);
}

}  // namespace precis
