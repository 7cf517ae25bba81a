#include "common/streams.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace precis {
namespace {

struct Ends {
  int read = -1, write = -1;
  explicit Ends(bool socket = false) {
    int fds[2];
    EXPECT_EQ(socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) : pipe(fds), 0);
    read = fds[0], write = fds[1];
  }
  ~Ends() {
    close(read);
    close(write);
  }
};

// Descriptor 2 is another one for a while.
class StderrIs {
 public:
  explicit StderrIs(int fd) : saved_(dup(STDERR_FILENO)) { dup2(fd, STDERR_FILENO); }
  ~StderrIs() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }

 private:
  const int saved_;
};

bool Blocks(int fd) { return (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

std::string ReadSome(int fd) {
  std::string out(1 << 20, '\0');
  const ssize_t got = read(fd, out.data(), out.size());
  out.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return out;
}

TEST(StreamWriter, WritesWhatThereIsRoomForWhateverKindOfDescriptorItIs) {
  const std::string text(300'000, 'x');
  for (const char* kind : {"pipe", "pipe that does not block", "socket"}) {
    Ends ends(std::string(kind) == "socket");
    if (std::string(kind) == "pipe that does not block") fcntl(ends.write, F_SETFL, O_NONBLOCK);
    const bool blocks = Blocks(ends.write);
    const StreamWriter writer(ends.write);
    const ssize_t wrote = writer.WriteSome(text);
    EXPECT_GT(wrote, 0) << kind;
    EXPECT_LT(wrote, static_cast<ssize_t>(text.size())) << kind;
    EXPECT_EQ(writer.WriteSome(text), 0) << kind << ": it is full";
    EXPECT_FALSE(writer.WaitForRoom(std::chrono::milliseconds(1))) << kind;
    for (ssize_t got = 0; got < wrote;) got += static_cast<ssize_t>(ReadSome(ends.read).size());
    EXPECT_TRUE(writer.WaitForRoom(std::chrono::seconds(30))) << kind;
    EXPECT_EQ(writer.WriteSome("more"), 4) << kind;
    EXPECT_EQ(ReadSome(ends.read), "more") << kind;
    EXPECT_EQ(Blocks(ends.write), blocks) << kind << ": others may share it";
  }
}

TEST(StreamWriter, SaysThatItsReaderIsGone) {
  signal(SIGPIPE, SIG_IGN);
  Ends ends;
  close(std::exchange(ends.read, -1));
  EXPECT_EQ(StreamWriter(ends.write).WriteSome("x"), -1);
  signal(SIGPIPE, SIG_DFL);
}

TEST(UnblockStderr, GivesItADescriptionOfItsOwn) {
  Ends ends;
  const StderrIs stderr_is(ends.write);
  UnblockStderr();
  EXPECT_FALSE(Blocks(STDERR_FILENO));
  EXPECT_TRUE(Blocks(ends.write)) << "who shares the old one notices nothing";
  WriteError("as before\n");
  EXPECT_EQ(ReadSome(ends.read), "as before\n");
}

TEST(UnblockStderr, LeavesFilesAndSocketsAlone) {
  Ends ends(/*socket=*/true);
  const StderrIs stderr_is(ends.write);
  UnblockStderr();
  EXPECT_TRUE(Blocks(STDERR_FILENO));
  WriteError("as before\n");
  EXPECT_EQ(ReadSome(ends.read), "as before\n");
}

TEST(WriteError, DoesNotWaitForWhoDoesNotRead) {
  Ends ends;
  const StderrIs stderr_is(ends.write);
  const StreamWriter writer(STDERR_FILENO);
  while (writer.WriteSome(std::string(4096, 'x')) > 0) {
  }
  WriteError("lost\n");  // comes back
}

}  // namespace
}  // namespace precis
