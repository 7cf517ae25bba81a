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
  StatusOr<DeviceMemory> Allocate(size_t bytes) final { return AllocateHostMemory(bytes); }
  void Upload(const void* host, size_t bytes, void* device) final;
  void Download(const void* device, size_t bytes, void* host) final;
  Status Wait() final { return OkStatus(); }

  void ExtractScores(const ExtractScoresParams& params) final { ExtractScoresOnHost(params); }
  void KeepScores(const KeepScoresParams& params) final { KeepScoresOnHost(params); }
};

}  // namespace precis
