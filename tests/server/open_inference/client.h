// Builds and reads messages of the Open Inference Protocol for the tests beside this file.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "inference/open_inference.grpc.pb.h"
#include "tests/server/test_server.h"

namespace precis {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using inference::ModelStreamInferResponse;
using InferStub = inference::GRPCInferenceService::Stub;

inline std::unique_ptr<InferStub> NewInferStub(const TestServer& server) {
  return inference::GRPCInferenceService::NewStub(server.NewChannel());
}

// A text whose answer has `length` tokens (3 to 130); `salt` makes answers differ.
inline std::string InferText(char salt, uint32_t length) {
  return {salt, static_cast<char>(length - 3)};
}

inline std::string InferAnswer(const std::string& text, uint32_t max_tokens = 200) {
  std::vector<int32_t> source = *FakeTokenizer().Encode(text);
  source.push_back(1);  // </s>
  return FakeTokenizer().Decode(FakeAnswer(source, max_tokens, FakeModel().vocab_size));
}

inline std::string RawTexts(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) {
    const auto size = static_cast<uint32_t>(text.size());
    out.append(reinterpret_cast<const char*>(&size), 4).append(text);
  }
  return out;
}

template <typename T>
std::string RawNumbers(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline void AddRaw(std::string_view name, std::string_view datatype, std::vector<int64_t> shape,
                   const std::string& bytes, ModelInferRequest* request) {
  auto* tensor = request->add_inputs();
  tensor->set_name(std::string(name));
  tensor->set_datatype(std::string(datatype));
  tensor->mutable_shape()->Add(shape.begin(), shape.end());
  request->add_raw_input_contents(bytes);
}

// Of texts in the shape [n,1], with room for the longest answer.
inline ModelInferRequest InferRequestOf(const std::vector<std::string>& texts) {
  ModelInferRequest request;
  request.set_model_name("fake");
  request.set_id("mine");
  AddRaw("text_input", "BYTES", {static_cast<int64_t>(texts.size()), 1}, RawTexts(texts), &request);
  (*request.mutable_parameters())["max_tokens"].set_int64_param(200);
  return request;
}

// The raw bytes of an output; fails the test when it is not there.
inline std::string OutputBytes(const ModelInferResponse& response, std::string_view name) {
  for (int i = 0; i < response.outputs_size(); ++i) {
    if (response.outputs(i).name() == name) return response.raw_output_contents(i);
  }
  ADD_FAILURE() << "no output " << name;
  return {};
}

inline std::vector<std::string> OutputTexts(const ModelInferResponse& response,
                                            std::string_view name) {
  std::vector<std::string> out;
  const std::string bytes = OutputBytes(response, name);
  for (size_t at = 0; at + 4 <= bytes.size();) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.data() + at, 4);
    out.push_back(bytes.substr(at + 4, size));
    at += 4 + size;
  }
  return out;
}

inline std::vector<uint32_t> OutputCounts(const ModelInferResponse& response,
                                          std::string_view name) {
  const std::string bytes = OutputBytes(response, name);
  std::vector<uint32_t> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), out.size() * 4);
  return out;
}

inline bool IsFinal(const ModelStreamInferResponse& response) {
  return response.infer_response().parameters().at("triton_final_response").bool_param();
}

}  // namespace precis
