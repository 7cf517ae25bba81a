// The flags of every command that loads an engine. Owner: main. Thread rule: one thread.
#pragma once

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "CLI/Validators.hpp"
#include "engine/api/engine_options.h"

namespace precis::cli {

inline void AddDeviceFlags(CLI::App& command, EngineOptions& engine) {
  command
      .add_option("--device", engine.device,
                  "auto (cuda where there is one, else the CPU), cpu, cuda or ref (slow, exact)")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kDevices), std::end(kDevices))))
      ->capture_default_str();
  command.add_flag("--cuda-graphs", engine.cuda_graphs,
                   "On cuda, the launches of a decode step as one CUDA graph; =off: one by one");
}

}  // namespace precis::cli
