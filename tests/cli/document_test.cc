#include "cli/document.h"

#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis::cli {
namespace {

TEST(Document, DashIsStandardInputByteForByte) {
  const std::string bytes("line\r\n\0\xff no newline", 20);
  std::istringstream in(bytes);
  EXPECT_EQ(ReadDocument("-", in).value(), bytes);
}

TEST(Document, FilesAreReadByteForByte) {
  const std::string path = testing::TempDir() + "precis_document_test.txt";
  const std::string bytes("\0one\r\n\n", 7);
  std::ofstream(path, std::ios::binary) << bytes;
  std::istringstream in;
  EXPECT_EQ(ReadDocument(path, in).value(), bytes);
}

TEST(Document, AnAbsentFileAndADirectoryAreErrorsThatNameIt) {
  std::istringstream in;
  const auto absent = ReadDocument("no/such/file", in);
  EXPECT_EQ(absent.status().message(), "no/such/file: No such file or directory");
  const auto directory = ReadDocument("cli", in);
  EXPECT_EQ(directory.status().message(), "cli: is a directory");
}

}  // namespace
}  // namespace precis::cli
