// Tensors of both formats: what fits their storages is read, what does not is refused by name.
#include "engine/model/checkpoint/torch/torch_file.h"

#include <random>

#include "tests/engine/model/checkpoint/torch/torch_testing.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::FloatBytes;
using ::testing::HasSubstr;
using testing::Int;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::Number;
using testing::Row;
using testing::StateDict;
using testing::Tensor;
using testing::Text;
using testing::TorchLegacy;
using testing::TorchZip;
using testing::Tuple;

const std::string kSixFloats = FloatBytes({1, 2, 3, 4, 5, 6});

class TorchFile : public testing::TorchFileTest {
 protected:
  // Of a tensor "w" in a storage of six floats, which must be said alike in both formats.
  std::string Refused(int64_t offset, std::vector<int64_t> shape, std::vector<int64_t> strides) {
    const std::string pickle = StateDict({{"w", Tensor({{.count = 6}, offset, shape, strides})}});
    const std::string message = Refusal(TorchZip(pickle, {{"0", kSixFloats}}));
    EXPECT_EQ(Refusal(TorchLegacy(pickle, {{"0", kSixFloats}})), message);
    EXPECT_THAT(message, HasSubstr("pytorch_model.bin: w: shape "));
    return message;
  }
};

TEST_F(TorchFile, ReadsViewsOfOneStorageInBothFormats) {
  const testing::WrittenStorage six{.count = 6};
  const std::string pickle = StateDict({{"whole", Tensor({six, 0, {2, 3}, {3, 1}})},
                                        {"tied", Tensor({six, 0, {2, 3}, {3, 1}})},
                                        {"transposed", Tensor({six, 0, {3, 2}, {1, 3}})},
                                        {"inside", Tensor({six, 2, {3}, {1}})},
                                        {"every_second", Tensor({six, 1, {3}, {2}})},
                                        {"of_one", Tensor({six, 5, {1, 1}, {99, 7}})},
                                        {"scalar", Tensor({six, 3, {}, {}})},
                                        {"empty", Tensor({six, 6, {0, 4}, {4, 1}})}});
  for (const std::string& bytes :
       {TorchZip(pickle, {{"0", kSixFloats}}), TorchLegacy(pickle, {{"0", kSixFloats}})}) {
    const auto checkpoint = Opened(bytes);
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(*checkpoint->Read("whole", {2, 3}), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(*checkpoint->Read("tied", {2, 3}), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(*checkpoint->Read("transposed", {3, 2}), ElementsAre(1, 4, 2, 5, 3, 6));
    EXPECT_THAT(*checkpoint->Read("inside", {3}), ElementsAre(3, 4, 5));
    EXPECT_THAT(*checkpoint->Read("every_second", {3}), ElementsAre(2, 4, 6));
    EXPECT_THAT(*checkpoint->Read("of_one", {1, 1}), ElementsAre(6));
    EXPECT_THAT(*checkpoint->Read("scalar", {}), ElementsAre(4));
    EXPECT_THAT(*checkpoint->Read("empty", {0, 4}), IsEmpty());
    EXPECT_THAT(checkpoint->UnreadNames(), IsEmpty());
    EXPECT_TRUE(*checkpoint->Same("whole", "tied"));
    EXPECT_FALSE(*checkpoint->Same("inside", "every_second"));
  }
}

TEST_F(TorchFile, ReadsAPartOfALegacyStorage) {
  const std::string part = Tuple({Text("1"), Int(2), Int(3)});
  const auto pickle = [&](int64_t offset, const std::string& of) {
    return StateDict({{"w", Tensor({{.count = 6}, offset, {2}, {1}}, of)}});
  };
  const auto checkpoint = Opened(TorchLegacy(pickle(1, part), {{"0", kSixFloats}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_THAT(*checkpoint->Read("w", {2}), ElementsAre(4, 5));
  EXPECT_THAT(Refusal(TorchLegacy(pickle(2, part), {{"0", kSixFloats}})),
              HasSubstr("needs 4 elements, its storage has 3"));
  EXPECT_THAT(Refusal(TorchLegacy(pickle(0, Tuple({Text("1"), Int(4), Int(3)})), {})),
              HasSubstr("storage 0: 3 elements from 4 of 6"));
  EXPECT_THAT(Refusal(TorchLegacy(pickle(0, Tuple({Text("1"), Int(-1), Int(3)})), {})),
              HasSubstr("storage 0: 3 elements from -1 of 6"));
  EXPECT_THAT(Refusal(TorchLegacy(pickle(0, Int(3)), {})), HasSubstr("a part that is none"));
}

TEST_F(TorchFile, RefusesShapesThatTheStorageDoesNotHold) {
  EXPECT_THAT(Refused(0, {7}, {1}), HasSubstr("needs 7 elements, its storage has 6"));
  EXPECT_THAT(Refused(1, {6}, {1}), HasSubstr("from element 1 needs 7 elements"));
  EXPECT_THAT(Refused(0, {3, 2}, {1, 4}), HasSubstr("needs 7 elements"));
  EXPECT_THAT(Refused(7, {1}, {1}), HasSubstr("needs 8 elements"));
  EXPECT_THAT(Refused(INT64_MAX, {1}, {1}), HasSubstr("needs 9223372036854775808 elements"));
  EXPECT_THAT(Refused(-1, {1}, {1}), HasSubstr("from element -1 is no tensor"));
  EXPECT_THAT(Refused(0, {-2, -3}, {3, 1}), HasSubstr("shape [-2, -3] with strides [3, 1]"));
  EXPECT_THAT(Refused(5, {6}, {-1}), HasSubstr("strides [-1] from element 5 is no tensor"));
  EXPECT_THAT(Refused(0, {2, 3}, {1}), HasSubstr("is no tensor"));
  EXPECT_THAT(Refused(0, {1LL << 32, 1LL << 32}, {0, 0}), HasSubstr("more bytes than 64 bits"));
  EXPECT_THAT(Refused(0, {1LL << 62}, {0}), HasSubstr("more bytes than 64 bits"));
  EXPECT_THAT(Refused(0, {3, 2}, {INT64_MAX, INT64_MAX}), HasSubstr("more bytes than 64 bits"));
  EXPECT_THAT(Refused(0, {1LL << 40}, {0}), HasSubstr("repeats the 6 elements of its storage"));
}

TEST_F(TorchFile, RefusesAStorageShorterThanItsTensor) {
  const std::string pickle = StateDict({{"encoder.w", Row(6)}, {"decoder.w", Row(6, "1")}});
  EXPECT_THAT(Refusal(TorchZip(pickle, {{"0", kSixFloats}, {"1", kSixFloats.substr(1)}})),
              HasSubstr("decoder.w: its storage 1 has 23 bytes in the file, 24 are needed"));
  EXPECT_THAT(Refusal(TorchZip(pickle, {{"1", kSixFloats}})),
              HasSubstr("encoder.w: its storage 0 is not in the file"));
  EXPECT_THAT(Refusal(TorchLegacy(pickle, {{"0", kSixFloats}, {"1", kSixFloats.substr(4)}})),
              HasSubstr("decoder.w: its storage 1 has 20 bytes in the file, 24 are needed"));
  EXPECT_THAT(Refusal(TorchLegacy(pickle, {{"1", kSixFloats}})),
              HasSubstr("encoder.w: its storage 0 is not in the file"));
}

TEST_F(TorchFile, RefusesALegacyFileThatIsCutOrMisleads) {
  const std::string pickle = StateDict({{"a", Row(6)}, {"b", Row(6, "1")}});
  const testing::Storages storages = {{"0", kSixFloats}, {"1", kSixFloats}};
  const std::string good = TorchLegacy(pickle, storages);
  ASSERT_NE(Opened(good), nullptr);
  for (size_t bytes = 1; bytes < good.size(); ++bytes) {
    EXPECT_THAT(Refusal(good.substr(0, bytes)),
                ::testing::AnyOf(HasSubstr("the pickle ends"), HasSubstr("truncated?")));
  }
  EXPECT_THAT(Refusal(good.substr(0, good.size() - 1)),
              HasSubstr("b: its storage 1 has 23 bytes in the file, 24 are needed"));
  const auto refused = [&](const std::string& behind) {
    return Refusal(testing::LegacyStart() + pickle + behind);
  };
  EXPECT_THAT(refused(testing::LegacyKeys({"0"}) + Number(7, 8) + kSixFloats),
              HasSubstr("storage 0: 7 elements before its data, 6 in the pickle"));
  EXPECT_THAT(refused(testing::LegacyKeys({"0"}) + Number(~uint64_t{0}, 8) + kSixFloats),
              HasSubstr("storage 0: -1 elements before its data"));
  EXPECT_THAT(refused(testing::LegacyKeys({"7"}) + Number(6, 8) + kSixFloats),
              HasSubstr("storage 7: no tensor says its type"));
  EXPECT_THAT(refused(testing::LegacyKeys({"0", "0"}) + Number(6, 8) + kSixFloats),
              HasSubstr("storage 0: is in the file twice"));
  EXPECT_THAT(refused(testing::Proto() + "}."), HasSubstr("has no list of its storages"));
}

TEST_F(TorchFile, RefusesWhatIsNotOfTorchSave) {
  const std::string protocol = testing::Proto() + Int(1001) + ".";
  EXPECT_THAT(Refusal(""), HasSubstr("begins neither as torch's zip format nor as"));
  EXPECT_THAT(Refusal("<!DOCTYPE html>"), HasSubstr("begins neither as torch's zip format"));
  EXPECT_THAT(Refusal(std::string(257, '\0') + "ustar"), HasSubstr("of a torch before 0.1.10"));
  EXPECT_THAT(Refusal(testing::Proto() + Int(5) + "."), HasSubstr("but not of torch.save"));
  EXPECT_THAT(Refusal(testing::kLegacyMagic + testing::Proto() + Int(1000) + "."),
              HasSubstr("protocol of its torch.save is not 1001"));
  EXPECT_THAT(Refusal(testing::kLegacyMagic + protocol + testing::LegacyMachine("\x89")),
              HasSubstr("big-endian machine"));
  EXPECT_THAT(Refusal(testing::kLegacyMagic + protocol + testing::Proto() + "}."),
              HasSubstr("does not say whether it is little-endian"));
  EXPECT_THAT(Refusal(testing::kLegacyMagic + protocol + testing::Proto() + "N."),
              HasSubstr("does not say what machine"));
}

TEST_F(TorchFile, RefusesWhatIsNoStateDict) {
  EXPECT_THAT(PickleRefusal(StateDict({{"state_dict", "}"}})),
              AllOf(HasSubstr("state_dict: is a dict, not a tensor (a training checkpoint?)"),
                    HasSubstr("torch.save(model.state_dict(), ")));
  EXPECT_THAT(PickleRefusal(StateDict({{"epoch", Int(3)}})), HasSubstr("epoch: is a number"));
  EXPECT_THAT(PickleRefusal(testing::Proto() + "N."), HasSubstr("holds None; only a state dict"));
  EXPECT_THAT(PickleRefusal(testing::Proto() + Row(4) + "."), HasSubstr("holds a tensor; only"));
  EXPECT_THAT(PickleRefusal(testing::Proto() + "}" + Int(1) + Row(4) + "s."),
              HasSubstr("the name of a tensor is a number"));
  EXPECT_THAT(PickleRefusal(StateDict({{"w", Row(4)}, {"w", Row(4)}})),
              HasSubstr("w: is in the file twice"));
  EXPECT_THAT(PickleRefusal(StateDict({{"bad\nname", Int(3)}})), HasSubstr("bad\\nname: is"));
}

TEST_F(TorchFile, TypesWeDoNotServeAreRefusedWhenRead) {
  const auto checkpoint =
      Opened(TorchZip(StateDict({{"ids", Row(2, "0", "LongStorage")}, {"w", Row(4, "1")}}),
                      {{"0", Number(7, 8) + Number(8, 8)}, {"1", FloatBytes({1, 2, 3, NAN})}}));
  ASSERT_NE(checkpoint, nullptr);
  const std::string at = dir_ / "pytorch_model.bin: ";
  EXPECT_EQ(std::string(checkpoint->Read("ids", {2}).status().message()),
            at + "ids: dtype I64 is not served; F32, BF16 and F16 are");
  EXPECT_EQ(std::string(checkpoint->Read("w", {4}).status().message()),
            at + "w: value nan at index 3 is not finite");
}

// Larger than a chunk and than a megabyte, which is what comparing and copying take at once.
TEST_F(TorchFile, GathersLargeTransposedTensorsInPieces) {
  constexpr int64_t kRows = 700, kColumns = 600;
  std::vector<float> stored(kRows * kColumns), wanted(kRows * kColumns);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; ++c) {
      const auto value = static_cast<float>(r * 1000 + c);
      wanted[static_cast<size_t>(r * kColumns + c)] = value;
      stored[static_cast<size_t>(c * kRows + r)] = value;
    }
  }
  const testing::WrittenTensor transposed{
      {.count = kRows * kColumns}, 0, {kRows, kColumns}, {1, kRows}};
  testing::WrittenTensor other = transposed;
  other.storage.key = "1";
  std::vector<float> changed = stored;
  changed.back() = 1;  // the last element in either order
  const auto checkpoint = Opened(TorchZip(
      StateDict(
          {{"w", Tensor(transposed)}, {"tied", Tensor(transposed)}, {"other", Tensor(other)}}),
      {{"0", FloatBytes(stored)}, {"1", FloatBytes(changed)}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(*checkpoint->Read("w", {kRows, kColumns}), wanted);
  EXPECT_TRUE(*checkpoint->Same("w", "tied"));
  EXPECT_FALSE(*checkpoint->Same("w", "other"));
  std::string bytes(8 * kColumns, '\0');
  ASSERT_TRUE(
      checkpoint->ReadStored("w", 4 * 3 * kColumns, std::as_writable_bytes(std::span(bytes))).ok());
  EXPECT_EQ(bytes, FloatBytes(wanted).substr(4 * 3 * kColumns, 8 * kColumns)) << "from the middle";
}

// Every byte of a small file of each format changed, and every length of it: an answer, never a
// crash. Under ASan and UBSan this is the crash test.
TEST_F(TorchFile, EveryDamagedByteIsAnErrorOrHarmless) {
  const testing::WrittenStorage six{.count = 6};
  const std::string pickle =
      StateDict({{"a", Tensor({six, 0, {3, 2}, {1, 3}})}, {"b", Tensor({six, 1, {5}, {1}})}});
  std::mt19937 rng(16);
  for (const std::string& good :
       {TorchZip(pickle, {{"0", kSixFloats}}), TorchLegacy(pickle, {{"0", kSixFloats}})}) {
    size_t refused = 0;
    for (size_t at = 0; at < 2 * good.size(); ++at) {
      std::string bytes = good;
      char& damaged = bytes[at % good.size()];
      // Each byte twice: one bit, and any value.
      damaged = at < good.size() ? static_cast<char>(damaged ^ (1 << rng() % 8))
                                 : static_cast<char>(rng());
      WriteModel(bytes);
      const auto checkpoint = Checkpoint::Open(dir_.path());
      if (!checkpoint.ok()) {
        ++refused;
        ASSERT_THAT(std::string(checkpoint.status().message()), HasSubstr("pytorch_model.bin: "));
        continue;
      }
      for (const std::string& name : (*checkpoint)->names()) {
        const auto values = (*checkpoint)->Read(name, *(*checkpoint)->Shape(name));
        if (!values.ok()) {
          ASSERT_THAT(std::string(values.status().message()), Not(IsEmpty()));
        }
      }
      ASSERT_TRUE((*checkpoint)->Fingerprint().ok());
    }
    EXPECT_GT(refused, good.size() / 2);
  }
}

}  // namespace
}  // namespace precis
