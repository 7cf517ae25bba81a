#include "server/config/address.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

TEST(Address, ThreeFormsAreTaken) {
  for (const char* good :
       {"127.0.0.1:0", "localhost:50051", "[::1]:9", "0.0.0.0:65535", "unix:/run/precis.sock"}) {
    EXPECT_TRUE(CheckAddress(good).ok()) << good;
  }
  for (const char* bad :
       {"", "127.0.0.1", ":5", "host:", "host:65536", "host:-1", "::1:5", "unix:", "host:5x"}) {
    EXPECT_FALSE(CheckAddress(bad).ok()) << bad;
  }
}

TEST(Address, OnlyThisMachineIsLoopback) {
  for (const char* near : {"127.0.0.1:1", "127.8.0.1:1", "localhost:1", "[::1]:1", "unix:/x"}) {
    EXPECT_TRUE(IsLoopback(near)) << near;
  }
  for (const char* far :
       {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "127.evil.example:1", "localhost.example:1"}) {
    EXPECT_FALSE(IsLoopback(far)) << far;
  }
}

TEST(Address, AProbeOfAnyAddressAsksThisMachine) {
  EXPECT_EQ(ClientTarget("0.0.0.0:7"), "127.0.0.1:7");
  EXPECT_EQ(ClientTarget("[::]:7"), "[::1]:7");
  EXPECT_EQ(ClientTarget("10.0.0.1:7"), "10.0.0.1:7");
  EXPECT_EQ(ClientTarget("unix:/x"), "unix:/x");
}

TEST(Address, BeyondLoopbackNeedsInsecure) {
  ServerOptions options = TestOptions();
  options.listen = "0.0.0.0:0";
  const auto refused = Server::Start(options, LoadedSummarizer());
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(std::string(refused.status().message()).find("--insecure"), std::string::npos);
}

TEST(Address, ASocketInUseIsTakenAndALeftoverIsNot) {
  const std::string path = testing::TempDir() + "/precis_address_test.sock";
  unlink(path.c_str());
  EXPECT_FALSE(UnixSocketIsTaken("unix:" + path));
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  EXPECT_TRUE(UnixSocketIsTaken("unix:" + path));
  close(fd);
  EXPECT_FALSE(UnixSocketIsTaken("unix:" + path)) << "nobody answers any more";
  unlink(path.c_str());
}

}  // namespace
}  // namespace precis
