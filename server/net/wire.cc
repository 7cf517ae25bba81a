#include "server/net/wire.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/slice.h"

namespace precis {
namespace {

constexpr uint64_t kMessageFactor = 4;
constexpr uint64_t kLeastMessageBytes = 4u << 20;
// How gzip begins: magic, and the one method that there is.
constexpr std::string_view kGzip = "\x1f\x8b\x08";
constexpr size_t kUnpackBytes = 1u << 16;  // taken at first; then twice as much each time

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

Status WhyNotParsed(const std::string& bytes, const google::protobuf::Message& message) {
  UnknownFieldSet fields;
  if (fields.ParseFromString(bytes)) {
    const std::string path = BrokenField(*message.GetDescriptor(), fields, 4);
    if (!path.empty()) return FieldError(path, "not valid UTF-8");
  }
  return InvalidArgument(
      fmt::format("the bytes sent are not a {}", message.GetDescriptor()->full_name()));
}

// No message begins as gzip does: 0x1f would be a field of wire type 7, which there is not.
bool IsGzip(const grpc::ByteBuffer& bytes) {
  if (bytes.Length() < kGzip.size()) return false;
  std::vector<grpc::Slice> slices;
  if (!bytes.Dump(&slices).ok()) return false;
  std::string start;
  for (size_t i = 0; i < slices.size() && start.size() < kGzip.size(); ++i) {
    start.append(reinterpret_cast<const char*>(slices[i].begin()),
                 std::min(slices[i].size(), kGzip.size() - start.size()));
  }
  return start == kGzip;
}

StatusOr<std::string> Unpack(const std::string& packed, uint64_t max_bytes) {
  z_stream stream{};
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) return Internal("zlib has no memory");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());  // gRPC's limit is an int
  std::string out;
  int state = Z_OK;
  while (state == Z_OK && out.size() <= max_bytes) {
    const size_t before = out.size();
    out.resize(std::min<size_t>(before + std::max(before, kUnpackBytes), max_bytes + 1));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    stream.avail_out = static_cast<uInt>(out.size() - before);
    state = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
  }
  if (out.size() > max_bytes) {
    return Status(absl::StatusCode::kResourceExhausted,
                  fmt::format("the message unpacks to more than {} bytes", max_bytes));
  }
  if (state != Z_STREAM_END) return InvalidArgument("the message cannot be unpacked: no gzip");
  return out;
}

}  // namespace

uint64_t MaxMessageBytes(const ServerOptions& options) {
  return std::max(kMessageFactor * options.text.max_text_bytes, kLeastMessageBytes);
}

Status ParseMessage(const grpc::ByteBuffer& bytes, const ServerOptions& options,
                    google::protobuf::Message* message) {
  if (IsGzip(bytes)) {
    PRECIS_ASSIGN_OR_RETURN(const std::string text,
                            Unpack(Flatten(bytes), MaxMessageBytes(options)));
    if (message->ParseFromString(text)) return OkStatus();
    return WhyNotParsed(text, *message);
  }
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return OkStatus();
  return WhyNotParsed(Flatten(bytes), *message);
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
