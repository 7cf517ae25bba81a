// The flag of every command that loads an engine. Owner: main. Thread rule: one thread.
#pragma once

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "CLI/Validators.hpp"
#include "engine/engine.h"

namespace precis::cli {

inline void AddDeviceFlag(CLI::App& command, std::string& device) {
  command
      .add_option("--device", device,
                  "auto (cuda where there is one, else the CPU), cpu, cuda or ref (slow, exact)")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kDevices), std::end(kDevices))))
      ->capture_default_str();
}

}  // namespace precis::cli
