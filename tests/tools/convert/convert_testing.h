// Checkpoints to convert: the fixtures of tests/golden, with another config where a test wants one.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/attention_variant.h"
#include "engine/model/config/model_config.h"
#include "engine/model/grouping/head_folding.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/model/checkpoint/checkpoint_files.h"
#include "tools/convert/convert.h"

namespace precis::testing {

inline nlohmann::json ReadJson(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

inline void CopyFixture(const std::string& fixture, const std::string& to) {
  std::filesystem::copy("tests/golden/" + fixture, to);
}

// The fixture's tensors under a config that has `changes` merged in (null removes a key).
inline void CopyFixtureWith(const std::string& fixture, const std::string& to,
                            const nlohmann::json& changes) {
  CopyFixture(fixture, to);
  nlohmann::json config = ReadJson(to + "/config.json");
  config.merge_patch(changes);
  std::ofstream(to + "/config.json") << config.dump(1);
}

// A fixture that stores all heads, as the MHA checkpoint it could have come from.
inline void CopyAsMha(const std::string& fixture, const std::string& to) {
  CopyFixtureWith(fixture, to,
                  {{"attention_variant", nullptr},
                   {"num_key_value_heads", nullptr},
                   {"head_order", nullptr},
                   {"head_groups", nullptr}});
}

// K and V of every decoder attention as the loader folds them: [self k, self v, cross k, ...],
// each with its bias behind it where the family has one.
inline std::vector<std::vector<float>> LoadedKv(const std::string& dir) {
  std::vector<std::vector<float>> out;
  const auto config = LoadModelConfig(dir);
  EXPECT_TRUE(config.ok()) << config.status();
  const auto checkpoint = Checkpoint::Open(dir);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto attention = ResolveAttention(*config, **checkpoint);
  EXPECT_TRUE(attention.ok()) << attention.status();
  const LayerGroupings groupings = Groupings(*config, *attention);
  for (uint32_t layer = 0; layer < config->decoder.layers; ++layer) {
    for (const bool cross : {false, true}) {
      for (const char which : {'k', 'v'}) {
        auto read = ReadGroupedProjection(**checkpoint, *config, *attention,
                                          cross ? groupings.cross[layer] : groupings.self[layer],
                                          config->names.DecoderAttention(layer, cross), which);
        EXPECT_TRUE(read.ok()) << read.status();
        out.push_back(read.ok() ? std::move(read->weight) : std::vector<float>());
        if (config->biases && read.ok()) out.push_back(std::move(read->bias));
      }
    }
  }
  return out;
}

}  // namespace precis::testing
