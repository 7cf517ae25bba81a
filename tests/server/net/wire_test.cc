// Messages as they come: plain, packed by gzip, packed to burst, and garbage.
#include "server/net/wire.h"

#include <zlib.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "precis/v1/summarization.pb.h"

namespace precis {
namespace {

using testing::HasSubstr;

grpc::ByteBuffer BufferOf(const std::string& bytes, size_t piece = 1000) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    slices.emplace_back(bytes.substr(at, piece));
  }
  return {slices.data(), slices.size()};
}

std::string Packed(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

ServerOptions Options() {
  ServerOptions options;
  options.text.max_text_bytes = 2u << 20;
  return options;
}

std::string MessageOf(size_t text_bytes) {
  v1::SummarizeRequest message;
  message.set_text(std::string(text_bytes, 'a'));
  return message.SerializeAsString();
}

TEST(Wire, AMessageIsReadPlainAndPacked) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100'000}, size_t{3'000'000}}) {
    const std::string bytes = MessageOf(size);
    for (const auto& sent : {bytes, Packed(bytes)}) {
      for (const size_t piece : {1u, 2u, 1000u}) {
        if (sent.size() / piece > 100'000) continue;
        v1::SummarizeRequest message;
        EXPECT_EQ(ParseMessage(BufferOf(sent, piece), Options(), &message), OkStatus());
        EXPECT_EQ(message.text().size(), size);
      }
    }
  }
}

TEST(Wire, UnpackingEndsAtTheLimit) {
  const uint64_t limit = MaxMessageBytes(Options());
  EXPECT_EQ(limit, 8u << 20);
  v1::SummarizeRequest message;
  const std::string least = MessageOf(0);
  size_t overhead = MessageOf(limit / 2).size() - limit / 2;
  EXPECT_TRUE(
      ParseMessage(BufferOf(Packed(MessageOf(limit - overhead))), Options(), &message).ok());
  for (const size_t size : {limit - overhead + 1, limit * 30}) {
    const std::string bomb = Packed(MessageOf(size));
    EXPECT_LT(bomb.size(), limit) << "gRPC lets it pass";
    const Status status = ParseMessage(BufferOf(bomb), Options(), &message);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("unpacks to more than 8388608 bytes"));
  }
}

TEST(Wire, WhatCannotBeUnpackedIsInvalid) {
  std::string packed = Packed(MessageOf(1000));
  v1::SummarizeRequest message;
  for (const std::string& bad : {packed.substr(0, packed.size() / 2), packed.substr(0, 3),
                                 packed.substr(0, 12) + "xxxxxx", Packed("no message")}) {
    EXPECT_EQ(ParseMessage(BufferOf(bad), Options(), &message).code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(SalvageString(BufferOf(packed), 1), "") << "packed bytes are not searched";
}

TEST(Wire, PackedUtf8ThatIsBrokenIsNamed) {
  std::string bytes = MessageOf(10);
  bytes[5] = '\xff';
  v1::SummarizeRequest message;
  EXPECT_THAT(std::string(ParseMessage(BufferOf(Packed(bytes)), Options(), &message).message()),
              HasSubstr("not valid UTF-8"));
}

}  // namespace
}  // namespace precis
