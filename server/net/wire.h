// Bytes of a message to the message. We parse ourselves, not gRPC: what cannot be parsed then gets
// our answer, INVALID_ARGUMENT naming the field whose UTF-8 is broken, and not a bare
// UNIMPLEMENTED.
//
// Called by the reactors. Thread rule: functions without state.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/config/options.h"

namespace precis {

// The longest message that is taken, in bytes. A text that is too long is refused by us, with a
// reason, up to a few times its limit; above that by gRPC.
uint64_t MaxMessageBytes(const ServerOptions& options);
// What a client packed by gzip is unpacked, up to MaxMessageBytes; more is RESOURCE_EXHAUSTED.
Status ParseMessage(const grpc::ByteBuffer& bytes, const ServerOptions& options,
                    google::protobuf::Message* message);
// A string field at the top of a message that could not be parsed; empty when it is not there
// either.
std::string SalvageString(const grpc::ByteBuffer& bytes, int field_number);
void SerializeMessage(const google::protobuf::Message& message, grpc::ByteBuffer* bytes);

}  // namespace precis
