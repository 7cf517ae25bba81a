#include "server/rpc/reflection.h"

#include <set>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "inference/open_inference.pb.h"
#include "precis/v1/summarization.pb.h"

namespace precis {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

// `file` and, after it, what it imports: some clients take the first for what they asked.
void AddFile(const FileDescriptor& file, std::set<std::string>* seen,
             google::protobuf::RepeatedPtrField<std::string>* out) {
  if (!seen->insert(file.name()).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  *out->Add() = proto.SerializeAsString();
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), seen, out);
}

template <typename Request>
const FileDescriptor* FindFile(const Request& request) {
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return Pool().FindFileByName(request.file_by_filename());
    case Request::kFileContainingSymbol:
      return Pool().FindFileContainingSymbol(request.file_containing_symbol());
    case Request::kFileContainingExtension: {
      const auto& wanted = request.file_containing_extension();
      const Descriptor* type = Pool().FindMessageTypeByName(wanted.containing_type());
      const FieldDescriptor* field =
          type == nullptr ? nullptr : Pool().FindExtensionByNumber(type, wanted.extension_number());
      return field == nullptr ? nullptr : field->file();
    }
    default:
      return nullptr;
  }
}

template <typename Response>
void SetError(grpc::StatusCode code, const char* message, Response* response) {
  response->mutable_error_response()->set_error_code(code);
  response->mutable_error_response()->set_error_message(message);
}

template <typename Request, typename Response>
void Answer(const Request& request, const std::vector<std::string>& services, Response* response) {
  response->Clear();
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
    case Request::kFileContainingSymbol:
    case Request::kFileContainingExtension: {
      const FileDescriptor* file = FindFile(request);
      if (file == nullptr) {
        SetError(grpc::StatusCode::NOT_FOUND, "there is no such file, symbol or extension",
                 response);
        break;
      }
      std::set<std::string> seen;
      AddFile(*file, &seen,
              response->mutable_file_descriptor_response()->mutable_file_descriptor_proto());
      break;
    }
    case Request::kAllExtensionNumbersOfType: {
      const std::string& name = request.all_extension_numbers_of_type();
      const Descriptor* type = Pool().FindMessageTypeByName(name);
      if (type == nullptr) {
        SetError(grpc::StatusCode::NOT_FOUND, "there is no such message", response);
        break;
      }
      auto* out = response->mutable_all_extension_numbers_response();
      out->set_base_type_name(name);
      std::vector<const FieldDescriptor*> extensions;
      Pool().FindAllExtensions(type, &extensions);
      for (const FieldDescriptor* field : extensions) out->add_extension_number(field->number());
      break;
    }
    case Request::kListServices:
      for (const std::string& name : services) {
        response->mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    default:
      SetError(grpc::StatusCode::INVALID_ARGUMENT, "the request asks for nothing", response);
  }
}

// One stream. A question is read when the answer before it was written: a client that does not read
// holds one answer.
template <typename Request, typename Response>
class Stream final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Stream(const std::vector<std::string>& services) : services_(services) {
    this->StartRead(&request_);
  }
  void OnReadDone(bool ok) override {
    if (!ok) {
      this->Finish(grpc::Status::OK);
      return;
    }
    Answer(request_, services_, &response_);
    this->StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      this->StartRead(&request_);
    } else {
      this->Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  const std::vector<std::string>& services_;
  Request request_;
  Response response_;
};

}  // namespace

// From messages of theirs: a file that nothing refers to would be missing from the program.
std::vector<std::string> ServedNames() {
  std::vector<std::string> names;
  for (const Descriptor* message :
       {precis::v1::SummarizeRequest::descriptor(), inference::ModelInferRequest::descriptor(),
        grpc::health::v1::HealthCheckRequest::descriptor(),
        grpc::reflection::v1::ServerReflectionRequest::descriptor(),
        grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()}) {
    names.push_back(message->file()->service(0)->full_name());
  }
  return names;
}

template <typename ServiceType, typename Request, typename Response>
grpc::ServerBidiReactor<Request, Response>*
ReflectionOf<ServiceType, Request, Response>::ServerReflectionInfo(grpc::CallbackServerContext*) {
  return new Stream<Request, Response>(services_);
}

template class ReflectionOf<grpc::reflection::v1::ServerReflection,
                            grpc::reflection::v1::ServerReflectionRequest,
                            grpc::reflection::v1::ServerReflectionResponse>;
template class ReflectionOf<grpc::reflection::v1alpha::ServerReflection,
                            grpc::reflection::v1alpha::ServerReflectionRequest,
                            grpc::reflection::v1alpha::ServerReflectionResponse>;

}  // namespace precis
