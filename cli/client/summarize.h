// `precis summarize`: one document to a server, its summary back as it grows. Owner: main, or a
// test with streams of its own. Thread rule: one thread; it blocks until the call has ended.
#pragma once

#include <iosfwd>
#include <string>

#include "cli/client/connect.h"
#include "precis/v1/summarization.pb.h"

namespace precis::cli {

struct SummarizeOptions {
  std::string server = "127.0.0.1:50051";  // host:port
  double timeout_seconds = 0;              // the call's deadline; 0: none
  bool json = false;                       // one JSON object instead of text
  Credentials credentials{};
};

// Text: deltas go to `out` as they come. JSON: the whole reply, or {"error": ...}, goes to `out`.
// Errors and warnings go to `err`. Returns the exit code.
int Summarize(const SummarizeOptions& options, const v1::StreamSummarizeRequest& request,
              std::ostream& out, std::ostream& err);

}  // namespace precis::cli
