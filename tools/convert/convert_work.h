// How far a conversion has come, shown to who watches, and whether it should stop. Owner: the
// conversion. Thread rule: one thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "common/status.h"
#include "tools/convert/convert.h"

namespace precis {

class ConvertWork {
 public:
  ConvertWork(const ConvertOptions& options, size_t num_phases)
      : options_(options), num_phases_(num_phases) {}

  // `units`: of the whole phase.
  void BeginPhase(std::string_view verb, uint64_t units) {
    phase_ = begun_++;
    verb_ = verb;
    units_ = std::max<uint64_t>(units, 1);
    done_ = 0;
  }

  // `units` more are done, of the thing `name`. CANCELLED when the work should stop.
  Status Advance(std::string_view name, uint64_t units) {
    done_ += units;
    if (options_.on_progress) {
      options_.on_progress({phase_, num_phases_, verb_ + " " + std::string(name),
                            static_cast<double>(done_) / static_cast<double>(units_)});
    }
    if (!options_.is_cancelled || !options_.is_cancelled()) return OkStatus();
    return absl::CancelledError("stopped before it was done; nothing was left behind");
  }

 private:
  const ConvertOptions& options_;
  const size_t num_phases_;
  size_t begun_ = 0;
  size_t phase_ = 0;
  std::string verb_;
  uint64_t units_ = 1;
  uint64_t done_ = 0;
};

}  // namespace precis
