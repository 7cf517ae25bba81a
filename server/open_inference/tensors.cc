#include "server/open_inference/tensors.h"

#include <bit>
#include <cstring>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"

namespace precis {
namespace {

using inference::InferTensorContents;

constexpr int kMaxRankShown = 8;

static_assert(std::endian::native == std::endian::little, "raw contents are little-endian");

constexpr InferInput kInputs[] = {
    {kTextInput, inference::TYPE_STRING, nullptr},
    {"max_tokens", inference::TYPE_INT32, "max_new_tokens"},
    {"min_tokens", inference::TYPE_INT32, "min_new_tokens"},
    {"beam_width", inference::TYPE_INT32, "num_beams"},
    {"length_penalty", inference::TYPE_FP32, "length_penalty"},
    {"repetition_penalty", inference::TYPE_FP32, "repetition_penalty"},
    {"no_repeat_ngram_size", inference::TYPE_INT32, "no_repeat_ngram_size"},
    {"temperature", inference::TYPE_FP32, "temperature"},
    {"top_k", inference::TYPE_INT32, "top_k"},
    {"top_p", inference::TYPE_FP32, "top_p"},
    {"random_seed", inference::TYPE_UINT64, "seed"},
    {"seed", inference::TYPE_UINT64, "seed"},
    {"stop", inference::TYPE_STRING, "stop", /*list=*/true},
    {"prefix", inference::TYPE_STRING, "prefix"},
    {"long_document_policy", inference::TYPE_STRING, "long_document_policy"},
    {kStreamInput, inference::TYPE_BOOL, nullptr},
};

constexpr InferOutput kOutputs[] = {
    {kTextOutput, inference::TYPE_STRING},
    {kFinishReasonOutput, inference::TYPE_STRING},
    {kSourceTokensOutput, inference::TYPE_UINT32},
    {kGeneratedTokensOutput, inference::TYPE_UINT32},
};

Status Wrong(const InferTensor& from, const std::string& message) {
  return FieldError(from.tensor->name(), message);
}

Status WrongCount(const InferTensor& from, const char* place, uint64_t found, size_t count) {
  return Wrong(from, fmt::format("has shape {} and {} elements in {}; {} belong there",
                                 ShapeText(*from.tensor), found, place, count));
}

// Elements of one size, one after another.
template <typename T, typename Value>
StatusOr<std::vector<InferValue>> ReadRaw(const InferTensor& from, size_t count) {
  if (from.raw->size() != count * sizeof(T)) {
    return Wrong(from, fmt::format("has shape {} and {} raw bytes; {} of {} make {}",
                                   ShapeText(*from.tensor), from.raw->size(), count,
                                   from.tensor->datatype(), count * sizeof(T)));
  }
  std::vector<InferValue> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from.raw->data() + i * sizeof(T), sizeof(T));
    out.emplace_back(static_cast<Value>(value));
  }
  return out;
}

// Four bytes of length, then so many bytes; again and again.
StatusOr<std::vector<InferValue>> ReadRawTexts(const InferTensor& from, size_t count) {
  std::vector<InferValue> out;
  std::string_view rest = *from.raw;
  while (!rest.empty()) {
    uint32_t size = 0;
    if (rest.size() < sizeof(size)) return Wrong(from, "ends amid the length of an element");
    std::memcpy(&size, rest.data(), sizeof(size));
    rest.remove_prefix(sizeof(size));
    if (rest.size() < size) {
      return Wrong(from, fmt::format("ends amid element {}, which says that it has {} bytes",
                                     out.size(), size));
    }
    if (out.size() == count) return WrongCount(from, "raw_input_contents", count + 1, count);
    out.emplace_back(std::string(rest.substr(0, size)));
    rest.remove_prefix(size);
  }
  if (out.size() != count) return WrongCount(from, "raw_input_contents", out.size(), count);
  return out;
}

template <typename Value, typename Repeated>
StatusOr<std::vector<InferValue>> ReadTyped(const InferTensor& from, size_t count,
                                            const char* place, const Repeated& values) {
  if (static_cast<size_t>(values.size()) != count) {
    return WrongCount(from, place, static_cast<uint64_t>(values.size()), count);
  }
  std::vector<InferValue> out;
  out.reserve(count);
  for (const auto& value : values) out.emplace_back(static_cast<Value>(value));
  return out;
}

// One datatype: how its elements are read from either place.
struct Datatype {
  const char* name;
  StatusOr<std::vector<InferValue>> (*raw)(const InferTensor&, size_t);
  StatusOr<std::vector<InferValue>> (*typed)(const InferTensor&, size_t,
                                             const InferTensorContents&);
};

#define PRECIS_TYPED(Value, member)                                         \
  [](const InferTensor& from, size_t count, const InferTensorContents& c) { \
    return ReadTyped<Value>(from, count, "contents." #member, c.member());  \
  }

constexpr Datatype kDatatypes[] = {
    {"BYTES", ReadRawTexts, PRECIS_TYPED(std::string, bytes_contents)},
    {"BOOL", ReadRaw<uint8_t, bool>, PRECIS_TYPED(bool, bool_contents)},
    {"INT8", ReadRaw<int8_t, int64_t>, PRECIS_TYPED(int64_t, int_contents)},
    {"INT16", ReadRaw<int16_t, int64_t>, PRECIS_TYPED(int64_t, int_contents)},
    {"INT32", ReadRaw<int32_t, int64_t>, PRECIS_TYPED(int64_t, int_contents)},
    {"INT64", ReadRaw<int64_t, int64_t>, PRECIS_TYPED(int64_t, int64_contents)},
    {"UINT8", ReadRaw<uint8_t, uint64_t>, PRECIS_TYPED(uint64_t, uint_contents)},
    {"UINT16", ReadRaw<uint16_t, uint64_t>, PRECIS_TYPED(uint64_t, uint_contents)},
    {"UINT32", ReadRaw<uint32_t, uint64_t>, PRECIS_TYPED(uint64_t, uint_contents)},
    {"UINT64", ReadRaw<uint64_t, uint64_t>, PRECIS_TYPED(uint64_t, uint64_contents)},
    {"FP32", ReadRaw<float, double>, PRECIS_TYPED(double, fp32_contents)},
    {"FP64", ReadRaw<double, double>, PRECIS_TYPED(double, fp64_contents)},
};
#undef PRECIS_TYPED

void AddOutput(std::string_view name, const char* datatype, const std::vector<int64_t>& shape,
               std::string bytes, inference::ModelInferResponse* out) {
  auto* tensor = out->add_outputs();
  tensor->set_name(std::string(name));
  tensor->set_datatype(datatype);
  tensor->mutable_shape()->Add(shape.begin(), shape.end());
  *out->add_raw_output_contents() = std::move(bytes);
}

void AppendWord(uint32_t word, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&word), sizeof(word));
}

}  // namespace

std::span<const InferInput> InferInputs() { return kInputs; }
std::span<const InferOutput> InferOutputs() { return kOutputs; }

const InferInput* FindInferInput(std::string_view name) {
  for (const InferInput& input : kInputs) {
    if (name == input.name) return &input;
  }
  return nullptr;
}

const InferOutput* FindInferOutput(std::string_view name) {
  for (const InferOutput& output : kOutputs) {
    if (name == output.name) return &output;
  }
  return nullptr;
}

const char* DatatypeName(inference::DataType type) {
  switch (type) {
    case inference::TYPE_BOOL:
      return "BOOL";
    case inference::TYPE_INT32:
      return "INT32";
    case inference::TYPE_UINT32:
      return "UINT32";
    case inference::TYPE_UINT64:
      return "UINT64";
    case inference::TYPE_FP32:
      return "FP32";
    case inference::TYPE_STRING:
      return "BYTES";
    default:
      return "";
  }
}

std::string ShapeText(const inference::ModelInferRequest::InferInputTensor& tensor) {
  if (tensor.shape_size() > kMaxRankShown) return fmt::format("of {} axes", tensor.shape_size());
  return fmt::format("[{}]", fmt::join(tensor.shape(), ","));
}

StatusOr<std::vector<InferValue>> ReadElements(const InferTensor& from, size_t count) {
  for (const Datatype& type : kDatatypes) {
    if (from.tensor->datatype() != type.name) continue;
    return from.raw != nullptr ? type.raw(from, count)
                               : type.typed(from, count, from.tensor->contents());
  }
  return Wrong(from, "has a datatype that is not known or not taken");
}

void AddTextOutput(std::string_view name, const std::vector<int64_t>& shape,
                   const std::vector<std::string>& values, inference::ModelInferResponse* out) {
  std::string bytes;
  for (const std::string& value : values) {
    AppendWord(static_cast<uint32_t>(value.size()), &bytes);
    bytes += value;
  }
  AddOutput(name, "BYTES", shape, std::move(bytes), out);
}

void AddCountOutput(std::string_view name, const std::vector<int64_t>& shape,
                    const std::vector<uint32_t>& values, inference::ModelInferResponse* out) {
  std::string bytes;
  for (const uint32_t value : values) AppendWord(value, &bytes);
  AddOutput(name, "UINT32", shape, std::move(bytes), out);
}

}  // namespace precis
