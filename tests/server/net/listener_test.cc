// Where a server may listen, and what it says when it may not.
#include "server/net/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/address.h"

namespace precis {
namespace {

using testing::HasSubstr;

constexpr char kOption[] = "--some-listen";

std::string WhyNot(const std::string& address) {
  const auto listener = Listener::Open(address, kOption);
  if (listener.ok()) return "it listens";
  return std::string(listener.status().message());
}

bool Reaches(const SocketAddress& address) {
  const Descriptor fd(socket(address.family(), SOCK_STREAM, 0));
  return connect(fd.get(), address.get(), address.size) == 0;
}

bool HasIpv6() {
  const Descriptor fd(socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_addr = in6addr_loopback;
  return fd && bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0;
}

class ListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + fmt::format("precis_listener_{}", getpid());
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  std::string folder_;
};

TEST_F(ListenerTest, TakesAFreePortAndGivesItBack) {
  auto first = Listener::Open("127.0.0.1:0", kOption);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_NE(first->port(), 0);
  EXPECT_TRUE(Reaches(first->local()));
  const std::string address = fmt::format("127.0.0.1:{}", first->port());
  EXPECT_THAT(WhyNot(address), HasSubstr(kOption));
  EXPECT_THAT(WhyNot(address), HasSubstr(address + ": another process listens there"));
  first->Close();
  EXPECT_TRUE(Listener::Open(address, kOption).ok());
}

TEST_F(ListenerTest, AllAddressesAreThoseOfBothFamilies) {
  for (const char* address : {"0.0.0.0:0", "[::]:0"}) {
    const auto listener = Listener::Open(address, kOption);
    ASSERT_TRUE(listener.ok()) << listener.status();
    EXPECT_TRUE(Reaches(listener->local())) << address;
    EXPECT_EQ(listener->local().family(), AF_INET);
    if (!HasIpv6()) continue;
    SocketAddress other;
    other.size = sizeof(sockaddr_in6);
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&other.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_addr = in6addr_loopback;
    in6->sin6_port = htons(static_cast<uint16_t>(listener->port()));
    EXPECT_TRUE(Reaches(other)) << address;
  }
}

TEST_F(ListenerTest, AnIpv6AddressIsThatOneAlone) {
  if (!HasIpv6()) GTEST_SKIP() << "this machine has no IPv6 loopback";
  const auto listener = Listener::Open("[::1]:0", kOption);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(listener->local().family(), AF_INET6);
  EXPECT_TRUE(Reaches(listener->local()));
}

TEST_F(ListenerTest, ANameMeansAllItsAddresses) {
  const auto listener = Listener::Open("localhost:0", kOption);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(Reaches(listener->local()));
}

TEST_F(ListenerTest, AnAddressOfAnotherMachineIsCalledThat) {
  // 192.0.2.0/24 is nobody's, by RFC 5737.
  EXPECT_THAT(WhyNot("192.0.2.1:0"), HasSubstr("this machine has no such address"));
  EXPECT_THAT(WhyNot("no.such.name.invalid:0"),
              HasSubstr("no.such.name.invalid is no address and no name that is known here"));
  EXPECT_THAT(WhyNot("127.0.0.1"), HasSubstr("is not host:port or unix:PATH"));
}

TEST_F(ListenerTest, AUnixSocketHasItsModeAndGoesAway) {
  const std::string path = Path("s");
  {
    const auto listener = Listener::Open("unix:" + path, kOption, 0600);
    ASSERT_TRUE(listener.ok()) << listener.status();
    EXPECT_EQ(listener->port(), 0);
    EXPECT_TRUE(Reaches(listener->local()));
    struct stat info {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u);
    EXPECT_THAT(WhyNot("unix:" + path), HasSubstr("a server answers there"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ListenerTest, ALeftOverSocketIsReplacedAndAFileIsNot) {
  const std::string path = Path("s");
  {
    auto listener = Listener::Open("unix:" + path, kOption);
    ASSERT_TRUE(listener.ok());
    std::filesystem::rename(path, Path("left"));  // so that closing does not remove it
  }
  std::filesystem::rename(Path("left"), path);
  EXPECT_EQ(WhyNot("unix:" + path), "it listens");
  std::ofstream(path) << "precious";
  EXPECT_THAT(WhyNot("unix:" + path), HasSubstr("a file is there that is no socket"));
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(ListenerTest, AMissingFolderAndAFileInItsPlaceAreCalledThat) {
  EXPECT_THAT(WhyNot("unix:" + Path("missing/s")),
              HasSubstr("there is no folder " + Path("missing")));
  std::ofstream(Path("file")) << "x";
  EXPECT_THAT(WhyNot("unix:" + Path("file/s")), HasSubstr(Path("file") + " is no folder"));
}

TEST_F(ListenerTest, AFolderWithoutPermissionIsCalledThat) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  std::filesystem::permissions(folder_, std::filesystem::perms(0500));
  EXPECT_THAT(WhyNot("unix:" + Path("s")), HasSubstr("no permission to make it in " + folder_));
  std::filesystem::permissions(folder_, std::filesystem::perms(0700));
}

}  // namespace
}  // namespace precis
