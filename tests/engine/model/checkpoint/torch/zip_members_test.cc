// Archives that torch would not write: packed again, cut, or made to mislead.
#include <unistd.h>

#include "tests/engine/model/checkpoint/torch/torch_testing.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::FloatBytes;
using ::testing::HasSubstr;
using testing::Row;
using testing::StateDict;
using testing::TorchEntries;
using testing::ZipBytes;
using testing::ZipEntry;
using testing::ZipLies;

class ZipMembers : public testing::TorchFileTest {
 protected:
  static std::vector<ZipEntry> Good() {
    return TorchEntries(StateDict({{"w", Row(4)}}), {{"0", FloatBytes({1, 2, 3, 4})}});
  }
  static constexpr size_t kData = 2;  // archive/data/0

  // Of the good archive with one member changed.
  std::string Refused(const std::function<void(ZipEntry&)>& change, size_t member = kData) {
    std::vector<ZipEntry> entries = Good();
    change(entries[member]);
    return Refusal(ZipBytes(entries));
  }
  void ExpectReads(const std::string& bytes) {
    const auto checkpoint = Opened(bytes);
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(*checkpoint->Read("w", {4}), ElementsAre(1, 2, 3, 4));
  }
};

TEST_F(ZipMembers, AreReadInEveryFormThatTorchWrites) {
  ExpectReads(ZipBytes(Good()));
  ExpectReads(ZipBytes(Good(), {.zip64_end = false}));
  ExpectReads(ZipBytes(Good(), {.zip64_end = false, .comment = "made by hand"}));
  std::vector<ZipEntry> entries = Good();
  for (ZipEntry& entry : entries) entry.is_zip64 = true;
  ExpectReads(ZipBytes(entries));
  entries = Good();
  entries.erase(entries.begin() + 1);  // byteorder: torch before 2.1 has none
  ExpectReads(ZipBytes(entries));
  entries.push_back({.name = "archive/.data/serialization_id", .data = "0123"});
  entries.push_back({.name = "archive/extra/empty", .data = ""});
  ExpectReads(ZipBytes(entries));
}

TEST_F(ZipMembers, BehindFourGibibytesAreFound) {
  // data/0 is a hole of 5 GiB; what is behind it needs 64 bits for its place.
  constexpr uint64_t kHole = 5ull << 30;
  const std::string pickle =
      StateDict({{"hole", testing::Row(kHole / 4, "0")}, {"w", testing::Row(4, "1")}});
  std::vector<ZipEntry> entries =
      TorchEntries(pickle, {{"0", ""}, {"1", FloatBytes({1, 2, 3, 4})}});
  entries[kData].bytes_more = kHole;
  for (ZipEntry& entry : entries) entry.is_zip64 = true;
  for (size_t i = kData + 1; i < entries.size(); ++i) entries[i].shift = kHole;
  // Everything from the end of data/0 on moves, and so does the record that the locator names.
  const std::string bytes = ZipBytes(entries, {.directory_shift = kHole});
  const size_t hole_at = bytes.find("archive/data/0") + std::string("archive/data/0").size() + 5;
  const size_t locator = bytes.rfind(testing::Number(0x07064b50, 4)) + 8;
  std::string moved = bytes;
  uint64_t end_at = 0;
  std::memcpy(&end_at, &moved[locator], 8);
  end_at += kHole;
  std::memcpy(&moved[locator], &end_at, 8);
  WriteModel(moved.substr(0, hole_at));
  {
    std::filesystem::resize_file(dir_ / "pytorch_model.bin", hole_at + kHole);  // sparse
    std::ofstream(dir_ / "pytorch_model.bin", std::ios::binary | std::ios::app)
        << moved.substr(hole_at);
  }
  const auto checkpoint = Checkpoint::Open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(*(*checkpoint)->Read("w", {4}), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ((*(*checkpoint)->Stored("hole"))->num_bytes(), kHole);
}

TEST_F(ZipMembers, AreStoredAndOfOneName) {
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.method = 8; }),
              AllOf(HasSubstr("zip: archive/data/0: is compressed (method 8)"),
                    HasSubstr("was the file packed again")));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.flags = 1; }), HasSubstr("is encrypted"));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.compressed_more = -1; }),
              HasSubstr("is stored, but has 15 bytes for 16"));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.local_name = "archive/data/1"; }),
              HasSubstr("its header differs from the directory's"));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.is_zip64 = entry.lacks_zip64_field = true; }),
              HasSubstr("has no zip64 field"));
  std::vector<ZipEntry> entries = Good();
  entries.push_back(entries[kData]);
  EXPECT_THAT(Refusal(ZipBytes(entries)), HasSubstr("zip: archive/data/0: is there twice"));
}

TEST_F(ZipMembers, LieInTheFileAndApart) {
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.bytes_more = 1000; }),
              HasSubstr("archive/data/0: 1016 bytes at "));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.shift = 1; }),
              HasSubstr("has no header at byte"));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.shift = 1 << 20; }),
              HasSubstr("outside the file"));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.is_zip64 = true, entry.shift = INT64_MAX; }),
              HasSubstr("outside the file"));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.is_zip64 = true, entry.bytes_more = -17; }),
              HasSubstr("archive/data/0: 18446744073709551615 bytes at "));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.bytes_more = 70; }, 1),
              HasSubstr("zip: archive/data/0: lies in the bytes of archive/byteorder"));
}

TEST_F(ZipMembers, ADirectoryThatDoesNotHoldIsRefused) {
  const auto refused = [&](const ZipLies& lies) { return Refusal(ZipBytes(Good(), lies)); };
  for (const bool zip64 : {false, true}) {
    EXPECT_THAT(refused({.zip64_end = zip64, .entries_more = 1}),
                HasSubstr("4 entries in the directory, the end record says 5"));
    EXPECT_THAT(refused({.zip64_end = zip64, .directory_shift = 1}), HasSubstr("reaches beyond"));
    EXPECT_THAT(refused({.zip64_end = zip64, .directory_shift = -1}),
                HasSubstr("entry 0 of the directory is none"));
    EXPECT_THAT(refused({.zip64_end = zip64, .directory_bytes_more = -1}), HasSubstr("is cut"));
    EXPECT_THAT(refused({.zip64_end = zip64, .directory_bytes_more = 1}),
                HasSubstr("reaches beyond"));
  }
  EXPECT_THAT(refused({.directory_shift = INT64_MIN, .directory_bytes_more = INT64_MAX}),
              HasSubstr("reaches beyond"));
}

TEST_F(ZipMembers, WithoutTheRecordsOfTheEndIsCut) {
  const std::string good = ZipBytes(Good());
  for (size_t bytes = 4; bytes < good.size(); ++bytes) {
    EXPECT_THAT(Refusal(good.substr(0, bytes)), HasSubstr("zip: no end record: truncated?"));
  }
  std::string moved = good;
  moved[moved.rfind(testing::Number(0x07064b50, 4)) + 8] ^= 1;  // the place of the zip64 record
  EXPECT_THAT(Refusal(moved), HasSubstr("the zip64 end record is not where its locator says"));
}

TEST_F(ZipMembers, OtherArchivesAreNamed) {
  EXPECT_THAT(Refusal(ZipBytes({{.name = "readme.txt", .data = "hello"}})),
              HasSubstr("zip: no data.pkl: not of torch.save"));
  std::vector<ZipEntry> entries = Good();
  entries.push_back({.name = "other/data.pkl", .data = "."});
  EXPECT_THAT(Refusal(ZipBytes(entries)), HasSubstr("data.pkl is there twice"));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.data = "big"; }, 1),
              HasSubstr("byteorder: is not little"));
  EXPECT_THAT(Refused([](ZipEntry& entry) { entry.data = "little and more than that"; }, 1),
              HasSubstr("byteorder: is not little"));
}

}  // namespace
}  // namespace precis
