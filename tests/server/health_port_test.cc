#include "server/health_port.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/observe/health.h"
#include "server/probe.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

namespace health = grpc::health::v1;
using Response = health::HealthCheckResponse;
using std::chrono::seconds;
using testing::HasSubstr;

std::string AddressOf(const HealthPort& port) { return fmt::format("127.0.0.1:{}", port.port()); }

std::unique_ptr<HealthPort> OpenPort() {
  auto port = HealthPort::Open("127.0.0.1:0");
  if (!port.ok()) {
    ADD_FAILURE() << port.status();
    std::abort();
  }
  return *std::move(port);
}

std::unique_ptr<health::Health::Stub> StubOf(const std::string& address) {
  return health::Health::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
}

health::HealthCheckRequest About(const std::string& service) {
  health::HealthCheckRequest request;
  request.set_service(service);
  return request;
}

struct Answer {
  grpc::StatusCode code;
  Response::ServingStatus status;
  bool operator==(const Answer&) const = default;
};
constexpr Answer kServing{grpc::StatusCode::OK, Response::SERVING};
constexpr Answer kNotServing{grpc::StatusCode::OK, Response::NOT_SERVING};

Answer Ask(const std::string& address, const std::string& service = "") {
  grpc::ClientContext context;
  Response response;
  const auto status = StubOf(address)->Check(&context, About(service), &response);
  return {status.error_code(), response.status()};
}

struct OpenWatch {
  std::unique_ptr<health::Health::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<Response>> reader;

  explicit OpenWatch(const std::string& address, const std::string& service = "")
      : stub(StubOf(address)) {
    context.set_deadline(std::chrono::system_clock::now() + seconds(60));
    reader = stub->Watch(&context, About(service));
  }
  // UNKNOWN, which is never sent, at the end.
  Response::ServingStatus Next() {
    Response response;
    return reader->Read(&response) ? response.status() : Response::UNKNOWN;
  }
};

TEST(HealthPort, SaysNotServingUntilItIsTold) {
  const auto port = OpenPort();
  const std::string address = AddressOf(*port);
  EXPECT_EQ(Ask(address), kNotServing);
  EXPECT_EQ(Ask(address, kServiceName), kNotServing);
  port->SetServingStatus("", true);
  EXPECT_EQ(Ask(address), kServing);
  EXPECT_EQ(Ask(address, kServiceName), kNotServing) << "each name is told apart";
  EXPECT_EQ(Ask(address, "other").code, grpc::StatusCode::NOT_FOUND);
}

TEST(HealthPort, AWatchIsToldOfEachChangeAndOfTheEnd) {
  auto port = OpenPort();
  OpenWatch watch(AddressOf(*port)), other(AddressOf(*port), "other");
  EXPECT_EQ(watch.Next(), Response::NOT_SERVING);
  EXPECT_EQ(other.Next(), Response::SERVICE_UNKNOWN);
  port->SetServingStatus("", true);
  EXPECT_EQ(watch.Next(), Response::SERVING);
  port->SetServingStatus("", true);
  port->SetServingStatus("other", true);
  EXPECT_EQ(other.Next(), Response::SERVING);
  port.reset();
  // A repeated status is not told again; the last word may be lost in the end, the end is not.
  EXPECT_NE(watch.Next(), Response::SERVING);
  EXPECT_EQ(watch.Next(), Response::UNKNOWN);
  EXPECT_EQ(watch.reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(HealthPort, AWatcherThatLeavesIsForgotten) {
  const auto port = OpenPort();
  for (int i = 0; i < 20; ++i) {
    OpenWatch watch(AddressOf(*port));
    EXPECT_EQ(watch.Next(), Response::NOT_SERVING);
    watch.context.TryCancel();
    EXPECT_EQ(watch.Next(), Response::UNKNOWN);
    port->SetServingStatus("", i % 2 == 0);  // tells whoever is still there
    port->SetServingStatus("", false);
  }
  EXPECT_EQ(Ask(AddressOf(*port)), kNotServing);
}

TEST(HealthPort, SaysWhatTheMainPortSays) {
  const auto port = OpenPort();
  const std::string address = AddressOf(*port);
  {
    TestServer server(TestOptions(), {}, port.get());
    EXPECT_EQ(Ask(server.address()), kServing);
    EXPECT_EQ(Ask(address), kServing);
    EXPECT_EQ(Ask(address, kServiceName), kServing);
    server.server().BeginDrain();
    EXPECT_EQ(Ask(server.address()), kNotServing);
    EXPECT_EQ(Ask(address), kNotServing);
    EXPECT_EQ(Ask(address, kServiceName), kNotServing);
  }
  EXPECT_EQ(Ask(address), kNotServing) << "it is still there when the server is gone";
}

TEST(HealthPort, KnowsNothingElseEvenWhereTheMainPortHasReflection) {
  ServerOptions options = TestOptions();
  options.reflection = true;
  TestServer first(options);  // from here on every builder of the process would have it
  const auto port = OpenPort();
  const auto channel = grpc::CreateChannel(AddressOf(*port), grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  v1::SummarizeResponse response;
  const auto status = v1::SummarizationService::NewStub(channel)->Summarize(
      &context, IdsRequest<v1::SummarizeRequest>(1, 2), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Ask(AddressOf(*port), "grpc.reflection.v1alpha.ServerReflection").code,
            grpc::StatusCode::NOT_FOUND);
}

TEST(HealthPort, TheProbeAsksItRatherThanTheMainPort) {
  const auto port = OpenPort();
  TestServer server;  // serving, and this port is not told
  ServerOptions options;
  options.listen = server.address();
  EXPECT_TRUE(ProbeHealth(options, seconds(10)).ok());
  options.health_listen = AddressOf(*port);
  const Status status = ProbeHealth(options, seconds(10));
  EXPECT_THAT(std::string(status.message()), HasSubstr("NOT_SERVING"));
  options.health_listen = "nowhere";
  EXPECT_THAT(std::string(ProbeHealth(options, seconds(10)).message()),
              HasSubstr("--health-listen: 'nowhere'"));
}

TEST(HealthPort, ATakenAddressIsAnErrorThatNamesIt) {
  const auto first = OpenPort();
  const std::string taken = AddressOf(*first);
  const std::string path = testing::TempDir() + "/precis_health_port_test.sock";
  unlink(path.c_str());
  const auto socket = HealthPort::Open("unix:" + path);
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_EQ((*socket)->port(), 0);
  EXPECT_EQ(Ask("unix:" + path), kNotServing);
  for (const std::string& address : {taken, "unix:" + path}) {
    const auto second = HealthPort::Open(address);
    ASSERT_FALSE(second.ok()) << address;
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("--health-listen"));
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
  }
}

}  // namespace
}  // namespace precis
