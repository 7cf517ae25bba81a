// The tensors of the Open Inference Protocol: which our model takes and gives, elements read from
// either place that a message may hold them in, and outputs written.
//
// Called by server/open_inference_*.cc. Thread rule: functions without state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/status.h"
#include "inference/model_config.pb.h"
#include "inference/open_inference.pb.h"

namespace precis {

// One element, or one request parameter. Integers keep their sign, so that a refusal is exact.
using InferValue = std::variant<bool, int64_t, uint64_t, double, std::string>;

// One value a text, or a list of texts.
struct InferInput {
  const char* name;
  inference::DataType type;  // what metadata says; its relatives are taken as well
  // Of precis.v1.GenerationOptions; null where it is not one of its fields.
  const char* field;
  bool list = false;
};

struct InferOutput {
  const char* name;
  inference::DataType type;
};

inline constexpr char kTextInput[] = "text_input";
inline constexpr char kStreamInput[] = "stream";
inline constexpr char kTextOutput[] = "text_output";
inline constexpr char kFinishReasonOutput[] = "finish_reason";
inline constexpr char kSourceTokensOutput[] = "source_tokens";
inline constexpr char kGeneratedTokensOutput[] = "generated_tokens";

// The text first. docs/open_inference.md has the same tables, and a test compares them.
std::span<const InferInput> InferInputs();
std::span<const InferOutput> InferOutputs();
// Null when there is none of that name.
const InferInput* FindInferInput(std::string_view name);
const InferOutput* FindInferOutput(std::string_view name);
// As in requests: "BYTES", "INT32", ...
const char* DatatypeName(inference::DataType type);

// Where an input's elements are: in the tensor, or in an entry of raw_input_contents.
struct InferTensor {
  const inference::ModelInferRequest::InferInputTensor* tensor = nullptr;
  const std::string* raw = nullptr;
};

// "[2,1]"
std::string ShapeText(const inference::ModelInferRequest::InferInputTensor& tensor);
// All of them, which must be `count`. INVALID_ARGUMENT naming the tensor.
StatusOr<std::vector<InferValue>> ReadElements(const InferTensor& from, size_t count);

// Appends an output; its elements become an entry of raw_output_contents.
void AddTextOutput(std::string_view name, const std::vector<int64_t>& shape,
                   const std::vector<std::string>& values, inference::ModelInferResponse* out);
void AddCountOutput(std::string_view name, const std::vector<int64_t>& shape,
                    const std::vector<uint32_t>& values, inference::ModelInferResponse* out);

}  // namespace precis
