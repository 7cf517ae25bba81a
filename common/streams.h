// The standard descriptors of a process, and writing to one that may have no reader: a log pipe
// that is full must not stop a thread.
//
// Called by the programs' mains and by the log. Thread rule: the first two once, before other
// threads; a StreamWriter by one thread at a time; WriteError from any.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "common/clock.h"

namespace precis {

// Opens /dev/null as each of the descriptors 0, 1 and 2 that is closed. Otherwise the next file or
// socket gets that number, and what is printed goes into it.
void OpenStandardStreams();

// Calls it before the libraries initialize themselves, of which gRPC opens a descriptor. Once, in a
// program's main.cc.
#define PRECIS_OPEN_STANDARD_STREAMS_FIRST()                                                     \
  __attribute__((section(".preinit_array"), used)) void (*const open_standard_streams_first)() = \
      ::precis::OpenStandardStreams

// Gives descriptor 2 an open file description of its own that does not block, where it is a pipe or
// a terminal: others that share the old one notice nothing. What finds no room is lost then, unless
// it goes through a StreamWriter. Where that cannot be had, the descriptor stays as it was.
void UnblockStderr();

class StreamWriter {
 public:
  explicit StreamWriter(int fd);  // does not own it

  // Writes what there is room for, now: its size, 0 where there is no room, -1 where it failed.
  // It can wait in one case alone: descriptor 2 could not be unblocked, and another process fills
  // the same pipe at the same moment.
  ssize_t WriteSome(std::string_view bytes) const;
  // False when there was no room within `timeout`.
  bool WaitForRoom(Duration timeout) const;

 private:
  enum class Kind { kSocket, kNonBlocking, kBlocking };
  ssize_t WritePiece(std::string_view bytes) const;

  int fd_;
  Kind kind_;
};

// A line on standard error, for which it waits a second at most.
void WriteError(std::string_view line);

}  // namespace precis
