// What the backends of the host have in common: memory is the host's, and an op is done when its
// call returns.
//
// Owner and thread rule: as Backend.
#pragma once

#include <cstddef>

#include "kernels/backend.h"

namespace precis {

// Zero until written; large ones are not committed until then, and ask for huge pages.
// RESOURCE_EXHAUSTED when there is none.
StatusOr<DeviceMemory> AllocateHostMemory(size_t bytes);

// The ops whose results are the host's, on memory of the host.
void ExtractScoresOnHost(const ExtractScoresParams& params);
void KeepScoresOnHost(const KeepScoresParams& params);

class HostBackend : public Backend {
 public:
  StatusOr<DeviceMemory> Allocate(size_t bytes) override { return AllocateHostMemory(bytes); }
  void Upload(const void* host, size_t bytes, void* device) override;
  void Download(const void* device, size_t bytes, void* host) override;
  Status Wait() override { return OkStatus(); }

 protected:
  void DoExtractScores(const ExtractScoresParams& p) override { ExtractScoresOnHost(p); }
  void DoKeepScores(const KeepScoresParams& p) override { KeepScoresOnHost(p); }
};

}  // namespace precis
