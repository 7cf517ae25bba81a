#include "server/wire.h"

#include <string>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "engine/text/utf8.h"
#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/slice.h"

namespace precis {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// Path of the first string field whose bytes are not UTF-8; empty when there is none. `depth`
// bounds what a hostile message can make us descend.
std::string BrokenField(const Descriptor& type, const UnknownFieldSet& fields, int depth) {
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    const FieldDescriptor* known = type.FindFieldByNumber(field.number());
    if (known == nullptr || field.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    const std::string& bytes = field.length_delimited();
    if (known->type() == FieldDescriptor::TYPE_STRING && FindBrokenUtf8(bytes))
      return known->name();
    if (known->type() != FieldDescriptor::TYPE_MESSAGE || depth == 0) continue;
    UnknownFieldSet inner;
    if (!inner.ParseFromString(bytes)) continue;
    const std::string path = BrokenField(*known->message_type(), inner, depth - 1);
    if (!path.empty()) return known->name() + "." + path;
  }
  return {};
}

std::string Flatten(const grpc::ByteBuffer& bytes) {
  std::string out;
  std::vector<grpc::Slice> slices;
  if (!bytes.Dump(&slices).ok()) return out;
  out.reserve(bytes.Length());
  for (const grpc::Slice& slice : slices) {
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return out;
}

}  // namespace

Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message) {
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return OkStatus();
  UnknownFieldSet fields;
  if (fields.ParseFromString(Flatten(bytes))) {
    const std::string path = BrokenField(*message->GetDescriptor(), fields, 4);
    if (!path.empty()) return FieldError(path, "not valid UTF-8");
  }
  return InvalidArgument(
      fmt::format("the bytes sent are not a {}", message->GetDescriptor()->full_name()));
}

std::string SalvageString(const grpc::ByteBuffer& bytes, int field_number) {
  UnknownFieldSet fields;
  if (!fields.ParseFromString(Flatten(bytes))) return {};
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    if (field.number() == field_number && field.type() == UnknownField::TYPE_LENGTH_DELIMITED) {
      return FindBrokenUtf8(field.length_delimited()) ? std::string() : field.length_delimited();
    }
  }
  return {};
}

void SerializeMessage(const google::protobuf::Message& message, grpc::ByteBuffer* bytes) {
  bytes->Clear();  // the writer wants it empty, and a stream uses it again and again
  bool own_buffer = false;
  const grpc::Status status =
      grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(message, bytes,
                                                                                 &own_buffer);
  // Only a message above 2 GiB fails; ours are bounded by max_new_tokens.
  PRECIS_CHECK(status.ok());
}

}  // namespace precis
