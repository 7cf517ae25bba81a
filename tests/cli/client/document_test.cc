#include "cli/client/document.h"

#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis::cli {
namespace {

TEST(Document, DashIsStandardInputByteForByte) {
  const std::string bytes("line\r\n\0\u00e9 no newline", 20);
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

TEST(Document, WhatIsNotUtf8IsRefusedAtItsByte) {
  const auto read = [](const std::string& bytes) {
    std::istringstream in(bytes);
    return ReadDocument("-", in).status();
  };
  // The bounds of each length, and the neighbours of the surrogates.
  for (const char* good : {"", "a\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(read(good).ok()) << good;
  }
  for (const char* bad : {"\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xed\xa0\x80",
                          "\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80"}) {
    EXPECT_EQ(read(std::string("ab") + bad).message(), "standard input: byte 2 is not UTF-8");
  }
}

}  // namespace
}  // namespace precis::cli
