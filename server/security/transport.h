// How clients reach the server: what must be encrypted, and what one connection may do.
//
// Called at start. Thread rule: functions without state.
#pragma once

#include "common/status.h"
#include "grpcpp/server_builder.h"
#include "server/config/options.h"

namespace precis {

// FAILED_PRECONDITION when an address, or tokens, would go unprotected and --insecure was not
// given; the message names the option.
Status CheckTransport(const ServerOptions& options);

// That, and whether the files of tokens and certificates can be used: what a start would fail on,
// to be reported before a model is loaded for minutes.
Status CheckAccess(const ServerOptions& options);

// What a stranger may cost before it is known who it is: a deadline for its first words, and no
// message that grows when gRPC unpacks it.
void AddStrangerLimits(grpc::ServerBuilder& builder);
// That, and the limits of the options.
void AddConnectionLimits(const ServerOptions& options, grpc::ServerBuilder& builder);

}  // namespace precis
