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
  bool ones = false;  // gains of norms
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
    for (int n = 0; n <= last; ++n) {
      out->push_back({layer(n) + ".layer_norm.weight", {s.d_model}, true});
    }
  }
  out->push_back({stack + ".final_layer_norm.weight", {s.d_model}, true});
}

void AddLinear(const std::string& at, uint64_t rows, uint64_t columns, std::vector<Tensor>* out) {
  out->push_back({at + ".weight", {rows, columns}});
  out->push_back({at + ".bias", {rows}});
}

void AddLayerNorm(const std::string& at, uint64_t d_model, std::vector<Tensor>* out) {
  out->push_back({at + ".weight", {d_model}, true});
  out->push_back({at + ".bias", {d_model}});
}

void AddBartAttention(const RandomBartShape& s, const std::string& at, uint32_t kv_heads,
                      std::vector<Tensor>* out) {
  const uint64_t kv = uint64_t{kv_heads} * (s.d_model / s.num_heads);
  AddLinear(at + ".q_proj", s.d_model, s.d_model, out);
  AddLinear(at + ".k_proj", kv, s.d_model, out);
  AddLinear(at + ".v_proj", kv, s.d_model, out);
  AddLinear(at + ".out_proj", s.d_model, s.d_model, out);
  AddLayerNorm(at + "_layer_norm", s.d_model, out);
}

void AddBartStack(const RandomBartShape& s, const std::string& stack, std::vector<Tensor>* out) {
  const bool decoder = stack == "decoder";
  const std::string at = "model." + stack;
  // Two rows that no position has stand before the table.
  out->push_back({at + ".embed_positions.weight", {uint64_t{s.max_positions} + 2, s.d_model}});
  AddLayerNorm(at + ".layernorm_embedding", s.d_model, out);
  const uint32_t kv_heads = decoder ? s.num_kv_heads : s.num_heads;
  for (uint32_t i = 0; i < (decoder ? s.decoder_layers : s.encoder_layers); ++i) {
    const std::string layer = fmt::format("{}.layers.{}", at, i);
    AddBartAttention(s, layer + ".self_attn", kv_heads, out);
    if (decoder) AddBartAttention(s, layer + ".encoder_attn", kv_heads, out);
    AddLinear(layer + ".fc1", s.d_ff, s.d_model, out);
    AddLinear(layer + ".fc2", s.d_model, s.d_ff, out);
    AddLayerNorm(layer + ".final_layer_norm", s.d_model, out);
  }
}

// Uniform in [-0.05, 0.05), as bf16; gains of norms are 1.
void WriteTensor(const Tensor& tensor, uint64_t* state, std::ofstream* file) {
  std::vector<uint16_t> values(tensor.size());
  for (uint16_t& value : values) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    const float x = static_cast<float>(*state >> 40) * 0x1p-24f;
    value = static_cast<uint16_t>(std::bit_cast<uint32_t>(tensor.ones ? 1.0f : (x - 0.5f) * 0.1f) >>
                                  16);
  }
  file->write(reinterpret_cast<const char*>(values.data()),
              static_cast<std::streamsize>(values.size() * sizeof(uint16_t)));
}

void AddGrouping(uint32_t heads, uint32_t kv_heads, nlohmann::json* config) {
  if (kv_heads == heads) return;
  (*config)["num_key_value_heads"] = kv_heads;
  (*config)["attention_variant"] = "gqa";
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
  AddGrouping(s.num_heads, s.num_kv_heads, &config);
  return config;
}

// What the hub's bart-large-cnn and distilbart-cnn-12-6 say of the architecture and of ids.
nlohmann::json Config(const RandomBartShape& s) {
  nlohmann::json config = {{"architectures", {"BartForConditionalGeneration"}},
                           {"model_type", "bart"},
                           {"vocab_size", s.vocab_size},
                           {"max_position_embeddings", s.max_positions},
                           {"d_model", s.d_model},
                           {"encoder_layers", s.encoder_layers},
                           {"decoder_layers", s.decoder_layers},
                           {"encoder_attention_heads", s.num_heads},
                           {"decoder_attention_heads", s.num_heads},
                           {"encoder_ffn_dim", s.d_ff},
                           {"decoder_ffn_dim", s.d_ff},
                           {"activation_function", "gelu"},
                           {"scale_embedding", false},
                           {"normalize_before", false},
                           {"normalize_embedding", true},
                           {"add_final_layer_norm", false},
                           {"static_position_embeddings", false},
                           {"is_encoder_decoder", true},
                           {"bos_token_id", 0},
                           {"pad_token_id", 1},
                           {"eos_token_id", 2},
                           {"decoder_start_token_id", 2}};
  AddGrouping(s.num_heads, s.num_kv_heads, &config);
  return config;
}

Status Write(const std::string& dir, const nlohmann::json& config,
             const std::vector<Tensor>& tensors) {
  nlohmann::json header;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    const uint64_t end = offset + tensor.size() * sizeof(uint16_t);
    header[tensor.name] = {
        {"dtype", "BF16"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::ofstream(dir + "/config.json") << config;
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

}  // namespace

Status WriteRandomCheckpoint(const std::string& dir, const RandomShape& shape) {
  std::vector<Tensor> tensors = {{"shared.weight", {shape.vocab_size, shape.d_model}}};
  AddStack(shape, "encoder", &tensors);
  AddStack(shape, "decoder", &tensors);
  return Write(dir, Config(shape), tensors);
}

Status WriteRandomCheckpoint(const std::string& dir, const RandomBartShape& shape) {
  std::vector<Tensor> tensors = {{"model.shared.weight", {shape.vocab_size, shape.d_model}},
                                 {"final_logits_bias", {1, shape.vocab_size}}};
  AddBartStack(shape, "encoder", &tensors);
  AddBartStack(shape, "decoder", &tensors);
  return Write(dir, Config(shape), tensors);
}

}  // namespace precis
