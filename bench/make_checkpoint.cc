// Writes a T5 checkpoint of random weights, as large as a public one, for what costs time and not
// words:
//
//   make_checkpoint t5-small|t5-base|t5-large DIR [KV_HEADS]
//
// With fewer KV heads than the size has heads it is a GQA checkpoint.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "bench/random_checkpoint.h"

namespace precis {
namespace {

const std::map<std::string, RandomShape> kSizes = {
    {"t5-small", {32128, 512, 64, 8, 8, 2048, 6}},
    {"t5-base", {32128, 768, 64, 12, 12, 3072, 12}},
    {"t5-large", {32128, 1024, 64, 16, 16, 4096, 24}},
};

int Main(std::span<char*> args) {
  const auto size = args.size() > 2 ? kSizes.find(args[1]) : kSizes.end();
  if (size == kSizes.end()) {
    std::fprintf(stderr, "usage: make_checkpoint t5-small|t5-base|t5-large DIR [KV_HEADS]\n");
    return 2;
  }
  RandomShape shape = size->second;
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

}  // namespace
}  // namespace precis

int main(int argc, char** argv) { return precis::Main({argv, static_cast<size_t>(argc)}); }
