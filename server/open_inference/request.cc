#include "server/open_inference/request.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "fmt/format.h"
#include "server/calls/request.h"
#include "server/observe/errors.h"
#include "server/open_inference/options.h"
#include "server/security/call_context.h"

namespace precis {
namespace {

namespace v1 = precis::v1;
using inference::InferParameter;
using inference::ModelInferRequest;

constexpr size_t kMaxIdBytes = 1024;
constexpr uint64_t kMaxStops = 64;  // a text; the engine takes fewer and says so

// A client's name for a thing, if it may stand in a message that is logged; else its place.
std::string NameOrPlace(const std::string& name, std::string_view list, int index) {
  return IsSafeRequestId(name) ? name : fmt::format("{}[{}]", list, index);
}

// What one request says, input by input, as it is read.
class RequestReader {
 public:
  RequestReader(const ModelInferRequest& message, const Client& client, Summarizer& summarizer,
                const ServerOptions& options)
      : message_(message), client_(client), summarizer_(summarizer), options_(options) {}

  StatusOr<InferRequest> Read(bool streams);

 private:
  Status ReadTensors();
  Status ReadText(const InferTensor& from);
  Status ReadOption(const InferInput& input, const InferTensor& from);
  Status ReadParameters();
  Status ReadParameter(const std::string& name, const InferParameter& parameter);
  Status ReadOutputs();
  // What `input` says of text number `row`.
  Status Set(const InferInput& input, const InferValue& value, size_t row);
  // An option is said once, by whatever name.
  Status Once(const InferInput& input);
  Status MakeTexts();
  Status FindTexts(InferTensor* found) const;
  InferTensor TensorAt(int index) const;

  const ModelInferRequest& message_;
  const Client& client_;
  Summarizer& summarizer_;
  const ServerOptions& options_;
  InferRequest out_;
  std::vector<std::string> texts_;
  std::vector<v1::GenerationOptions> texts_options_;
  std::set<std::string> said_;
  uint64_t option_bytes_ = 0;  // of options that are texts, a copy a text
};

InferTensor RequestReader::TensorAt(int index) const {
  return {.tensor = &message_.inputs(index),
          .raw = message_.raw_input_contents_size() > 0 ? &message_.raw_input_contents(index)
                                                        : nullptr};
}

StatusOr<InferRequest> RequestReader::Read(bool streams) {
  if (message_.id().size() > kMaxIdBytes) {
    return FieldError(
        "id", fmt::format("has {} bytes; at most {} are taken", message_.id().size(), kMaxIdBytes));
  }
  out_.id = message_.id();
  PRECIS_RETURN_IF_ERROR(ReadTensors());
  PRECIS_RETURN_IF_ERROR(ReadParameters());
  PRECIS_RETURN_IF_ERROR(ReadOutputs());
  if (out_.stream && !streams) {
    return FieldError(kStreamInput, "an answer in pieces needs ModelStreamInfer");
  }
  if (out_.stream && texts_.size() > 1) {
    return FieldError(kStreamInput,
                      fmt::format("an answer in pieces is of one text, not of {}", texts_.size()));
  }
  PRECIS_RETURN_IF_ERROR(MakeTexts());
  return std::move(out_);
}

Status RequestReader::FindTexts(InferTensor* found) const {
  for (int i = 0; i < message_.inputs_size(); ++i) {
    const auto& tensor = message_.inputs(i);
    if (FindInferInput(tensor.name()) == nullptr) {
      return FieldError(NameOrPlace(tensor.name(), "inputs", i), "no such input");
    }
    if (tensor.parameters_size() > 0) {
      return FieldError(tensor.name(), "has parameters; none are taken");
    }
    if (message_.raw_input_contents_size() > 0 && tensor.has_contents()) {
      return FieldError(tensor.name(), "has contents beside raw_input_contents");
    }
    if (tensor.name() == kTextInput) *found = TensorAt(i);
  }
  if (found->tensor == nullptr) return FieldError(kTextInput, "is missing");
  return OkStatus();
}

Status RequestReader::ReadTensors() {
  if (message_.raw_input_contents_size() > 0 &&
      message_.raw_input_contents_size() != message_.inputs_size()) {
    return FieldError("raw_input_contents",
                      fmt::format("has {} entries for {} inputs",
                                  message_.raw_input_contents_size(), message_.inputs_size()));
  }
  InferTensor texts;
  PRECIS_RETURN_IF_ERROR(FindTexts(&texts));
  PRECIS_RETURN_IF_ERROR(ReadText(texts));
  for (int i = 0; i < message_.inputs_size(); ++i) {
    const InferInput* input = FindInferInput(message_.inputs(i).name());
    PRECIS_RETURN_IF_ERROR(Once(*input));
    if (input->name != std::string_view(kTextInput)) {
      PRECIS_RETURN_IF_ERROR(ReadOption(*input, TensorAt(i)));
    }
  }
  return OkStatus();
}

Status RequestReader::ReadText(const InferTensor& from) {
  const auto& shape = from.tensor->shape();
  const bool known = shape.size() == 1 || (shape.size() == 2 && shape.Get(1) == 1);
  if (!known || shape.Get(0) < 1) {
    return FieldError(kTextInput,
                      fmt::format("has shape {}; [n] or [n,1] is taken", ShapeText(*from.tensor)));
  }
  const uint32_t most = MaxInferTexts(options_);
  if (shape.Get(0) > most) {
    return FieldError(kTextInput, fmt::format("has {} texts; at most {} are taken in one request",
                                              shape.Get(0), most));
  }
  const auto count = static_cast<size_t>(shape.Get(0));
  PRECIS_ASSIGN_OR_RETURN(std::vector<InferValue> values, ReadElements(from, count));
  for (InferValue& value : values) {
    auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) {
      return FieldError(kTextInput,
                        fmt::format("has datatype {}; BYTES is taken", from.tensor->datatype()));
    }
    PRECIS_RETURN_IF_ERROR(CheckText(kTextInput, *text));
    texts_.push_back(std::move(*text));
  }
  texts_options_.resize(count);
  out_.shape.assign(shape.begin(), shape.end());
  return OkStatus();
}

// One value for all texts or one each; of a list so many for all, or a row each.
Status RequestReader::ReadOption(const InferInput& input, const InferTensor& from) {
  const auto& shape = from.tensor->shape();
  const size_t rows = texts_.size();
  const int rank = shape.size();
  const int64_t first = rank > 0 ? shape.Get(0) : 0;
  const int64_t width = rank == 2 ? shape.Get(1) : input.list && rank == 1 ? first : 1;
  const int64_t height = input.list && rank == 1 ? 1 : first;
  const bool fits = rank >= 1 && rank <= 2 && width >= 0 &&
                    (height == 1 || height == static_cast<int64_t>(rows)) &&
                    (input.list || width == 1);
  if (!fits) {
    return FieldError(input.name,
                      fmt::format("has shape {}; for {} texts {} is taken", ShapeText(*from.tensor),
                                  rows, input.list ? "[k], [1,k] or [n,k]" : "[1], [n] or [n,1]"));
  }
  if (static_cast<uint64_t>(width) > kMaxStops) {
    return FieldError(input.name,
                      fmt::format("has {} values a text; at most {} are taken", width, kMaxStops));
  }
  PRECIS_ASSIGN_OR_RETURN(const std::vector<InferValue> values,
                          ReadElements(from, static_cast<size_t>(height * width)));
  for (size_t row = 0; row < rows; ++row) {
    const size_t begin = (height == 1 ? 0 : row) * static_cast<size_t>(width);
    for (size_t i = 0; i < static_cast<size_t>(width); ++i) {
      const InferValue& value = values[begin + i];
      // Rows of a list are as long as the longest of them.
      if (const auto* text = std::get_if<std::string>(&value);
          input.list && text != nullptr && text->empty()) {
        continue;
      }
      PRECIS_RETURN_IF_ERROR(Set(input, value, row));
    }
  }
  return OkStatus();
}

Status RequestReader::Set(const InferInput& input, const InferValue& value, size_t row) {
  if (input.name == std::string_view(kStreamInput)) {
    PRECIS_ASSIGN_OR_RETURN(const bool on, ToSwitch(input.name, value));
    out_.stream = out_.stream || on;
    return OkStatus();
  }
  // One value for all texts is copied to each: a small message must not become a large request.
  if (const auto* text = std::get_if<std::string>(&value)) option_bytes_ += text->size();
  if (option_bytes_ > options_.text.max_text_bytes) {
    return FieldTooLarge(input.name,
                         fmt::format("makes options of more than {} bytes for {} texts; send fewer",
                                     options_.text.max_text_bytes, texts_.size()));
  }
  return SetInferOption(input, value, &texts_options_[row]);
}

Status RequestReader::Once(const InferInput& input) {
  if (said_.insert(input.field != nullptr ? input.field : input.name).second) return OkStatus();
  return FieldError(input.name, "is said twice");
}

Status RequestReader::ReadParameters() {
  // In a fixed order, so that of several faults always the same one is reported.
  std::vector<const std::string*> names;
  for (const auto& [name, parameter] : message_.parameters()) names.push_back(&name);
  std::sort(names.begin(), names.end(), [](const auto* a, const auto* b) { return *a < *b; });
  for (const std::string* name : names) {
    PRECIS_RETURN_IF_ERROR(ReadParameter(*name, message_.parameters().at(*name)));
  }
  return OkStatus();
}

StatusOr<InferValue> ToValue(const std::string& name, const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kBoolParam:
      return InferValue(parameter.bool_param());
    case InferParameter::kInt64Param:
      return InferValue(int64_t{parameter.int64_param()});
    case InferParameter::kStringParam:
      return InferValue(parameter.string_param());
    case InferParameter::kDoubleParam:
      return InferValue(parameter.double_param());
    case InferParameter::kUint64Param:
      return InferValue(uint64_t{parameter.uint64_param()});
    case InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return FieldError(name, "has no value");
}

Status RequestReader::ReadParameter(const std::string& name, const InferParameter& parameter) {
  constexpr v1::Priority kPriorities[] = {v1::PRIORITY_HIGH, v1::PRIORITY_NORMAL, v1::PRIORITY_LOW};
  constexpr uint64_t kMostMicroseconds = uint64_t{1} << 50;  // 35 years
  const InferInput* input = FindInferInput(name);
  const bool known = (input != nullptr && name != kTextInput) || name == "timeout" ||
                     name == "priority" || name == "triton_enable_empty_final_response";
  if (!known) {
    return FieldError(IsSafeRequestId(name) ? name : "parameters", "no such parameter");
  }
  PRECIS_ASSIGN_OR_RETURN(const InferValue value, ToValue(name, parameter));
  if (name == "triton_enable_empty_final_response") {
    PRECIS_ASSIGN_OR_RETURN(out_.empty_final, ToSwitch(name, value));
  } else if (name == "timeout") {
    PRECIS_ASSIGN_OR_RETURN(const uint64_t us, ToWhole(name, value, 0, kMostMicroseconds));
    if (us > 0) out_.timeout = std::chrono::microseconds(us);
  } else if (name == "priority") {
    PRECIS_ASSIGN_OR_RETURN(const uint64_t level, ToWhole(name, value, 0, std::size(kPriorities)));
    for (auto& text : texts_options_) {
      if (level > 0) text.set_priority(kPriorities[level - 1]);
    }
  } else {
    PRECIS_RETURN_IF_ERROR(Once(*input));
    for (size_t row = 0; row < texts_.size(); ++row) {
      PRECIS_RETURN_IF_ERROR(Set(*input, value, row));
    }
  }
  return OkStatus();
}

Status RequestReader::ReadOutputs() {
  for (int i = 0; i < message_.outputs_size(); ++i) {
    const auto& wanted = message_.outputs(i);
    const InferOutput* output = FindInferOutput(wanted.name());
    const std::string name = NameOrPlace(wanted.name(), "outputs", i);
    if (output == nullptr) return FieldError(name, "no such output");
    if (wanted.parameters_size() > 0) return FieldError(name, "has parameters; none are taken");
    if (std::count(out_.outputs.begin(), out_.outputs.end(), output) > 0) {
      return FieldError(name, "is asked for twice");
    }
    out_.outputs.push_back(output);
  }
  if (out_.outputs.empty()) {
    for (const InferOutput& output : InferOutputs()) out_.outputs.push_back(&output);
  }
  return OkStatus();
}

// The same checks as of a request of precis.v1.
Status RequestReader::MakeTexts() {
  const std::string none;
  for (size_t i = 0; i < texts_.size(); ++i) {
    // This protocol has one answer a text.
    texts_options_[i].set_num_return_sequences(1);
    const RequestView view = {.model = &none,
                              .adapter = &none,
                              .text = &texts_[i],
                              .token_ids = nullptr,
                              .options = &texts_options_[i]};
    auto request = ToRequest(view, client_, summarizer_, options_);
    if (!request.ok()) return InInferWords(request.status(), i, texts_.size());
    out_.texts.push_back(*std::move(request));
  }
  return OkStatus();
}

// "options.num_beams" -> "beam_width"; a place in a list stays: "options.stop[2]" -> "stop[2]".
std::string InferFieldName(const std::string& field, size_t index, size_t count) {
  if (field == "text") {
    return count == 1 ? kTextInput : fmt::format("{}[{}]", kTextInput, index);
  }
  constexpr std::string_view kOptions = "options.";
  if (!field.starts_with(kOptions)) return field;
  const std::string name = field.substr(kOptions.size());
  const size_t place = std::min(name.find('['), name.size());
  for (const InferInput& input : InferInputs()) {
    if (input.field != nullptr && name.substr(0, place) == input.field) {
      return input.name + name.substr(place);
    }
  }
  return name;
}

}  // namespace

uint32_t MaxInferTexts(const ServerOptions& options) {
  return std::max(1u, std::min(options.engine.max_batch, options.max_queue));
}

Status CheckInferModel(const std::string& name, const std::string& version, const ModelInfo& model,
                       std::string_view name_field, std::string_view version_field) {
  if (name != model.name) {
    return FieldNotFound(name_field, fmt::format("no such model here; this is '{}'", model.name));
  }
  if (!version.empty() && version != kModelVersion) {
    return FieldNotFound(version_field,
                         fmt::format("no such version of it; there is '{}'", kModelVersion));
  }
  return OkStatus();
}

StatusOr<InferRequest> ToInferRequest(const ModelInferRequest& message, const Client& client,
                                      Summarizer& summarizer, const ServerOptions& options,
                                      bool streams) {
  PRECIS_RETURN_IF_ERROR(CheckInferModel(message.model_name(), message.model_version(),
                                         summarizer.info(), "model_name", "model_version"));
  return RequestReader(message, client, summarizer, options).Read(streams);
}

Status InInferWords(const Status& status, size_t index, size_t count) {
  const auto field = FieldOf(status);
  if (!field) return status;
  const std::string name = InferFieldName(*field, index, count);
  std::string message(status.message());
  const std::string prefix = *field + ": ";
  if (message.starts_with(prefix)) message.erase(0, prefix.size());
  if (ReasonOf(status) == Reason::kTooLarge) return FieldTooLarge(name, message);
  if (status.code() == absl::StatusCode::kUnimplemented) return FieldUnimplemented(name, message);
  return FieldError(name, message);
}

}  // namespace precis
