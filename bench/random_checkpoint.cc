#include "bench/random_checkpoint.h"

#include <bit>
#include <fstream>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

struct Tensor {
  std::string name;
  std::vector<uint64_t> shape;
  uint64_t size() const {
    uint64_t n = 1;
    for (const uint64_t dim : shape) n *= dim;
    return n;
  }
};

void AddAttention(const RandomShape& s, const std::string& at, uint32_t kv_heads, bool bias,
                  std::vector<Tensor>* out) {
  const uint64_t q = uint64_t{s.num_heads} * s.head_dim;
  const uint64_t kv = uint64_t{kv_heads} * s.head_dim;
  out->push_back({at + ".q.weight", {q, s.d_model}});
  out->push_back({at + ".k.weight", {kv, s.d_model}});
  out->push_back({at + ".v.weight", {kv, s.d_model}});
  out->push_back({at + ".o.weight", {s.d_model, q}});
  if (bias) out->push_back({at + ".relative_attention_bias.weight", {32, s.num_heads}});
}

void AddStack(const RandomShape& s, const std::string& stack, std::vector<Tensor>* out) {
  const bool decoder = stack == "decoder";
  for (uint32_t i = 0; i < s.num_layers; ++i) {
    const auto layer = [&](int n) { return fmt::format("{}.block.{}.layer.{}", stack, i, n); };
    // The encoder keeps all its heads.
    const uint32_t kv_heads = decoder ? s.num_kv_heads : s.num_heads;
    AddAttention(s, layer(0) + ".SelfAttention", kv_heads, i == 0, out);
    if (decoder) AddAttention(s, layer(1) + ".EncDecAttention", kv_heads, false, out);
    const int last = decoder ? 2 : 1;
    out->push_back({layer(last) + ".DenseReluDense.wi.weight", {s.d_ff, s.d_model}});
    out->push_back({layer(last) + ".DenseReluDense.wo.weight", {s.d_model, s.d_ff}});
    for (int n = 0; n <= last; ++n) out->push_back({layer(n) + ".layer_norm.weight", {s.d_model}});
  }
  out->push_back({stack + ".final_layer_norm.weight", {s.d_model}});
}

// Uniform in [-0.05, 0.05), as bf16; norms are 1.
void WriteTensor(const Tensor& tensor, uint64_t* state, std::ofstream* file) {
  const bool norm = tensor.shape.size() == 1;
  std::vector<uint16_t> values(tensor.size());
  for (uint16_t& value : values) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    const float x = static_cast<float>(*state >> 40) * 0x1p-24f;
    value = static_cast<uint16_t>(std::bit_cast<uint32_t>(norm ? 1.0f : (x - 0.5f) * 0.1f) >> 16);
  }
  file->write(reinterpret_cast<const char*>(values.data()),
              static_cast<std::streamsize>(values.size() * sizeof(uint16_t)));
}

nlohmann::json Config(const RandomShape& s) {
  nlohmann::json config = {{"architectures", {"T5ForConditionalGeneration"}},
                           {"model_type", "t5"},
                           {"vocab_size", s.vocab_size},
                           {"d_model", s.d_model},
                           {"d_kv", s.head_dim},
                           {"num_heads", s.num_heads},
                           {"d_ff", s.d_ff},
                           {"num_layers", s.num_layers},
                           {"num_decoder_layers", s.num_layers},
                           {"relative_attention_num_buckets", 32},
                           {"relative_attention_max_distance", 128},
                           {"layer_norm_epsilon", 1e-6},
                           {"feed_forward_proj", "relu"},
                           {"is_encoder_decoder", true},
                           {"tie_word_embeddings", true},
                           {"decoder_start_token_id", 0},
                           {"pad_token_id", 0},
                           {"eos_token_id", 1}};
  if (s.num_kv_heads < s.num_heads) {
    config["num_key_value_heads"] = s.num_kv_heads;
    config["attention_variant"] = "gqa";
  }
  return config;
}

}  // namespace

Status WriteRandomCheckpoint(const std::string& dir, const RandomShape& shape) {
  std::vector<Tensor> tensors = {{"shared.weight", {shape.vocab_size, shape.d_model}}};
  AddStack(shape, "encoder", &tensors);
  AddStack(shape, "decoder", &tensors);
  nlohmann::json header;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    const uint64_t end = offset + tensor.size() * sizeof(uint16_t);
    header[tensor.name] = {
        {"dtype", "BF16"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::ofstream(dir + "/config.json") << Config(shape);
  std::ofstream(dir + "/generation_config.json") << "{}";
  std::ofstream file(dir + "/model.safetensors", std::ios::binary);
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  file.write(reinterpret_cast<const char*>(&size), sizeof(size));
  file << text;
  uint64_t state = 1;
  for (const Tensor& tensor : tensors) WriteTensor(tensor, &state, &file);
  if (!file.flush()) return Internal("cannot write " + dir + "/model.safetensors");
  return OkStatus();
}

}  // namespace precis
