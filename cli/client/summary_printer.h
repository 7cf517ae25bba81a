// Events of a stream, shown: as text while it grows, or as one JSON object at the end. Owner: the
// summarize command. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "cli/client/rpc_error.h"
#include "precis/v1/summarization.pb.h"

namespace precis::cli {

// The reply in protobuf's JSON mapping with the proto's field names, on one line.
std::string SummaryToJson(const v1::Summary& summary);

class SummaryPrinter {
 public:
  SummaryPrinter(bool json, std::ostream& out, std::ostream& err)
      : json_(json), out_(out), err_(err) {}

  void OnEvent(const v1::StreamSummarizeResponse& event);
  void OnError(const RpcError& error);

  bool finished() const { return finished_; }
  bool wrote_text() const { return wrote_text_; }

 private:
  void OnProgress(const v1::Progress& progress);
  void OnDelta(const v1::Delta& delta);
  void OnFinished(const v1::Summary& summary);
  void WriteWarnings(const v1::Summary& summary);

  const bool json_;
  std::ostream& out_;
  std::ostream& err_;
  bool finished_ = false;
  bool wrote_text_ = false;
  uint32_t windows_done_ = 0;
  std::string streamed_;  // text of the first sequence, as far as it was written
};

}  // namespace precis::cli
