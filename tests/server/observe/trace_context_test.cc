// W3C trace context: what is valid, and what a call brings back and leaves in the log.
#include "server/observe/trace_context.h"

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "common/log.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/base_sink.h"
#include "tests/server/open_inference/client.h"

namespace precis {
namespace {

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";
const std::string kParent = std::string("00-") + kTrace + "-" + kSpan + "-01";

TEST(TraceContext, ReadsAndWritesATraceparent) {
  const auto parent = ParseTraceparent(kParent);
  ASSERT_TRUE(parent.has_value());
  EXPECT_EQ(parent->trace_id, kTrace);
  EXPECT_EQ(parent->span_id, kSpan);
  EXPECT_TRUE(parent->sampled);
  TraceContext context;
  context.trace_id = kTrace;
  context.span_id = kSpan;
  context.sampled = true;
  EXPECT_EQ(context.Traceparent(), kParent);
  EXPECT_FALSE(ParseTraceparent(std::string("00-") + kTrace + "-" + kSpan + "-fe")->sampled);
}

TEST(TraceContext, ALaterVersionIsReadAsFarAsItIsKnown) {
  const std::string rest = kParent.substr(2);
  EXPECT_TRUE(ParseTraceparent("01" + rest).has_value());
  EXPECT_TRUE(ParseTraceparent("cc" + rest + "-what-the-future-is").has_value());
  EXPECT_FALSE(ParseTraceparent("cc" + rest + ".what").has_value());
  EXPECT_FALSE(ParseTraceparent("ff" + rest).has_value());
}

TEST(TraceContext, EveryBrokenTraceparentIsRefused) {
  const std::string zeros(32, '0');
  std::vector<std::string> broken = {
      "",
      "00",
      kParent.substr(0, 54),
      kParent + "-",
      kParent + "0",
      " " + kParent,
      std::string("00-") + zeros + "-" + kSpan + "-01",
      std::string("00-") + kTrace + "-" + zeros.substr(16) + "-01",
  };
  // Every character is of its kind: no letter beyond f, no capital, no other dash.
  for (size_t i = 0; i < kParent.size(); ++i) {
    for (const char c : {'g', 'A', '-', '0', ' ', '\n', '"'}) {
      std::string spoilt = kParent;
      spoilt[i] = c;
      const bool fine = kParent[i] == '-' ? c == '-' : c == '0';
      if (!fine) broken.push_back(spoilt);
    }
  }
  for (const std::string& header : broken) {
    EXPECT_FALSE(ParseTraceparent(header).has_value()) << header;
  }
}

TEST(TraceContext, TracestateIsAListOfFewMembers) {
  for (const char* good : {"congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61", "a=b , c=d",
                           "a=b,,c=d", "fw529a3039@dt=FfAAA/~!", "0tenant@vendor=x", "a_-*/=1 2"}) {
    EXPECT_TRUE(IsTracestate(good)) << good;
  }
  for (const char* bad : {"", ",", "a", "a=", "=b", "A=b", "1a=b", "a=b=c", "a=b,a=c", "a=\x01",
                          "a=\xc3\xa4", "a@=b", "@a=b", "a@1=b", "a b=c", "a@b@c=d"}) {
    EXPECT_FALSE(IsTracestate(bad)) << bad;
  }
  std::string members;
  for (int i = 0; i < 33; ++i) members += fmt::format("k{}=v,", i);
  EXPECT_FALSE(IsTracestate(members)) << "33 members";
  EXPECT_TRUE(IsTracestate(members.substr(5))) << "32 members";
  EXPECT_TRUE(IsTracestate("a=" + std::string(256, 'x')));
  EXPECT_FALSE(IsTracestate("a=" + std::string(257, 'x')));
  EXPECT_FALSE(IsTracestate("a=" + std::string(255, 'x') + ",b=" + std::string(255, 'x')));
}

TEST(TraceContext, IdsAreNeverZero) {
  EXPECT_EQ(TraceIdOf(0, 0), std::string(31, '0') + "1");
  EXPECT_EQ(SpanIdOf(0), std::string(15, '0') + "1");
  EXPECT_EQ(TraceIdOf(~uint64_t{0}, 1), std::string(16, 'f') + std::string(15, '0') + "1");
}

class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::vector<std::string> Lines() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return lines_;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    lines_.emplace_back(msg.payload.data(), msg.payload.size());
  }
  void flush_() override {}

 private:
  std::vector<std::string> lines_;
};

// A server whose log is kept while this lives.
class LoggedServer {
 public:
  LoggedServer() : before_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>("test", sink_);
    spdlog::set_default_logger(logger);
    server_ = std::make_unique<TestServer>();
    spdlog::set_level(spdlog::level::info);
  }
  ~LoggedServer() {
    server_.reset();
    spdlog::set_default_logger(before_);
  }
  TestServer& operator*() { return *server_; }
  // The lines of requests that have ended, once there are `count`.
  std::vector<std::string> Requests(size_t count) {
    std::vector<std::string> out;
    EXPECT_TRUE(Eventually([&] {
      out.clear();
      for (const std::string& line : sink_->Lines()) {
        if (line.rfind("request ", 0) == 0) out.push_back(line);
      }
      return out.size() >= count;
    }));
    return out;
  }

 private:
  const std::shared_ptr<spdlog::logger> before_;
  const std::shared_ptr<LineSink> sink_ = std::make_shared<LineSink>();
  std::unique_ptr<TestServer> server_;
};

std::string Field(const std::string& line, const std::string& name) {
  const size_t at = line.find(" " + name + "=");
  if (at == line.npos) return {};
  const size_t begin = at + name.size() + 2;
  return line.substr(begin, line.find(' ', begin) - begin);
}

std::string Initial(const grpc::ClientContext& context, const char* key) {
  const auto& metadata = context.GetServerInitialMetadata();
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

TEST(TraceContext, ACallGetsASpanBelowItsCallersAndLogsIt) {
  LoggedServer server;
  grpc::ClientContext context;
  context.AddMetadata("traceparent", kParent);
  context.AddMetadata("tracestate", "congo=t61");
  context.AddMetadata("tracestate", "rojo=1");
  v1::SummarizeResponse response;
  ASSERT_TRUE(
      (*server).stub().Summarize(&context, IdsRequest<v1::SummarizeRequest>(1, 2), &response).ok());
  const auto ours = ParseTraceparent(Initial(context, "traceparent"));
  ASSERT_TRUE(ours.has_value());
  EXPECT_EQ(ours->trace_id, kTrace);
  EXPECT_NE(ours->span_id, kSpan);
  EXPECT_TRUE(ours->sampled);
  const std::string state = Initial(context, "tracestate");
  EXPECT_TRUE(state == "congo=t61,rojo=1" || state == "rojo=1,congo=t61") << state;
  const std::string line = server.Requests(1)[0];
  EXPECT_EQ(Field(line, "trace_id"), kTrace);
  EXPECT_EQ(Field(line, "span_id"), ours->span_id);
  EXPECT_EQ(Field(line, "parent_span_id"), kSpan);
}

TEST(TraceContext, ABrokenOneIsNoErrorAndANewTraceBegins) {
  LoggedServer server;
  const std::vector<std::vector<std::string>> cases = {
      {}, {"nonsense id=\"x\""}, {kParent + "-more"}, {kParent, kParent}};
  std::set<std::string> traces;
  for (const auto& parents : cases) {
    grpc::ClientContext context;
    for (const std::string& parent : parents) context.AddMetadata("traceparent", parent);
    context.AddMetadata("tracestate", "congo=t61");
    v1::ListModelsResponse response;
    ASSERT_TRUE((*server).stub().ListModels(&context, {}, &response).ok());
    const auto ours = ParseTraceparent(Initial(context, "traceparent"));
    ASSERT_TRUE(ours.has_value());
    EXPECT_FALSE(ours->sampled);
    EXPECT_EQ(Initial(context, "tracestate"), "") << "belongs to the trace that was not read";
    traces.insert(ours->trace_id);
  }
  EXPECT_EQ(traces.size(), cases.size());
  EXPECT_EQ(traces.count(kTrace), 0u);
  for (const std::string& line : server.Requests(cases.size())) {
    EXPECT_EQ(traces.count(Field(line, "trace_id")), 1u);
    EXPECT_EQ(Field(line, "parent_span_id"), "");
    EXPECT_EQ(line.find("nonsense"), line.npos);
  }
}

TEST(TraceContext, ABrokenTracestateIsDroppedAlone) {
  LoggedServer server;
  grpc::ClientContext context;
  context.AddMetadata("traceparent", kParent);
  context.AddMetadata("tracestate", "Not=A,Tracestate");
  v1::ListModelsResponse response;
  ASSERT_TRUE((*server).stub().ListModels(&context, {}, &response).ok());
  EXPECT_EQ(ParseTraceparent(Initial(context, "traceparent"))->trace_id, kTrace);
  EXPECT_EQ(Initial(context, "tracestate"), "");
}

TEST(TraceContext, DocumentsOfStreamsAreSpansOfTheirOwn) {
  LoggedServer server;
  grpc::ClientContext context;
  context.AddMetadata("traceparent", kParent);
  auto stream = (*server).stub().SummarizeMany(&context);
  for (int i = 0; i < 3; ++i) {
    auto request = IdsRequest<v1::SummarizeManyRequest>(i, 2);
    request.set_id(fmt::format("{}", i));
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  v1::SummarizeManyResponse response;
  while (stream->Read(&response)) {
  }
  ASSERT_TRUE(stream->Finish().ok());
  const auto of_stream = ParseTraceparent(Initial(context, "traceparent"));
  ASSERT_TRUE(of_stream.has_value());
  std::set<std::string> spans = {of_stream->span_id, kSpan};
  for (const std::string& line : server.Requests(3)) {
    EXPECT_EQ(Field(line, "trace_id"), kTrace);
    EXPECT_EQ(Field(line, "parent_span_id"), of_stream->span_id);
    spans.insert(Field(line, "span_id"));
  }
  EXPECT_EQ(spans.size(), 5u);

  const auto stub = NewInferStub(*server);
  grpc::ClientContext infer_context;
  infer_context.AddMetadata("traceparent", kParent);
  ModelInferResponse infer_response;
  ASSERT_TRUE(stub->ModelInfer(&infer_context, InferRequestOf({"ab", "cd"}), &infer_response).ok());
  const std::vector<std::string> lines = server.Requests(5);
  EXPECT_EQ(Field(lines[3], "trace_id"), kTrace);
  EXPECT_NE(Field(lines[3], "span_id"), Field(lines[4], "span_id"));
  EXPECT_EQ(Field(lines[3], "parent_span_id"), Field(lines[4], "parent_span_id"));
}

}  // namespace
}  // namespace precis
