#include "tools/verify/verify.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/load/load_model.h"
#include "engine/load/memory_errors.h"
#include "engine/load/model_probe.h"
#include "engine/model/checkpoint/directory_kind.h"
#include "engine/model/config/generation_defaults.h"
#include "engine/text/tokenizer.h"
#include "fmt/format.h"
#include "tools/verify/blocking_run.h"
#include "tools/verify/golden_file.h"

namespace precis {
namespace {

// Limits of tests/golden/README.md. Tokens are demanded of f32 only: rounded weights may decide
// near ties otherwise.
constexpr double kF32Limit = 2e-4;
constexpr double kScoreLimit = 1e-4;  // relative

struct LimitsOfNorm {
  RoundedLimits bf16;          // no int8
  RoundedLimits f32_int8_kv;   // weights f32, KV int8
  RoundedLimits bf16_int8_kv;  // weights bf16, KV int8
  RoundedLimits int8;          // weights int8
};
constexpr LimitsOfNorm kRmsLimits = {.bf16 = {0.08, 1.0, 0.90},
                                     .f32_int8_kv = {0.12, 1.6, 0.88},
                                     .bf16_int8_kv = {0.12, 1.6, 0.88},
                                     .int8 = {0.32, 2.67, 0.77}};
constexpr LimitsOfNorm kLayerLimits = {.bf16 = {0.06, 0.29, 0.87},
                                       .f32_int8_kv = {0.03, 0.19, 0.89},
                                       .bf16_int8_kv = {0.06, 0.30, 0.87},
                                       .int8 = {0.23, 0.91, 0.79}};

// Share of positions whose splits must be golden where norms are rounded: the fixtures have 0.56 or
// more.
constexpr double kLeastGoldenSplits = 0.25;

// Of transformers where no file says a length.
constexpr uint32_t kDefaultNewTokens = 20;

struct Errors {
  double max = 0;
  double sum = 0;
  uint64_t count = 0;
  void Add(double got, double want) {
    const double error = std::abs(got - want);
    // A NaN must not pass for a small error.
    max = std::isnan(error) ? HUGE_VAL : std::max(max, error);
    sum += error;
    ++count;
  }
  double mean() const { return count == 0 ? 0 : sum / static_cast<double>(count); }
};

std::string Ids(const std::vector<int32_t>& ids) { return fmt::format("{}", fmt::join(ids, " ")); }

class Verifier {
 public:
  Verifier(const VerifyOptions& options, const std::function<void(const VerifyCheck&)>& on_check)
      : options_(options), on_check_(on_check) {}

  StatusOr<VerifyReport> Run() {
    EngineOptions& o = options_.engine;
    if (o.dtype == "auto") o.dtype = "f32";
    PRECIS_RETURN_IF_ERROR(CheckModelDirectory(o.model_dir));
    PRECIS_ASSIGN_OR_RETURN(golden_, LoadGolden(o.model_dir + "/golden.json"));
    PRECIS_RETURN_IF_ERROR(FillDefaults());
    FitLimits();
    PRECIS_ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(o));
    Model& model = *loaded.parts.model;
    const DType weights = model.weights.types.projections;
    const DType kv = model.layout.self.layers[0].dtype;
    exact_ = weights == DType::kF32 && kv == DType::kF32;
    limits_ = LimitsFor(weights, kv, model.config.norm);
    CheckTokenizer(loaded.info);
    for (const GoldenCase& c : golden_.cases) {
      if (HasPositions(c, loaded.options)) CheckNumbers(c, model);
    }
    if (!exact_) CheckSplits();
    if (!exact_) CheckSameBest();
    if (exact_) PRECIS_RETURN_IF_ERROR(CheckTokens(std::move(loaded)));
    return std::move(report_);
  }

 private:
  void Report(std::string name, bool passed, std::string detail) {
    report_.checks.push_back({std::move(name), passed, std::move(detail)});
    if (on_check_) on_check_(report_.checks.back());
  }

  // generate() without a word of the caller's: what the files say.
  Status FillDefaults() {
    PRECIS_ASSIGN_OR_RETURN(const GenerationDefaults defaults,
                            LoadGenerationDefaults(options_.engine.model_dir));
    for (GoldenCase& c : golden_.cases) {
      for (GoldenRun& run : c.runs) {
        if (!run.as_files_say) continue;
        run.options = defaults.values;
        run.options.max_new_tokens = run.options.max_new_tokens.value_or(kDefaultNewTokens);
      }
    }
    return OkStatus();
  }

  // The cases decide how long sources and summaries may get.
  void FitLimits() {
    uint32_t source = 1;
    uint32_t target = 1;
    for (const auto* list : {&golden_.cases, &golden_.batched}) {
      for (const GoldenCase& c : *list) {
        source = std::max(source, static_cast<uint32_t>(c.input_ids.size()));
        target = std::max(target, static_cast<uint32_t>(c.decoder_input_ids.size()));
        for (const GoldenRun& run : c.runs) {
          target = std::max(target, run.options.max_new_tokens.value_or(1));
        }
      }
    }
    options_.engine.max_source_tokens = source;
    options_.engine.max_new_tokens = target;
  }

  void CheckTokenizer(const ModelInfo& info) {
    auto tokenizer = Tokenizer::Load(options_.engine.model_dir, info.vocab_size);
    if (absl::IsNotFound(tokenizer.status())) return;  // ids alone can be verified
    if (!tokenizer.ok()) {
      Report("tokenizer", false, std::string(tokenizer.status().message()));
      return;
    }
    for (const GoldenCase& c : golden_.cases) {
      if (!c.text) continue;
      const auto body = (*tokenizer)->Encode(*c.text);
      if (!body.ok()) {
        Report(c.name + ": tokens", false, std::string(body.status().message()));
        continue;
      }
      const std::span<const int32_t> before = (*tokenizer)->source_prefix();
      std::vector<int32_t> ids(before.begin(), before.end());
      ids.insert(ids.end(), body->begin(), body->end());
      if (c.max_source_length && ids.size() + 1 > *c.max_source_length) {
        ids.resize(*c.max_source_length - 1);
      }
      ids.push_back((*tokenizer)->end_id());
      Report(c.name + ": tokens", ids == c.input_ids,
             ids == c.input_ids ? fmt::format("{} ids", ids.size()) : "other ids: " + Ids(ids));
    }
  }

  // A case of another model may be longer than this one's tables of positions.
  bool HasPositions(const GoldenCase& c, const EngineOptions& served) {
    const size_t source = c.input_ids.size();
    const size_t target = c.decoder_input_ids.size();
    if (source <= served.max_source_tokens && target <= served.max_new_tokens) return true;
    Report(c.name + ": positions", false,
           fmt::format("{} tokens of the source and {} of the summary; the model takes {} and {}",
                       source, target, served.max_source_tokens, served.max_new_tokens));
    return false;
  }

  void CheckNumbers(const GoldenCase& c, Model& model) {
    if (c.encoder && exact_) CheckEncoder(c, model);
    if (c.logits && !c.decoder_input_ids.empty()) CheckLogits(c, model);
  }

  void CheckEncoder(const GoldenCase& c, Model& model) {
    const std::vector<float> x = ModelProbe(model).Encode(c.input_ids);
    const size_t d = model.config.d_model;
    Errors errors;
    for (const GoldenRow& row : c.encoder->rows) {
      for (size_t i = 0; i < row.head8.size(); ++i) {
        errors.Add(x[row.position * d + i], row.head8[i]);
        errors.Add(x[(row.position + 1) * d - row.tail8.size() + i], row.tail8[i]);
      }
    }
    double sum = 0;
    double abs_sum = 0;
    for (const float v : x) {
      sum += v;
      abs_sum += std::abs(v);
    }
    const auto n = static_cast<double>(x.size());
    errors.Add(sum / n, c.encoder->mean);
    errors.Add(abs_sum / n, c.encoder->abs_mean);
    Report(c.name + ": encoder", errors.max <= kF32Limit,
           fmt::format("largest difference {:.2g}", errors.max));
  }

  // Where a rounded norm handed a query head to another KV head, a position's numbers say nothing,
  // nor do those after it, whose keys follow from it.
  size_t PositionsWithGoldenSplits(const GoldenCase& c, const std::vector<HeadSplit>& splits) {
    size_t first_other = c.decoder_input_ids.size();
    for (const GoldenSplits& golden : c.head_splits) {
      for (const HeadSplit& split : splits) {
        if (split.layer != golden.layer || split.cross != golden.cross) continue;
        const size_t at = split.cross ? 0 : split.position;
        const bool same = at < golden.positions.size() && split.heads == golden.positions[at];
        if (!same) first_other = std::min<size_t>(first_other, split.position);
      }
    }
    return first_other;
  }

  void CheckLogits(const GoldenCase& c, Model& model) {
    std::vector<HeadSplit> splits;
    const uint64_t noise_seed = c.runs.empty() ? 0 : c.runs[0].options.noise_seed.value_or(0);
    const std::vector<float> logits =
        ModelProbe(model).Logits(c.input_ids, c.decoder_input_ids, noise_seed, &splits);
    const size_t vocab = model.config.vocab_size;
    const size_t comparable = PositionsWithGoldenSplits(c, splits);
    if (!c.head_splits.empty()) {
      Report(c.name + ": head splits", !exact_ || comparable == c.decoder_input_ids.size(),
             fmt::format("{} of {} positions have the golden ones", comparable,
                         c.decoder_input_ids.size()));
      assigned_positions_ += c.decoder_input_ids.size();
      comparable_positions_ += comparable;
    }
    Errors errors;
    for (const auto& [position, row] : c.logits->rows) {
      if (position >= comparable) continue;
      for (size_t i = 0; i < row.size(); ++i) {
        errors.Add(logits[position * vocab + i], row[i]);
      }
    }
    uint32_t same_best = 0;
    const size_t positions = std::min(c.logits->top_ids.size(), comparable);
    for (size_t t = 0; t < positions; ++t) {
      const float* row = logits.data() + t * vocab;
      for (size_t i = 0; i < c.logits->top_ids[t].size(); ++i) {
        errors.Add(row[c.logits->top_ids[t][i]], c.logits->top_values[t][i]);
      }
      const auto best = static_cast<int32_t>(std::max_element(row, row + vocab) - row);
      same_best += best == c.logits->top_ids[t][0];
    }
    const double same =
        positions == 0 ? 1.0 : double{1} * same_best / static_cast<double>(positions);
    same_best_ += same_best;
    positions_ += positions;
    const bool passed = exact_ ? errors.max <= kF32Limit && same_best == positions
                               : errors.mean() <= limits_.mean && errors.max <= limits_.largest;
    Report(c.name + ": logits", passed,
           fmt::format("largest difference {:.2g}, mean {:.2g}, same best token {:.0f} %",
                       errors.max, errors.mean(), 100 * same));
  }

  // Some positions must be left to compare, or heads are assigned by another rule than the golden
  // one.
  void CheckSplits() {
    if (assigned_positions_ == 0) return;
    const double share =
        static_cast<double>(comparable_positions_) / static_cast<double>(assigned_positions_);
    Report("all cases: head splits", share >= kLeastGoldenSplits,
           fmt::format("{} of {} positions were compared", comparable_positions_,
                       assigned_positions_));
  }

  // One case has too few positions to ask for a share of them.
  void CheckSameBest() {
    if (positions_ == 0) return;
    const double same = static_cast<double>(same_best_) / static_cast<double>(positions_);
    Report("all cases: best tokens", same >= limits_.share,
           fmt::format("{} of {} positions have the same best token", same_best_, positions_));
  }

  struct Pending {
    const GoldenCase* golden_case;
    const GoldenRun* run;
    StatusOr<BlockingRun> submitted;
  };

  Status CheckTokens(LoadedModel loaded) {
    const int32_t start = loaded.info.decoder_start_token_id;
    const std::vector<int32_t> ends = loaded.info.end_token_ids;
    PRECIS_ASSIGN_OR_RETURN(
        auto engine, Engine::CreateWithRunner(loaded.options,
                                              std::make_unique<StepRunner>(std::move(loaded.parts)),
                                              std::move(loaded.info)));
    std::vector<Pending> pending;
    const auto settle = [&] {
      for (Pending& p : pending) Compare(p, start, ends);
      pending.clear();
    };
    for (const GoldenCase& c : golden_.cases) {
      for (const GoldenRun& run : c.runs) {
        pending.push_back({&c, &run, Submit(*engine, c, run)});
        if (!options_.mixed) settle();
      }
    }
    settle();
    for (const GoldenCase& c : golden_.batched) {
      for (const GoldenRun& run : c.runs) {
        pending.push_back({&c, &run, Submit(*engine, c, run)});
      }
    }
    settle();
    return OkStatus();
  }

  StatusOr<BlockingRun> Submit(Engine& engine, const GoldenCase& c, const GoldenRun& run) {
    if (!run.problem.empty()) return Unimplemented(run.problem);
    PRECIS_ASSIGN_OR_RETURN(const ResolvedOptions resolved,
                            ResolveOptions({}, run.options, engine.generation_limits(), 0));
    return BlockingRun::Submit(engine, c.input_ids, resolved.options);
  }

  void Compare(Pending& p, int32_t start, std::span<const int32_t> ends) {
    const std::string name = p.golden_case->name + ": " + p.run->name;
    if (!p.submitted.ok()) {
      Report(name, false, "cannot be run: " + std::string(p.submitted.status().message()));
      return;
    }
    const RunResult result = p.submitted->Wait();
    if (!result.status.ok()) {
      Report(name, false, std::string(result.status.message()));
      return;
    }
    if (p.run->scores.empty()) {
      const std::vector<int32_t>& want = p.run->sequences.at(0);
      CompareIds(name, WithEnds(result.tokens, result.reason, start, ends, want), want);
    } else {
      CompareBeams(name, *p.run, result, start, ends);
    }
  }

  // A result has no end; of several it is taken for the one of `want`.
  static std::vector<int32_t> WithEnds(const std::vector<int32_t>& tokens, FinishReason reason,
                                       int32_t start, std::span<const int32_t> ends,
                                       const std::vector<int32_t>& want) {
    std::vector<int32_t> ids = {start};
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    if (reason == FinishReason::kEndOfSequence) {
      ids.push_back(!want.empty() && IsEnd(ends, want.back()) ? want.back() : ends.front());
    }
    return ids;
  }

  void CompareIds(const std::string& name, const std::vector<int32_t>& ids,
                  const std::vector<int32_t>& want) {
    Report(name, ids == want,
           ids == want ? fmt::format("{} ids", ids.size())
                       : fmt::format("got {}, want {}", Ids(ids), Ids(want)));
  }

  void CompareBeams(const std::string& name, const GoldenRun& run, const RunResult& result,
                    int32_t start, std::span<const int32_t> ends) {
    if (result.hypotheses.size() != run.sequences.size()) {
      Report(name, false,
             fmt::format("{} sequences, want {}", result.hypotheses.size(), run.sequences.size()));
      return;
    }
    double worst = 0;
    for (size_t i = 0; i < run.sequences.size(); ++i) {
      const Hypothesis& h = result.hypotheses[i];
      const std::vector<int32_t> ids = WithEnds(h.tokens, h.reason, start, ends, run.sequences[i]);
      if (ids != run.sequences[i]) {
        CompareIds(fmt::format("{}, sequence {}", name, i), ids, run.sequences[i]);
        return;
      }
      const double want = run.scores.at(i);
      worst = std::max(worst, std::abs(h.score - want) / std::max(std::abs(want), 1e-12));
    }
    Report(
        name, worst <= kScoreLimit,
        fmt::format("{} sequences, scores differ by {:.1g} at most", run.sequences.size(), worst));
  }

  VerifyOptions options_;
  const std::function<void(const VerifyCheck&)>& on_check_;
  GoldenFile golden_;
  bool exact_ = true;
  RoundedLimits limits_ = {};  // where not exact
  size_t same_best_ = 0;       // positions of all cases whose best token is the golden one
  size_t positions_ = 0;
  size_t assigned_positions_ = 0;    // of all cases whose heads are assigned
  size_t comparable_positions_ = 0;  // of those, with the golden splits up to there
  VerifyReport report_;
};

}  // namespace

RoundedLimits LimitsFor(DType weights, DType kv, NormKind norm) {
  const LimitsOfNorm& limits = norm == NormKind::kLayer ? kLayerLimits : kRmsLimits;
  if (weights == DType::kI8) return limits.int8;
  if (kv != DType::kI8) return limits.bf16;
  return weights == DType::kBF16 ? limits.bf16_int8_kv : limits.f32_int8_kv;
}

uint32_t VerifyReport::passed() const {
  return static_cast<uint32_t>(
      std::count_if(checks.begin(), checks.end(), [](const VerifyCheck& c) { return c.passed; }));
}

uint32_t VerifyReport::failed() const { return static_cast<uint32_t>(checks.size()) - passed(); }

StatusOr<VerifyReport> Verify(const VerifyOptions& options,
                              const std::function<void(const VerifyCheck&)>& on_check) {
  return WithMemoryErrors([&] { return Verifier(options, on_check).Run(); });
}

}  // namespace precis
