// Writes a checkpoint of random weights, as large as a public one, for what costs time and not
// words:
//
//   make_checkpoint SIZE DIR [KV_HEADS]     SIZE: t5-small, t5-base, t5-large, bart-large-cnn,
//                                                 distilbart-cnn-12-6
//
// With fewer KV heads than the size has heads it is a GQA checkpoint.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <variant>

#include "bench/random_checkpoint.h"

namespace precis {
namespace {

using Shape = std::variant<RandomShape, RandomBartShape>;

const std::map<std::string, Shape> kSizes = {
    {"t5-small", RandomShape{32128, 512, 64, 8, 8, 2048, 6}},
    {"t5-base", RandomShape{32128, 768, 64, 12, 12, 3072, 12}},
    {"t5-large", RandomShape{32128, 1024, 64, 16, 16, 4096, 24}},
    {"bart-large-cnn", RandomBartShape{50264, 1024, 16, 16, 4096, 12, 12, 1024}},
    {"distilbart-cnn-12-6", RandomBartShape{50264, 1024, 16, 16, 4096, 12, 6, 1024}},
};

std::string Names() {
  std::string names;
  for (const auto& [name, shape] : kSizes) names += (names.empty() ? "" : "|") + name;
  return names;
}

template <typename T>
int Make(T shape, std::span<char*> args) {
  if (args.size() > 3) {
    shape.num_kv_heads = static_cast<uint32_t>(std::strtoul(args[3], nullptr, 10));
    if (shape.num_kv_heads == 0 || shape.num_heads % shape.num_kv_heads != 0) {
      std::fprintf(stderr, "KV_HEADS must divide %u\n", shape.num_heads);
      return 2;
    }
  }
  std::error_code error;
  std::filesystem::create_directories(args[2], error);
  const Status status = WriteRandomCheckpoint(args[2], shape);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}

int Main(std::span<char*> args) {
  const auto size = args.size() > 2 ? kSizes.find(args[1]) : kSizes.end();
  if (size == kSizes.end()) {
    std::fprintf(stderr, "usage: make_checkpoint %s DIR [KV_HEADS]\n", Names().c_str());
    return 2;
  }
  return std::visit([&](const auto& shape) { return Make(shape, args); }, size->second);
}

}  // namespace
}  // namespace precis

int main(int argc, char** argv) { return precis::Main({argv, static_cast<size_t>(argc)}); }
