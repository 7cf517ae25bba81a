// Shapes of large models that no fixture has, made from a seed while the test runs: MADLAD-400's
// (wide heads, 256,000 tokens, other pad and end ids) and FLAN-UL2's (32 layers in each stack).
// A reference written here from the formulas alone, in double and without a cache, says what is
// right; the engine must agree alone and in a batch, on every backend of this build.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/model/checkpoint/checkpoint_files.h"
#include "tools/verify/verify.h"

namespace precis {
namespace {

using nlohmann::json;
using Matrix = std::vector<double>;  // row-major

// A T5 v1.1 that is not tied.
struct Shape {
  const char* name;
  uint32_t d_model, d_kv, d_ff, layers, heads, vocab;
  int pad, end;
  size_t source_tokens;  // of the longest case
};
constexpr Shape kMadlad = {"madlad", 16, 128, 24, 2, 2, 256000, 1, 2, 21};
constexpr Shape kFlanUl2 = {"flan_ul2", 32, 8, 48, 32, 4, 96, 0, 1, 150};

constexpr uint32_t kBuckets = 32;
constexpr uint32_t kMaxDistance = 128;
constexpr size_t kNewTokens = 12;
constexpr double kLeastGap = 4e-3;  // between the two best tokens: far above what float32 loses

// splitmix64: the same numbers with every compiler.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  // Mean 0, deviation 1: the sum of twelve uniform numbers.
  double Normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(Next() >> 11) * 0x1p-53;
    return sum;
  }

 private:
  uint64_t state_;
};

struct Tensor {
  int64_t rows, cols;  // cols 0: a vector
  std::vector<float> values;
};

class Model {
 public:
  Model(const Shape& shape, uint64_t seed) : shape_(shape), random_(seed) {
    const double d = shape.d_model;
    const uint32_t inner = shape.heads * shape.d_kv;
    Add("shared.weight", shape.vocab, shape.d_model, 1);
    Add("lm_head.weight", shape.vocab, shape.d_model, 3 / std::sqrt(d));
    for (const std::string stack : {"encoder", "decoder"}) {
      const bool decoder = stack == "decoder";
      for (uint32_t i = 0; i < shape.layers; ++i) {
        const std::string layer = stack + ".block." + std::to_string(i) + ".layer.";
        Attention(layer + "0.", "SelfAttention.", inner);
        if (decoder) Attention(layer + "1.", "EncDecAttention.", inner);
        const std::string last = layer + (decoder ? "2." : "1.");
        AddNorm(last + "layer_norm.weight");
        for (const char* wi : {"wi_0", "wi_1"}) {
          Add(last + "DenseReluDense." + wi + ".weight", shape.d_ff, shape.d_model,
              1 / std::sqrt(d));
        }
        Add(last + "DenseReluDense.wo.weight", shape.d_model, shape.d_ff,
            1 / std::sqrt(double{1} * shape.d_ff));
      }
      Add(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", kBuckets,
          shape.heads, 1.5);
      AddNorm(stack + ".final_layer_norm.weight");
    }
  }

  const Tensor& Get(const std::string& name) const { return tensors_.at(name); }

  void Write(const testing::TempDir& dir) const {
    std::map<std::string, testing::RawTensor> raw;
    for (const auto& [name, tensor] : tensors_) {
      std::vector<int64_t> shape = {tensor.rows};
      if (tensor.cols > 0) shape.push_back(tensor.cols);
      raw[name] = testing::Floats(shape, tensor.values);
    }
    dir.Write("model.safetensors", testing::SafetensorsBytes(raw));
    const json config = {{"model_type", "t5"},
                         {"architectures", {"T5ForConditionalGeneration"}},
                         {"d_model", shape_.d_model},
                         {"d_kv", shape_.d_kv},
                         {"d_ff", shape_.d_ff},
                         {"num_layers", shape_.layers},
                         {"num_decoder_layers", shape_.layers},
                         {"num_heads", shape_.heads},
                         {"vocab_size", shape_.vocab},
                         {"feed_forward_proj", "gated-gelu"},
                         {"tie_word_embeddings", false},
                         {"relative_attention_num_buckets", kBuckets},
                         {"relative_attention_max_distance", kMaxDistance},
                         {"pad_token_id", shape_.pad},
                         {"eos_token_id", shape_.end},
                         {"decoder_start_token_id", 0}};
    dir.Write("config.json", config.dump());
  }

 private:
  void Add(const std::string& name, int64_t rows, int64_t cols, double deviation) {
    Tensor& tensor = tensors_[name] = {rows, cols, {}};
    tensor.values.resize(static_cast<size_t>(rows * cols));
    for (float& value : tensor.values) value = static_cast<float>(random_.Normal() * deviation);
  }
  void AddNorm(const std::string& name) {
    Add(name, shape_.d_model, 1, 0.1);
    tensors_[name].cols = 0;
    for (float& value : tensors_[name].values) value += 1;
  }
  void Attention(const std::string& layer, const std::string& kind, uint32_t inner) {
    AddNorm(layer + "layer_norm.weight");
    const double d = shape_.d_model;
    Add(layer + kind + "q.weight", inner, shape_.d_model, 1 / std::sqrt(d * shape_.d_kv));
    Add(layer + kind + "k.weight", inner, shape_.d_model, 1 / std::sqrt(d));
    Add(layer + kind + "v.weight", inner, shape_.d_model, 1 / std::sqrt(d));
    Add(layer + kind + "o.weight", shape_.d_model, inner, 1 / std::sqrt(double{1} * inner));
  }

  const Shape shape_;
  Random random_;
  std::map<std::string, Tensor> tensors_;
};

// Raffel et al. 2020, one document and one sequence at a time.
class Reference {
 public:
  Reference(const Shape& shape, const Model& model) : shape_(shape), model_(model) {}

  Matrix Encode(const std::vector<int32_t>& ids) const {
    return Stack("encoder", Embed(ids), nullptr);
  }
  // What the decoder gives for each of `ids`, before lm_head.
  Matrix Decode(const Matrix& encoded, const std::vector<int32_t>& ids) const {
    return Stack("decoder", Embed(ids), &encoded);
  }
  // Of one row of it: [vocab].
  Matrix Logits(const Matrix& decoded, size_t row) const {
    const auto begin = decoded.begin() + static_cast<int64_t>(row * shape_.d_model);
    return Product({begin, begin + shape_.d_model}, "lm_head.weight");
  }

 private:
  size_t Rows(const Matrix& x) const { return x.size() / shape_.d_model; }

  Matrix Embed(const std::vector<int32_t>& ids) const {
    const std::vector<float>& table = model_.Get("shared.weight").values;
    Matrix x;
    for (const int32_t id : ids) {
      const auto row = table.begin() + int64_t{id} * shape_.d_model;
      x.insert(x.end(), row, row + shape_.d_model);
    }
    return x;
  }

  // x W^T.
  Matrix Product(const Matrix& x, const std::string& name) const {
    const Tensor& w = model_.Get(name);
    const auto k = static_cast<size_t>(w.cols);
    const auto n = static_cast<size_t>(w.rows);
    Matrix out(x.size() / k * n);
    for (size_t i = 0; i < out.size(); ++i) {
      const double* row = &x[i / n * k];
      const float* column = &w.values[i % n * k];
      double sum = 0;
      for (size_t c = 0; c < k; ++c) sum += row[c] * column[c];
      out[i] = sum;
    }
    return out;
  }

  Matrix Norm(const Matrix& x, const std::string& name) const {
    const std::vector<float>& gains = model_.Get(name).values;
    const size_t d = shape_.d_model;
    Matrix out(x.size());
    for (size_t row = 0; row < x.size(); row += d) {
      double squares = 0;
      for (size_t c = 0; c < d; ++c) squares += x[row + c] * x[row + c];
      const double scale = 1 / std::sqrt(squares / static_cast<double>(d) + 1e-6);
      for (size_t c = 0; c < d; ++c) out[row + c] = x[row + c] * scale * gains[c];
    }
    return out;
  }

  // As the paper's code and transformers bucket it; the logarithm in float, as they take it.
  static uint32_t Bucket(int64_t relative, bool both_ways) {
    uint32_t buckets = kBuckets;
    uint32_t first = 0;
    int64_t distance = std::max<int64_t>(-relative, 0);
    if (both_ways) {
      buckets /= 2;
      first = relative > 0 ? buckets : 0;
      distance = std::abs(relative);
    }
    const uint32_t exact = buckets / 2;
    if (distance < exact) return first + static_cast<uint32_t>(distance);
    const float share = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                        static_cast<float>(std::log(double{1} * kMaxDistance / exact));
    const auto far = static_cast<uint32_t>(share * static_cast<float>(buckets - exact));
    return first + std::min(exact + far, buckets - 1);
  }

  // `keys`: what K and V are made of; bias: the stack whose bias is added, empty for none.
  Matrix Attend(const Matrix& x, const Matrix& keys, const std::string& prefix,
                const std::string& bias) const {
    const Matrix q = Product(x, prefix + "q.weight");
    const Matrix k = Product(keys, prefix + "k.weight");
    const Matrix v = Product(keys, prefix + "v.weight");
    const size_t inner = size_t{shape_.heads} * shape_.d_kv;
    const std::string table =
        bias + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    Matrix out(q.size());
    for (size_t i = 0; i < Rows(x); ++i) {
      const size_t seen = bias == "decoder" ? i + 1 : Rows(keys);
      for (size_t h = 0; h < shape_.heads; ++h) {
        const size_t at = h * shape_.d_kv;
        Matrix scores(seen);
        for (size_t j = 0; j < seen; ++j) {
          for (size_t c = at; c < at + shape_.d_kv; ++c) {
            scores[j] += q[i * inner + c] * k[j * inner + c];
          }
          if (bias.empty()) continue;
          const int64_t relative = static_cast<int64_t>(j) - static_cast<int64_t>(i);
          scores[j] +=
              model_.Get(table).values[Bucket(relative, bias == "encoder") * shape_.heads + h];
        }
        const double most = *std::ranges::max_element(scores);
        double sum = 0;
        for (double& score : scores) sum += score = std::exp(score - most);
        for (size_t j = 0; j < seen; ++j) {
          for (size_t c = at; c < at + shape_.d_kv; ++c) {
            out[i * inner + c] += scores[j] / sum * v[j * inner + c];
          }
        }
      }
    }
    return Product(out, prefix + "o.weight");
  }

  static double Gelu(double x) {
    return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
  }

  static void AddTo(Matrix& x, const Matrix& more) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += more[i];
  }

  Matrix Stack(const std::string& stack, Matrix x, const Matrix* encoded) const {
    for (uint32_t i = 0; i < shape_.layers; ++i) {
      const std::string layer = stack + ".block." + std::to_string(i) + ".layer.";
      Matrix y = Norm(x, layer + "0.layer_norm.weight");
      AddTo(x, Attend(y, y, layer + "0.SelfAttention.", stack));
      if (encoded != nullptr) {
        y = Norm(x, layer + "1.layer_norm.weight");
        AddTo(x, Attend(y, *encoded, layer + "1.EncDecAttention.", ""));
      }
      const std::string last = layer + (encoded != nullptr ? "2." : "1.");
      y = Norm(x, last + "layer_norm.weight");
      Matrix gate = Product(y, last + "DenseReluDense.wi_0.weight");
      const Matrix up = Product(y, last + "DenseReluDense.wi_1.weight");
      for (size_t c = 0; c < gate.size(); ++c) gate[c] = Gelu(gate[c]) * up[c];
      AddTo(x, Product(gate, last + "DenseReluDense.wo.weight"));
    }
    return Norm(x, stack + ".final_layer_norm.weight");
  }

  const Shape shape_;
  const Model& model_;
};

// The five best, best first.
std::vector<int32_t> Top(const Matrix& logits) {
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  std::ranges::partial_sort(ids, ids.begin() + 5, [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  ids.resize(5);
  return ids;
}

json SampleOf(const Matrix& encoded, uint32_t d) {
  const size_t rows = encoded.size() / d;
  json out;
  for (const auto& [name, row] : {std::pair("first", size_t{0}), std::pair("middle", rows / 2),
                                  std::pair("last", rows - 1)}) {
    const double* values = &encoded[row * d];
    out[name] = {{"position", row},
                 {"head8", std::vector<double>(values, values + 8)},
                 {"tail8", std::vector<double>(values + d - 8, values + d)}};
  }
  double sum = 0;
  double abs_sum = 0;
  for (const double value : encoded) {
    sum += value;
    abs_sum += std::abs(value);
  }
  out["mean"] = sum / static_cast<double>(encoded.size());
  out["abs_mean"] = abs_sum / static_cast<double>(encoded.size());
  return out;
}

// The case of golden.json for a source; null where a step is too close to call.
json CaseOf(const Shape& shape, const Reference& reference, const std::vector<int32_t>& source,
            size_t number) {
  const Matrix encoded = reference.Encode(source);
  std::vector<int32_t> ids = {0};
  json top_ids = json::array();
  json top_values = json::array();
  json rows = json::object();
  while (ids.size() <= kNewTokens && (ids.size() == 1 || ids.back() != shape.end)) {
    const Matrix logits = reference.Logits(reference.Decode(encoded, ids), ids.size() - 1);
    const std::vector<int32_t> top = Top(logits);
    std::vector<double> values;
    for (const int32_t id : top) values.push_back(logits[static_cast<size_t>(id)]);
    if (values[0] - values[1] < kLeastGap) return nullptr;
    if (ids.size() == 3 && number == 0) rows[std::to_string(ids.size() - 1)] = logits;
    top_ids.push_back(top);
    top_values.push_back(values);
    ids.push_back(top[0]);
  }
  const std::vector<int32_t> forced(ids.begin(), ids.end() - 1);
  return {{"name", "made_" + std::to_string(number)},
          {"input_ids", source},
          {"encoder_output", SampleOf(encoded, shape.d_model)},
          {"decoder_input_ids", forced},
          {"logits", {{"rows", rows}, {"top5_ids", top_ids}, {"top5_values", top_values}}},
          {"greedy_options", {{"max_new_tokens", kNewTokens}}},
          {"greedy_ids", ids}};
}

// A directory with the checkpoint and its golden.json, made once for all backends.
const testing::TempDir& MadeOnce(const Shape& shape) {
  static std::map<std::string, std::unique_ptr<testing::TempDir>> made;
  std::unique_ptr<testing::TempDir>& dir = made[shape.name];
  if (dir != nullptr) return *dir;
  dir = std::make_unique<testing::TempDir>();
  const Model model(shape, /*seed=*/20);
  model.Write(*dir);
  const Reference reference(shape, model);
  Random random(30);
  json cases = json::array();
  for (int tries = 0; cases.size() < 3 && tries < 30; ++tries) {
    const size_t tokens = std::max<size_t>(shape.source_tokens >> (2 * cases.size()), 2);
    std::vector<int32_t> source;
    while (source.size() + 1 < tokens) {
      source.push_back(static_cast<int32_t>(3 + random.Next() % (shape.vocab - 3)));
    }
    source.push_back(shape.end);
    json made_case = CaseOf(shape, reference, source, cases.size());
    if (!made_case.is_null()) cases.push_back(std::move(made_case));
  }
  EXPECT_EQ(cases.size(), 3u) << "too many close calls";
  dir->Write("golden.json", json{{"cases", cases}}.dump());
  return *dir;
}

using Case = std::tuple<Shape, const char*, bool>;  // shape, backend, mixed

class MadeCheckpoint : public ::testing::TestWithParam<Case> {};

TEST_P(MadeCheckpoint, AgreesWithTheFormulas) {
  const auto& [shape, backend, mixed] = GetParam();
  VerifyOptions options;
  options.engine.model_dir = MadeOnce(shape).path();
  options.engine.device = backend;
  options.engine.threads = 1;  // so small that a second one would only wait for the first
  options.engine.max_batch = 8;
  options.engine.pool_bytes = 64u << 20;
  options.mixed = mixed;
  const auto report = Verify(options, {});
  ASSERT_TRUE(report.ok()) << report.status();
  for (const VerifyCheck& check : report->checks) {
    EXPECT_TRUE(check.passed) << check.name << ": " << check.detail;
  }
  EXPECT_GE(report->passed(), 9u) << "encoder, logits and greedy ids of three cases";
}

std::string Name(const ::testing::TestParamInfo<Case>& info) {
  const auto& [shape, backend, mixed] = info.param;
  return std::string(shape.name) + "_" + backend + (mixed ? "_mixed" : "_alone");
}

INSTANTIATE_TEST_SUITE_P(Ref, MadeCheckpoint,
                         ::testing::Combine(::testing::Values(kMadlad, kFlanUl2),
                                            ::testing::Values("ref"), ::testing::Bool()),
                         Name);
#if PRECIS_TEST_CPU_BACKEND
INSTANTIATE_TEST_SUITE_P(Cpu, MadeCheckpoint,
                         ::testing::Combine(::testing::Values(kMadlad, kFlanUl2),
                                            ::testing::Values("cpu"), ::testing::Bool()),
                         Name);
#endif

}  // namespace
}  // namespace precis
