// An engine of this process under load. Owner: a benchmark. Thread rule: as LoadTarget.
#pragma once

#include <vector>

#include "engine/engine.h"
#include "tools/bench/load.h"

namespace precis {

class EngineTarget final : public LoadTarget {
 public:
  explicit EngineTarget(Engine& engine) : engine_(engine) {}

  Status Send(size_t index, const LoadRequest& request) override;
  Status Take(std::vector<LoadOutcome>* outcomes) override;
  void GiveUp() override;

 private:
  struct Running {
    SequenceHandle handle;
    uint32_t wanted = 0;
    uint32_t tokens = 0;
    double last_token_s = 0;
    LoadOutcome outcome;
  };

  Engine& engine_;
  std::vector<Running> running_;
};

}  // namespace precis
