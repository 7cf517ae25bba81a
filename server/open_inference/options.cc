#include "server/open_inference/options.h"

#include <limits>
#include <string>
#include <utility>
#include <variant>

#include "common/check.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace precis {
namespace {

namespace v1 = precis::v1;
using google::protobuf::FieldDescriptor;

constexpr std::pair<const char*, v1::LongDocumentPolicy> kPolicies[] = {
    {"refuse", v1::LONG_DOCUMENT_POLICY_REFUSE},
    {"truncate", v1::LONG_DOCUMENT_POLICY_TRUNCATE},
    {"windows", v1::LONG_DOCUMENT_POLICY_WINDOWS},
};

StatusOr<float> ToNumber(std::string_view name, const InferValue& value) {
  if (const auto* d = std::get_if<double>(&value)) return static_cast<float>(*d);
  if (const auto* i = std::get_if<int64_t>(&value)) return static_cast<float>(*i);
  if (const auto* u = std::get_if<uint64_t>(&value)) return static_cast<float>(*u);
  return FieldError(name, "is not a number");
}

StatusOr<std::string> ToText(std::string_view name, const InferValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return FieldError(name, "is not a text");
  PRECIS_RETURN_IF_ERROR(CheckText(name, *text));
  return *text;
}

Status SetPolicy(std::string_view name, const std::string& text, v1::GenerationOptions* options) {
  for (const auto& [word, policy] : kPolicies) {
    if (text != word) continue;
    options->set_long_document_policy(policy);
    return OkStatus();
  }
  return FieldError(name, "is none of refuse, truncate, windows");
}

}  // namespace

StatusOr<bool> ToSwitch(std::string_view name, const InferValue& value) {
  const auto* on = std::get_if<bool>(&value);
  if (on == nullptr) return FieldError(name, "is not a bool");
  return *on;
}

StatusOr<uint64_t> ToWhole(std::string_view name, const InferValue& value, uint64_t least,
                           uint64_t most) {
  uint64_t whole = 0;
  if (const auto* u = std::get_if<uint64_t>(&value)) {
    whole = *u;
  } else if (const auto* i = std::get_if<int64_t>(&value)) {
    if (*i < 0) return FieldError(name, fmt::format("{} is negative", *i));
    whole = static_cast<uint64_t>(*i);
  } else {
    return FieldError(name, "is not a whole number");
  }
  if (whole < least || whole > most) {
    return FieldError(name, fmt::format("{} is not in {} to {}", whole, least, most));
  }
  return whole;
}

Status CheckText(std::string_view name, const std::string& bytes) {
  if (FindBrokenUtf8(bytes)) return FieldError(name, "not valid UTF-8");
  return OkStatus();
}

Status SetInferOption(const InferInput& input, const InferValue& value,
                      v1::GenerationOptions* options) {
  const FieldDescriptor* field = options->GetDescriptor()->FindFieldByName(input.field);
  PRECIS_CHECK(field != nullptr);
  const google::protobuf::Reflection& set = *options->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32: {
      PRECIS_ASSIGN_OR_RETURN(const uint64_t whole,
                              ToWhole(input.name, value, 0, std::numeric_limits<uint32_t>::max()));
      set.SetUInt32(options, field, static_cast<uint32_t>(whole));
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      // A seed is 64 bits, whatever sign the client gives them.
      if (const auto* i = std::get_if<int64_t>(&value)) {
        set.SetUInt64(options, field, static_cast<uint64_t>(*i));
        return OkStatus();
      }
      PRECIS_ASSIGN_OR_RETURN(const uint64_t whole,
                              ToWhole(input.name, value, 0, std::numeric_limits<uint64_t>::max()));
      set.SetUInt64(options, field, whole);
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      PRECIS_ASSIGN_OR_RETURN(const float number, ToNumber(input.name, value));
      set.SetFloat(options, field, number);
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      PRECIS_ASSIGN_OR_RETURN(std::string text, ToText(input.name, value));
      if (field->is_repeated()) {
        set.AddString(options, field, std::move(text));
      } else {
        set.SetString(options, field, std::move(text));
      }
      return OkStatus();
    }
    default: {
      PRECIS_ASSIGN_OR_RETURN(const std::string text, ToText(input.name, value));
      return SetPolicy(input.name, text, options);
    }
  }
}

}  // namespace precis
