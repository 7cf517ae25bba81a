#include "cli/client/summary_printer.h"

#include <ostream>

#include "google/protobuf/util/json_util.h"

namespace precis::cli {

std::string SummaryToJson(const v1::Summary& summary) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;  // zeros are answers, too
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(summary, &json, options);
  if (status.ok()) return json;
  return ToJson({.code = "INTERNAL", .message = status.ToString()}).dump();
}

void SummaryPrinter::OnEvent(const v1::StreamSummarizeResponse& event) {
  if (event.has_progress()) OnProgress(event.progress());
  if (event.has_delta()) OnDelta(event.delta());
  if (event.has_finished()) OnFinished(event.finished().summary());
}

// A document in windows has no text for a long while; the user may wonder.
void SummaryPrinter::OnProgress(const v1::Progress& progress) {
  if (json_ || progress.windows_total() < 2 || progress.windows_done() <= windows_done_) return;
  windows_done_ = progress.windows_done();
  err_ << "window " << windows_done_ << " of " << progress.windows_total() << "\n" << std::flush;
}

// Several summaries grow at once; the first is shown as it grows, the others when all is done.
void SummaryPrinter::OnDelta(const v1::Delta& delta) {
  if (json_ || delta.sequence_index() != 0) return;
  out_ << delta.text() << std::flush;
  streamed_ += delta.text();
  wrote_text_ = true;
}

void SummaryPrinter::OnFinished(const v1::Summary& summary) {
  finished_ = true;
  if (json_) {
    out_ << SummaryToJson(summary) << "\n" << std::flush;
    WriteWarnings(summary);
    return;
  }
  for (int i = 0; i < summary.sequences_size(); ++i) {
    const std::string& text = summary.sequences(i).text();
    // Beams send no deltas, so the first may be all there still is to write.
    const bool continues = i == 0 && text.compare(0, streamed_.size(), streamed_) == 0;
    out_ << (continues ? text.substr(streamed_.size()) : text) << "\n";
  }
  out_ << std::flush;
  WriteWarnings(summary);
}

// Once the text has ended its line: on a terminal both go to the same place.
void SummaryPrinter::WriteWarnings(const v1::Summary& summary) {
  for (const std::string& warning : summary.warnings()) err_ << "warning: " << warning << "\n";
  err_ << std::flush;
}

void SummaryPrinter::OnError(const RpcError& error) {
  if (json_) {
    out_ << ToJson(error).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else if (wrote_text_) {
    out_ << "\n";
  }
  out_ << std::flush;
}

}  // namespace precis::cli
