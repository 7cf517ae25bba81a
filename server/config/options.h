// Everything an operator may set, once parsed. Each field has a default, a unit, and what raising
// it costs; server/config/config.h reads them from flags, environment and file.
//
// Owner: main, for the life of the process. Thread rule: a value; no one changes it after the
// start.
#pragma once

#include <cstdint>
#include <string>

#include "common/clock.h"
#include "common/log.h"
#include "engine/engine.h"
#include "engine/request/summarizer.h"
#include "server/config/client.h"

namespace precis {

struct ServerOptions {
  EngineOptions engine;    // the model, its numbers, its memory
  SummarizerOptions text;  // tokenizing
  LogOptions log;

  std::string listen = "127.0.0.1:50051";         // host:port or unix:PATH; port 0: any free one
  std::string metrics_listen = "127.0.0.1:9464";  // host:port; empty: no metrics
  std::string health_listen;  // host:port or unix:PATH, plain text, health alone; empty: none
  std::string port_file;      // the ports that were taken are written here; empty: nowhere
  bool insecure = false;      // allows plain text beyond loopback: anyone can read along
  bool reflection = true;     // shows any client the names of our messages

  std::string tls_cert;       // PEM, the chain after it; empty: no encryption
  std::string tls_key;        // its private key
  std::string tls_client_ca;  // PEM: clients need a certificate of one of these; empty: none
  std::string
      auth_tokens;  // file of who may call (server/security/bearer_tokens.h); empty: anyone may
  ClientLimits client_limits;  // of each client, unless its line in auth_tokens says otherwise

  uint32_t max_connections = 1024;             // open at once; costs memory and a descriptor each
  uint32_t max_connections_per_address = 512;  // of these; a proxy is one address
  // Of one, while the server has nothing to send; a flood costs nine times this in memory.
  uint64_t max_unanswered_bytes = 10u << 20;
  uint32_t max_connection_streams = 1024;  // calls of one connection; more wait at the client
  uint32_t max_metadata_bytes = 8192;      // of one call's headers
  Duration min_ping_interval = std::chrono::seconds(10);  // who pings more often is cut off
  Duration max_connection_age{0};  // then its client is asked to connect anew; 0: never
  Duration max_connection_age_grace = std::chrono::minutes(10);  // for calls still running then

  std::string admin_socket;  // path of a unix socket for operators (server/admin.h); empty: none

  uint32_t max_queue = 256;  // requests accepted and unfinished; longer waits, more memory
  // Their source tokens and beams x new tokens together; as max_queue.
  uint64_t max_queue_tokens = 2u << 20;
  Priority max_priority = Priority::kHigh;  // highest that a client gets, whatever it asks for
  uint32_t stream_outstanding = 32;  // of one bulk stream; one client's share of the queue grows
  // Bytes of replies that wait for their clients, all together; beyond, who reads least is cut off.
  uint64_t max_unread_bytes = 64u << 20;
  // The longest a client may take nothing of what waits for it; 0: any. More: memory held longer.
  Duration unread_timeout = std::chrono::minutes(1);
  Duration default_timeout{0};                           // of a request that says none; 0: none
  Duration max_timeout{0};                               // longest a request may ask for; 0: any
  Duration drain_timeout = std::chrono::seconds(30);     // the longest an orderly end takes
  Duration watchdog_timeout = std::chrono::seconds(60);  // work and no step; 0: no watchdog
};

}  // namespace precis
