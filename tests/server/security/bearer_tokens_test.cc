// The file of tokens: what it takes, what it refuses and how it says so, and who is found by it.
#include "server/security/bearer_tokens.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/security/authenticator.h"
#include "server/security/guarded_file.h"

namespace precis {
namespace {

using testing::HasSubstr;
using testing::Not;

// printf %s NAME | sha256sum
constexpr char kAlpha[] = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8";
constexpr char kBeta[] = "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753";

std::string MessageOf(const Status& status) { return std::string(status.message()); }

std::string ErrorOf(const std::string& text) {
  return MessageOf(TokenSet::Parse(text, "file", {}).status());
}

TEST(Tokens, FindTheirClientByTheTokenNotByItsDigest) {
  const auto set = TokenSet::Parse(std::string("# who may call\n\nteam-a ") + kAlpha +
                                       " requests=2 max-priority=low\r\n  team-b\t" + kBeta,
                                   "file", *ParseClientLimits("requests=7 max-timeout=9s", {}));
  ASSERT_TRUE(set.ok()) << set.status();
  const Client* alpha = set->Find("alpha");
  ASSERT_NE(alpha, nullptr);
  EXPECT_EQ(alpha->name, "token:team-a");
  EXPECT_EQ(alpha->account, "token:team-a");
  EXPECT_EQ(FormatClientLimits(alpha->limits), "requests=2 max-priority=low max-timeout=9s");
  ASSERT_NE(set->Find("beta"), nullptr);
  EXPECT_EQ(set->Find("beta")->limits.requests, 7u) << "the default";
  for (const std::string wrong : {"", "alph", "alpha ", "Alpha", kAlpha}) {
    EXPECT_EQ(set->Find(wrong), nullptr) << wrong;
  }
}

TEST(Tokens, AClientMayHaveTwoWhileOneIsReplaced) {
  const std::string two = std::string("a ") + kAlpha + " requests=2\na " + kBeta + " requests=2\n";
  const auto set = TokenSet::Parse(two, "file", {});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->Find("alpha"), set->Find("beta"));
  EXPECT_EQ(set->num_clients(), 1u);
  EXPECT_EQ(set->num_tokens(), 2u);
  EXPECT_THAT(ErrorOf(std::string("a ") + kAlpha + "\na " + kBeta + " requests=2\n"),
              HasSubstr("file:2: the same name stands on another line with other limits"));
}

TEST(Tokens, AWrongLineIsNamedByItsNumberAndNotQuoted) {
  const std::string good = std::string("a ") + kAlpha + "\n";
  EXPECT_THAT(ErrorOf(good + "b\n"), HasSubstr("file:2: the second word is not a SHA-256"));
  EXPECT_THAT(ErrorOf(good + "\n#\nb/c " + kBeta), HasSubstr("file:4: a name is 1 to 64"));
  EXPECT_THAT(ErrorOf(good + "b " + kAlpha), HasSubstr("file:2: the same SHA-256"));
  EXPECT_THAT(ErrorOf(good + "b " + kBeta + " requests=many"), HasSubstr("file:2: 'many' is not"));
  for (const char* secret : {"my-secret", "my=secret", "my-secret=="}) {
    const std::string error = ErrorOf(std::string("b ") + kBeta + " " + secret);
    EXPECT_THAT(error, HasSubstr("file:1: a limit is "));
    EXPECT_THAT(error, Not(HasSubstr("secret")));
  }
  EXPECT_THAT(ErrorOf("b " + std::string(63, 'a') + "g"), HasSubstr("file:1: the second word"));
  EXPECT_THAT(ErrorOf("# nobody\n"), HasSubstr("file: has no tokens"));
}

class GuardedFile : public testing::Test {
 protected:
  GuardedFile() : path_(testing::TempDir() + "precis_guarded_" + std::to_string(getpid())) {
    std::ofstream(path_) << "content";
  }
  ~GuardedFile() override { unlink(path_.c_str()); }
  Status ReadAs(mode_t mode, FileRule rule) {
    EXPECT_EQ(chmod(path_.c_str(), mode), 0);
    return ReadGuardedFile(path_, rule).status();
  }
  const std::string path_;
};

TEST_F(GuardedFile, ASecretIsReadOnlyWhereOthersCannot) {
  for (const mode_t mode : {0400, 0600, 0440, 0640})
    EXPECT_TRUE(ReadAs(mode, FileRule::kSecret).ok());
  for (const mode_t mode : {0604, 0644, 0602, 0601, 0660, 0620}) {
    const Status status = ReadAs(mode, FileRule::kSecret);
    EXPECT_FALSE(status.ok()) << std::oct << mode;
    EXPECT_THAT(MessageOf(status), HasSubstr(path_));
  }
  EXPECT_TRUE(ReadAs(0644, FileRule::kPublic).ok());
  EXPECT_FALSE(ReadAs(0664, FileRule::kPublic).ok());
  EXPECT_FALSE(ReadAs(0646, FileRule::kPublic).ok());
}

TEST_F(GuardedFile, WhatIsNoRegularFileOrTooLongIsRefused) {
  EXPECT_FALSE(ReadGuardedFile("/dev/zero", FileRule::kPublic).ok());
  EXPECT_FALSE(ReadGuardedFile(testing::TempDir(), FileRule::kPublic).ok());
  EXPECT_FALSE(ReadGuardedFile(path_ + "x", FileRule::kPublic).ok());
  std::ofstream(path_) << std::string((1u << 20) + 1, 'x');
  EXPECT_THAT(MessageOf(ReadAs(0600, FileRule::kSecret)), HasSubstr("more than 1048576 bytes"));
}

TEST_F(GuardedFile, ItsStampTellsEveryChange) {
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  const std::string before = FileStamp(path_);
  EXPECT_EQ(FileStamp(path_), before);
  ASSERT_EQ(chmod(path_.c_str(), 0640), 0);
  EXPECT_NE(FileStamp(path_), before) << "permissions";
  const std::string changed = FileStamp(path_);
  ASSERT_EQ(rename(path_.c_str(), (path_ + ".old").c_str()), 0);
  EXPECT_EQ(FileStamp(path_), "");
  std::ofstream(path_) << "content";
  EXPECT_NE(FileStamp(path_), changed) << "another file of the same size";
  unlink((path_ + ".old").c_str());
}

TEST(Authenticator, APeersAddressHasNoPort) {
  EXPECT_EQ(AddressOfPeer("ipv4:10.0.0.1:4711"), "ipv4:10.0.0.1");
  EXPECT_EQ(AddressOfPeer("ipv6:%5B::1%5D:4711"), "ipv6:%5B::1%5D");
  EXPECT_EQ(AddressOfPeer("unix:/run/x:1"), "unix:/run/x:1");
}

}  // namespace
}  // namespace precis
