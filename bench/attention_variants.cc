// What the attention of a decode step costs under each grouping variant, by its ops alone, at
// t5-small's shape: 8 heads of 64, 6 layers, a source of 512 tokens, 64 tokens decoded so far.
//
//   attention_variants_bench [ROUNDS]
//
// Variants go in turns, round after round; the least time of each counts. Prints a table.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/model/kv_layout.h"
#include "engine/model/kv_memory.h"
#include "fmt/format.h"
#include "kernels/backend.h"
#include "kernels/grouping_ops.h"

namespace precis {
namespace {

constexpr uint32_t kHeads = 8;
constexpr uint32_t kHeadDim = 64;
constexpr uint32_t kLayers = 6;
constexpr uint32_t kSourceTokens = 512;
constexpr uint32_t kTargetTokens = 64;
constexpr uint32_t kMaxRows = 32;

enum class Variant { kGqa, kSimGqa, kQcqa, kKdGqa, kDgqaDiff, kDgqaEma, kPgqa };
constexpr Variant kVariants[] = {Variant::kGqa,   Variant::kSimGqa,   Variant::kQcqa,
                                 Variant::kKdGqa, Variant::kDgqaDiff, Variant::kDgqaEma,
                                 Variant::kPgqa};
constexpr const char* kNames[] = {"GQA",           "SimGQA", "QCQA", "KDGQA", "DGQA, difference",
                                  "DGQA, average", "PGQA"};

struct Case {
  uint32_t rows;
  uint32_t beams;  // of one document; rows / beams documents
  uint32_t kv_heads;
  DType dtype;
};

struct Times {
  double attention_us = HUGE_VAL;  // of a step, both kinds, all layers
  double others_us = HUGE_VAL;     // sums, splits and noise of the same step
};

// The keys, values and pages of one variant's step, and the ops that it runs.
class Step {
 public:
  Step(Backend& backend, const Case& c, Variant variant)
      : backend_(backend),
        c_(c),
        variant_(variant),
        layout_(MakeKvLayout(std::vector<uint32_t>(kLayers, c.kv_heads),
                             std::vector<uint32_t>(kLayers, c.kv_heads), kHeadDim, c.dtype,
                             Assigns())),
        documents_(c.rows / c.beams),
        self_pages_(Pages(kTargetTokens, layout_.self.slots)),
        cross_pages_(Pages(kSourceTokens, layout_.cross.slots)),
        memory_(KvMemory::Create(backend_, documents_ * cross_pages_ + c.rows * self_pages_,
                                 layout_.page_bytes)
                    .value()),
        q_(Random(size_t{c.rows} * kHeads * kHeadDim, 1)),
        cached_norms_(c.kv_heads, 20.0f),
        assigned_(c.rows * (c.kv_heads + size_t{1})),
        attended_(q_.size()),
        out_(q_.size()) {
    MakeGroups();
    for (uint32_t i = 0; i < documents_; ++i) AddTable(kSourceTokens, &cross_);
    for (uint32_t i = 0; i < c.rows; ++i) {
      cross_rows_.push_back({i / c.beams * cross_pages_, kSourceTokens, kTargetTokens - 1});
      self_rows_.push_back({i * self_pages_, kTargetTokens, kTargetTokens - 1});
      AddTable(kTargetTokens, &self_);
      noise_.push_back({i, kTargetTokens - 1});
    }
    for (uint32_t i = 0; i < documents_; ++i) Write(layout_.cross, cross_, i * cross_pages_, i);
    for (uint32_t i = 0; i < c.rows; ++i) Write(layout_.self, self_, i * self_pages_, 100 + i);
  }

  void Run(Times* least) {
    double attention = 0;
    double others = 0;
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      if (Assigns()) others += Timed([&] { SumLast(layer); });
      RunKind(layout_.self.layers[layer], self_rows_, self_, layer, 0, &attention, &others);
      RunKind(layout_.cross.layers[layer], cross_rows_, cross_, layer, 1, &attention, &others);
    }
    least->attention_us = std::min(least->attention_us, attention);
    least->others_us = std::min(least->others_us, others);
  }

 private:
  static uint32_t Pages(uint32_t tokens, uint32_t slots) { return (tokens + slots - 1) / slots; }
  // Other values for every seed.
  static std::vector<float> Random(size_t n, uint32_t seed) {
    static const std::vector<float> all = [] {
      std::mt19937 rng(1);
      std::vector<float> values(4u << 20);
      for (float& x : values) x = static_cast<float>(rng() >> 8) * 0x1p-23f - 1.0f;
      return values;
    }();
    const auto begin =
        all.begin() + static_cast<ptrdiff_t>(size_t{seed} * 10007 % (all.size() - n));
    return {begin, begin + static_cast<ptrdiff_t>(n)};
  }
  template <typename Op>
  static double Timed(const Op& op) {
    const auto start = std::chrono::steady_clock::now();
    op();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
        .count();
  }
  bool Assigns() const {
    return variant_ == Variant::kKdGqa || variant_ == Variant::kDgqaDiff ||
           variant_ == Variant::kDgqaEma;
  }

  // QCQA: heads far from each other, in groups of 1, 2, .. and the rest.
  void MakeGroups() {
    heads_.resize(kHeads);
    std::iota(heads_.begin(), heads_.end(), 0);
    if (variant_ == Variant::kSimGqa || variant_ == Variant::kQcqa) {
      std::ranges::shuffle(heads_, std::minstd_rand(3));
    }
    for (uint32_t g = 0; g < c_.kv_heads; ++g) {
      begin_.push_back(variant_ == Variant::kQcqa ? std::min(g * (g + 1) / 2, kHeads - 1)
                                                  : g * kHeads / c_.kv_heads);
    }
    begin_.push_back(kHeads);
  }

  void AddTable(uint32_t tokens, std::vector<int32_t>* table) {
    const uint32_t slots = table == &cross_ ? layout_.cross.slots : layout_.self.slots;
    for (uint32_t i = 0; i < Pages(tokens, slots); ++i) table->push_back(next_page_++);
  }

  void Write(const KvKindLayout& kind, std::span<const int32_t> table, uint32_t first_page,
             uint32_t seed) {
    const uint32_t tokens = &kind == &layout_.cross ? kSourceTokens : kTargetTokens;
    const size_t width = size_t{c_.kv_heads} * kHeadDim;
    const std::vector<float> kv = Random(tokens * width, seed);
    std::vector<SlotRef> slots;
    std::vector<PagedRow> rows;
    for (uint32_t t = 0; t < tokens; ++t) {
      slots.push_back({table[first_page + t / kind.slots], t % kind.slots});
      rows.push_back({first_page, t + 1, t});
    }
    for (const KvRegion& region : kind.layers) {
      backend_.AppendKv({kv.data(), kv.data(), width, slots, memory_.pool(), region});
      if (Assigns())
        backend_.grouping_ops()->SumKeySquares(
            {kv.data(), width, rows, table, memory_.pool(), region});
    }
  }

  void SumLast(uint32_t layer) {
    backend_.grouping_ops()->SumKeySquares({q_.data(), kHeads * kHeadDim, self_rows_, self_,
                                            memory_.pool(), layout_.self.layers[layer]});
  }

  void RunKind(const KvRegion& region, std::span<const PagedRow> rows,
               std::span<const int32_t> pages, uint32_t layer, uint32_t kind, double* attention,
               double* others) {
    constexpr HeadShares kShares[] = {HeadShares::kScaledNorm, HeadShares::kNormDifference,
                                      HeadShares::kNormAverage};
    const size_t width = size_t{kHeads} * kHeadDim;
    if (Assigns()) {
      const auto rule = static_cast<size_t>(variant_) - static_cast<size_t>(Variant::kKdGqa);
      *others += Timed([&] {
        backend_.grouping_ops()->AssignHeads(
            {rows, pages, memory_.pool(), region, kShares[rule], cached_norms_, kHeads, assigned_});
      });
    }
    const bool noisy = variant_ == Variant::kPgqa;
    PagedAttentionParams p{
        .q = q_.data(),
        .q_stride = width,
        .rows = rows,
        .pages = pages,
        .pool = memory_.pool(),
        .region = region,
        .groups = {heads_, begin_},
        .bias = {},
        .out = {noisy ? attended_.data() : out_.data(), DType::kF32, c_.rows, width}};
    if (Assigns()) p.assigned = assigned_;
    *attention += Timed([&] { backend_.PagedAttention(p); });
    if (!noisy) return;
    *others += Timed([&] {
      backend_.grouping_ops()->SubtractNoise({attended_.data(),
                                              noise_,
                                              layer,
                                              kind,
                                              kHeads,
                                              kHeadDim,
                                              kHeads / c_.kv_heads,
                                              {out_.data(), DType::kF32, c_.rows, width}});
    });
  }

  Backend& backend_;
  const Case c_;
  const Variant variant_;
  const KvLayout layout_;
  const uint32_t documents_;
  const uint32_t self_pages_;   // of a row
  const uint32_t cross_pages_;  // of a document
  const KvMemory memory_;
  int32_t next_page_ = 0;
  const std::vector<float> q_;
  const std::vector<float> cached_norms_;
  std::vector<uint32_t> assigned_;
  std::vector<float> attended_;
  std::vector<float> out_;
  std::vector<uint32_t> heads_;
  std::vector<uint32_t> begin_;
  std::vector<PagedRow> self_rows_;
  std::vector<PagedRow> cross_rows_;
  std::vector<int32_t> self_;
  std::vector<int32_t> cross_;
  std::vector<NoiseRow> noise_;
};

void RunCase(Backend& backend, const Case& c, int rounds) {
  std::vector<std::unique_ptr<Step>> steps;
  for (const Variant v : kVariants) steps.push_back(std::make_unique<Step>(backend, c, v));
  std::vector<Times> times(steps.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < steps.size(); ++i) steps[i]->Run(&times[i]);
  }
  const double gqa = times[0].attention_us;
  for (size_t i = 0; i < steps.size(); ++i) {
    const double all = times[i].attention_us + times[i].others_us;
    std::fputs(fmt::format("| {} x {} | {} | {} | {} | {:.0f} | {:.0f} | {:.2f} |\n",
                           c.rows / c.beams, c.beams, DTypeName(c.dtype), c.kv_heads, kNames[i],
                           times[i].attention_us, times[i].others_us, all / gqa)
                   .c_str(),
               stdout);
  }
}

int Main(int rounds) {
  auto backend = MakeBackend({.name = "cpu", .isa = "auto", .threads = 2});
  if (!backend.ok()) {
    std::fprintf(stderr, "%s\n", std::string(backend.status().message()).c_str());
    return 1;
  }
  const Status prepared = (*backend)->Prepare(
      {kHeads, kHeadDim, kSourceTokens, kTargetTokens, kMaxRows, kSourceTokens});
  if (!prepared.ok()) return 1;
  std::puts(
      "| batch x beams | pages | G | variant | attention, us | beside it, us | all, of GQA |");
  std::puts("|---|---|---|---|---|---|---|");
  for (const DType dtype : {DType::kBF16, DType::kI8}) {
    for (const uint32_t kv_heads : {2u, 4u}) {
      RunCase(**backend, {1, 1, kv_heads, dtype}, 20 * rounds);
      RunCase(**backend, {4, 4, kv_heads, dtype}, 20 * rounds);
      RunCase(**backend, {kMaxRows, 1, kv_heads, dtype}, rounds);
    }
  }
  return 0;
}

}  // namespace
}  // namespace precis

int main(int argc, char** argv) { return precis::Main(argc > 1 ? std::atoi(argv[1]) : 40); }
