#include "cli/client/summarize.h"

#include <cstdlib>
#include <sstream>
#include <string>

#include "cli/base/command.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cli/client/fake_service.h"

namespace precis::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

Outcome Ask(const SummarizeOptions& options, const std::string& text = "a document") {
  v1::StreamSummarizeRequest request;
  request.set_text(text);
  std::ostringstream out, err;
  const int exit_code = Summarize(options, request, out, err);
  return {exit_code, out.str(), err.str()};
}

v1::StreamSummarizeResponse DeltaOf(uint32_t sequence, const std::string& text) {
  v1::StreamSummarizeResponse event;
  event.mutable_delta()->set_sequence_index(sequence);
  event.mutable_delta()->set_text(text);
  return event;
}

v1::StreamSummarizeResponse FinishedWith(const std::vector<std::string>& texts) {
  v1::StreamSummarizeResponse event;
  v1::Summary* const summary = event.mutable_finished()->mutable_summary();
  for (const std::string& text : texts) {
    v1::SummarySequence* const sequence = summary->add_sequences();
    sequence->set_text(text);
    sequence->add_token_ids(171);
    sequence->set_finish_reason(v1::FINISH_REASON_END_OF_SEQUENCE);
  }
  summary->set_numerics("weights f32");
  return event;
}

grpc::Status FailedWith(grpc::StatusCode code, const std::string& message,
                        const std::vector<const google::protobuf::Message*>& details) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  for (const auto* detail : details) status.add_details()->PackFrom(*detail);
  return grpc::Status(code, message, status.SerializeAsString());
}

// Keeps what was written before each flush: what a person sees at that moment.
class FlushLog : public std::stringbuf {
 public:
  int sync() override {
    seen.push_back(str());
    return 0;
  }
  std::vector<std::string> seen;
};

TEST(Summarize, WritesDeltasAsTheyComeAndEndsTheLine) {
  FakeService service;
  service.events = {DeltaOf(0, "tool to "), DeltaOf(0, "unpack"), FinishedWith({"tool to unpack"})};
  FlushLog log;
  std::ostream out(&log);
  std::ostringstream err;
  v1::StreamSummarizeRequest request;
  request.set_text("a document");
  EXPECT_EQ(Summarize({.server = service.address()}, request, out, err), kExitOk);
  EXPECT_THAT(log.seen, testing::ElementsAre("tool to ", "tool to unpack", "tool to unpack\n"));
  EXPECT_EQ(err.str(), "");
  EXPECT_EQ(service.received.text(), "a document");
}

TEST(Summarize, WritesTheTextOfBeamsWhichSendNoDeltas) {
  FakeService service;
  service.events = {FinishedWith({"one beam"})};
  EXPECT_EQ(Ask({.server = service.address()}).out, "one beam\n");
}

TEST(Summarize, TellsTheProgressOfWindowsOnTheErrorStream) {
  FakeService service;
  for (const uint32_t done : {0u, 2u, 3u, 3u}) {
    service.events.emplace_back().mutable_progress()->set_windows_done(done);
    service.events.back().mutable_progress()->set_windows_total(3);
  }
  service.events.push_back(FinishedWith({"text"}));
  const Outcome outcome = Ask({.server = service.address()});
  EXPECT_EQ(outcome.out, "text\n");
  EXPECT_EQ(outcome.err, "window 2 of 3\nwindow 3 of 3\n");
  EXPECT_EQ(Ask({.server = service.address(), .json = true}).err, "");
}

TEST(Summarize, AWholeDocumentHasNoProgressToTell) {
  FakeService service;
  service.events.emplace_back().mutable_progress()->set_windows_total(1);
  service.events.push_back(FinishedWith({"text"}));
  EXPECT_EQ(Ask({.server = service.address()}).err, "");
}

TEST(Summarize, WritesFurtherSequencesAfterTheFirst) {
  FakeService service;
  service.events = {DeltaOf(0, "fir"), DeltaOf(1, "second"), DeltaOf(0, "st"),
                    FinishedWith({"first", "second"})};
  EXPECT_EQ(Ask({.server = service.address()}).out, "first\nsecond\n");
}

TEST(Summarize, JsonIsOneObjectWithTheWholeReply) {
  FakeService service;
  service.events = {DeltaOf(0, "a \"quoted\" text"), FinishedWith({"a \"quoted\" text"})};
  const Outcome outcome = Ask({.server = service.address(), .json = true});
  EXPECT_EQ(outcome.exit_code, kExitOk);
  const json reply = json::parse(outcome.out);
  EXPECT_EQ(reply["sequences"][0]["text"], "a \"quoted\" text");
  EXPECT_EQ(reply["sequences"][0]["token_ids"], json({171}));
  EXPECT_EQ(reply["sequences"][0]["finish_reason"], "FINISH_REASON_END_OF_SEQUENCE");
  EXPECT_EQ(reply["numerics"], "weights f32");
  EXPECT_EQ(reply["source_tokens_dropped"], 0);
}

TEST(Summarize, WarningsGoToTheErrorStream) {
  FakeService service;
  service.events = {FinishedWith({"text"})};
  service.events[0].mutable_finished()->mutable_summary()->add_warnings("the end is missing");
  const Outcome outcome = Ask({.server = service.address()});
  EXPECT_EQ(outcome.out, "text\n");
  EXPECT_EQ(outcome.err, "warning: the end is missing\n");
}

// On a terminal text and warnings go to the same place.
TEST(Summarize, WarningsBeginOnALineOfTheirOwn) {
  FakeService service;
  service.events = {DeltaOf(0, "some "), FinishedWith({"some text"})};
  service.events[1].mutable_finished()->mutable_summary()->add_warnings("the end is missing");
  std::ostringstream terminal;
  v1::StreamSummarizeRequest request;
  request.set_text("a document");
  EXPECT_EQ(Summarize({.server = service.address()}, request, terminal, terminal), kExitOk);
  EXPECT_EQ(terminal.str(), "some text\nwarning: the end is missing\n");
}

TEST(Summarize, ErrorsNameFieldFlagAndReason) {
  FakeService service;
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("options.top_p");
  bad.mutable_field_violations(0)->set_description("must be above 0");
  google::rpc::ErrorInfo info;
  info.set_reason("TOO_LARGE");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  service.status =
      FailedWith(grpc::StatusCode::INVALID_ARGUMENT, "it is wrong", {&bad, &info, &retry});
  const Outcome text = Ask({.server = service.address()});
  EXPECT_EQ(text.exit_code, kExitFailed);
  EXPECT_EQ(text.out, "");
  EXPECT_EQ(text.err,
            "precis: INVALID_ARGUMENT: it is wrong\n"
            "  field: options.top_p (--top-p): must be above 0\n"
            "  reason: TOO_LARGE\n"
            "  try again after: 1.5 s\n");
  const Outcome outcome = Ask({.server = service.address(), .json = true});
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(json::parse(outcome.out)["error"],
            json({{"code", "INVALID_ARGUMENT"},
                  {"message", "it is wrong"},
                  {"fields", {{{"field", "options.top_p"}, {"description", "must be above 0"}}}},
                  {"reason", "TOO_LARGE"},
                  {"retry_after_seconds", 1.5}}));
}

TEST(Summarize, AsksNoProxyForThisMachine) {
  FakeService service;
  service.events = {FinishedWith({"text"})};
  ASSERT_EQ(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
  const Outcome outcome = Ask({.server = service.address()});
  unsetenv("http_proxy");
  EXPECT_EQ(outcome.out, "text\n") << outcome.err;
}

TEST(Summarize, ErrorsSayNothingTwice) {
  FakeService service;
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("text");
  bad.mutable_field_violations(0)->set_description("text: is empty");
  google::rpc::ErrorInfo info;
  info.set_reason("INVALID_ARGUMENT");
  service.status = FailedWith(grpc::StatusCode::INVALID_ARGUMENT, "text: is empty", {&bad, &info});
  EXPECT_EQ(Ask({.server = service.address()}).err,
            "precis: INVALID_ARGUMENT: text: is empty\n  field: text\n");
}

TEST(Summarize, AnErrorAfterDeltasSaysThatTheTextIsIncomplete) {
  FakeService service;
  service.events = {DeltaOf(0, "half of")};
  service.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server is going away");
  const Outcome outcome = Ask({.server = service.address()});
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(outcome.out, "half of\n");
  EXPECT_THAT(outcome.err, HasSubstr("the text above is incomplete"));
}

TEST(Summarize, AStreamThatEndsWithoutASummaryIsAFailure) {
  FakeService service;
  service.events = {DeltaOf(0, "half of")};
  const Outcome outcome = Ask({.server = service.address()});
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("without a summary"));
}

TEST(Summarize, NobodyListeningSaysHowToStartAServer) {
  // Port 1 of loopback: nothing of ours, and nothing unprivileged, listens there.
  const Outcome outcome = Ask({.server = "127.0.0.1:1"});
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("precis: UNAVAILABLE: "));
  EXPECT_THAT(outcome.err, HasSubstr("is a server running at 127.0.0.1:1?"));
}

TEST(Summarize, AnOutputThatCannotBeWrittenIsAFailure) {
  FakeService service;
  service.events = {DeltaOf(0, "text"), FinishedWith({"text"})};
  v1::StreamSummarizeRequest request;
  std::ostringstream out, err;
  out.setstate(std::ios::badbit);
  EXPECT_EQ(Summarize({.server = service.address()}, request, out, err), kExitFailed);
  EXPECT_THAT(err.str(), HasSubstr("writing the summary failed"));
}

}  // namespace
}  // namespace precis::cli
