#include "server/metrics_endpoint.h"

#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/http/http_client.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

using testing::HasSubstr;

ServerOptions WithMetrics() {
  ServerOptions options = TestOptions();
  options.metrics_listen = "127.0.0.1:0";
  return options;
}

// The value of the series `name`; fails where there is none.
double ValueOf(const std::string& scrape, const std::string& name) {
  std::istringstream lines(scrape);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
  }
  ADD_FAILURE() << "no " << name;
  return -1;
}

TEST(MetricsEndpoint, AnswersInPrometheusFormat) {
  TestServer server(WithMetrics());
  HttpClient client(server.server().metrics_port());
  const HttpAnswer answer = client.Get("/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_TRUE(answer.body.starts_with("# HELP ")) << answer.body.substr(0, 100);
  EXPECT_EQ(ValueOf(answer.body, "precis_healthy"), 1);
  EXPECT_EQ(ValueOf(answer.body, "precis_admitted_requests"), 0);
  EXPECT_EQ(client.Get("/metrics").status, 200) << "again on the same connection";
  EXPECT_EQ(client.Get("/").status, 404);
}

TEST(MetricsEndpoint, SaysWhatTheProcessTakes) {
  TestServer server(WithMetrics());
  HttpClient client(server.server().metrics_port());
  const std::string before = client.Get("/metrics").body;
  std::vector<int> more;
  for (int i = 0; i < 100; ++i) more.push_back(dup(STDERR_FILENO));
  std::vector<char> memory(64 << 20, 'x');
  const std::string after = client.Get("/metrics").body;
  for (const int fd : more) close(fd);

  // The server opens some of its own at any time.
  EXPECT_NEAR(ValueOf(after, "process_open_fds") - ValueOf(before, "process_open_fds"), 100, 20);
  EXPECT_GE(ValueOf(after, "process_resident_memory_bytes"),
            ValueOf(before, "process_resident_memory_bytes") + (48 << 20));
  EXPECT_GE(ValueOf(after, "process_virtual_memory_bytes"),
            ValueOf(after, "process_resident_memory_bytes"));
  EXPECT_GE(ValueOf(after, "process_cpu_seconds_total"),
            ValueOf(before, "process_cpu_seconds_total"));
  EXPECT_GT(ValueOf(after, "process_cpu_seconds_total"), 0);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(ValueOf(after, "process_max_fds"), static_cast<double>(limit.rlim_cur));
  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_LE(ValueOf(after, "process_start_time_seconds"), now + 2);
  EXPECT_GE(ValueOf(after, "process_start_time_seconds"), now - 3600);
  EXPECT_EQ(memory.back(), 'x');
}

TEST(MetricsEndpoint, CountsWhoWasCutOffToMakeRoom) {
  TestServer server(WithMetrics());
  const int port = server.server().metrics_port();
  constexpr size_t kMore = 3;
  std::vector<HttpClient> silent;
  for (size_t i = 0; i < HttpLimits().max_connections + kMore; ++i) silent.emplace_back(port);
  const std::string scrape = HttpClient(port).Get("/metrics").body;
  const double dropped = ValueOf(scrape, "precis_metrics_connections_dropped_total");
  EXPECT_GE(dropped, kMore + 1);
  // Where few descriptors are allowed the bound is lower.
  EXPECT_LE(dropped, static_cast<double>(silent.size()));
}

TEST(MetricsEndpoint, AnAddressThatCannotBeHadIsAnErrorThatNamesTheOption) {
  TestServer server(WithMetrics());
  const std::string taken = fmt::format("127.0.0.1:{}", server.server().metrics_port());
  for (const std::string& address : {taken, std::string("unix:/tmp/x"), std::string("nowhere")}) {
    const auto second = MetricsEndpoint::Open(address, server.server().metrics(), {});
    ASSERT_FALSE(second.ok()) << address;
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("--metrics-listen"));
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
  }
}

}  // namespace
}  // namespace precis
