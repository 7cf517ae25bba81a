// Pickles that are more than tensors, or less: each is refused with one line that names the opcode
// and its byte, and nothing is run or claimed.
#include "tests/engine/model/checkpoint/torch/torch_testing.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::Global;
using ::testing::HasSubstr;
using testing::Int;
using testing::Number;
using testing::Numbers;
using testing::OrderedDict;
using testing::Proto;
using testing::Row;
using testing::StateDict;
using testing::Tensor;
using testing::Text;
using testing::TorchZip;
using testing::Tuple;

class PickleReader : public testing::TorchFileTest {
 protected:
  // A state dict whose one value is this.
  std::string ValueRefusal(const std::string& value) {
    return PickleRefusal(StateDict({{"w", value}}));
  }
};

TEST_F(PickleReader, ReadsATensorOfEveryProtocol) {
  const std::string frame = "\x95" + Number(50, 8);
  const auto short_text = [](const std::string& text) {
    return std::string("\x8c") + static_cast<char>(text.size()) + text + "\x94";  // MEMOIZE
  };
  const std::string rebuild =
      short_text("torch._utils") + short_text("_rebuild_tensor_v2") + "\x93\x94";
  const std::string storage = "(" + short_text("storage") + short_text("torch") +
                              short_text("FloatStorage") + "\x93\x94" + short_text("0") +
                              short_text("cpu") + "K\x04t\x94Q";
  const std::string hooks =
      short_text("collections") + short_text("OrderedDict") + "\x93\x94)R\x94";
  const std::string value =
      rebuild + "(" + storage + std::string("K\0", 2) + "K\x04\x85\x94K\x01\x85\x94\x89" + hooks;
  const std::string pickle = Proto(5) + frame + "}\x94(" + short_text("w") + value + "t\x94R\x94u.";
  const auto checkpoint = Opened(TorchZip(pickle, {{"0", testing::FloatBytes({1, 2, 3, 4})}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_THAT(*checkpoint->Read("w", {4}), ElementsAre(1, 2, 3, 4));
}

TEST_F(PickleReader, ReadsNumbersOfEveryLength) {
  const std::string huge_but_unused = "\x8a\x0a" + std::string(10, '\x7f');
  const std::string offset = std::string("M\x01\0", 3);
  const std::string pickle = StateDict(
      {{"w", Global("torch._utils", "_rebuild_tensor") +
                 Tuple({testing::StorageId({.count = 4}), offset, "J" + Number(3, 4) + "\x85",
                        std::string("\x8a\x01\x01\x85", 4)}) +
                 "R"}});
  const auto checkpoint = Opened(TorchZip(pickle, {{"0", testing::FloatBytes({1, 2, 3, 4})}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_THAT(*checkpoint->Read("w", {3}), ElementsAre(2, 3, 4));
  EXPECT_THAT(ValueRefusal(huge_but_unused), HasSubstr("w: is a number, not a tensor"));
}

TEST_F(PickleReader, RefusesEveryOtherOpcodeByName) {
  const std::pair<std::string, const char*> cases[] = {{"cos\nsystem\n", "os.system"},
                                                       {"i"
                                                        "os\nsystem\n",
                                                        "INST"},
                                                       {"o", "OBJ"},
                                                       {"\x81", "NEWOBJ"},
                                                       {"\x92", "NEWOBJ_EX"},
                                                       {std::string("\x82\x01"), "EXT1"},
                                                       {"P0\n", "PERSID"},
                                                       {"I1\n", "INT"},
                                                       {"d", "DICT"},
                                                       {"0", "POP"},
                                                       {"2", "DUP"},
                                                       {"\x8f", "EMPTY_SET"},
                                                       {"\x96" + Number(0, 8), "BYTEARRAY8"},
                                                       {"C\x01x", "SHORT_BINBYTES"},
                                                       {"\xff", "0xff"},
                                                       {std::string("\0", 1), "0x00"}};
  for (const auto& [opcodes, name] : cases) {
    EXPECT_THAT(ValueRefusal(opcodes),
                AllOf(HasSubstr(name), HasSubstr("is not one that tensors need"),
                      HasSubstr("nothing of the file was run"), HasSubstr("at byte ")));
  }
}

TEST_F(PickleReader, EveryByteIsAnOpcodeThatIsReadOrNamed) {
  size_t unknown = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string message = ValueRefusal(std::string(1, static_cast<char>(byte)));
    EXPECT_FALSE(message.empty());
    unknown += message.find("opcode 0x") != std::string::npos;
  }
  EXPECT_EQ(unknown, 256u - 68) << "pickletools of Python 3.11 lists 68 opcodes";
}

TEST_F(PickleReader, RefusesEveryOtherGlobalByName) {
  for (const auto& [module, name] : {std::pair("os", "system"),
                                     {"builtins", "eval"},
                                     {"posix", "system"},
                                     {"torch", "load"},
                                     {"torch._utils", "_rebuild_tensor_v3"},
                                     {"torch", "float32"},
                                     {"collections", "OrderedDict2"},
                                     {"torch._utils", "_rebuild_tensor_v2 "},
                                     {"numpy.core.multiarray", "_reconstruct"},
                                     {"", ""}}) {
    const std::string full = std::string(module) + "." + name;
    EXPECT_THAT(ValueRefusal(Global(module, name)),
                AllOf(HasSubstr("opcode GLOBAL at byte "), HasSubstr(full + " is not one that")));
    EXPECT_THAT(ValueRefusal(Text(module) + Text(name) + "\x93"),
                AllOf(HasSubstr("opcode STACK_GLOBAL at byte "), HasSubstr(full)));
  }
  EXPECT_THAT(ValueRefusal("c" + std::string(2000, 'a') + "\nb\n"),
              HasSubstr("a line of more than 1024 bytes"));
  EXPECT_THAT(ValueRefusal(Int(1) + Int(2) + "\x93"), HasSubstr("are no texts"));
}

TEST_F(PickleReader, CallsNothingButWhatItKnows) {
  EXPECT_THAT(ValueRefusal(Text("print") + ")R"), HasSubstr("REDUCE at byte"));
  EXPECT_THAT(ValueRefusal(Text("print") + ")R"), HasSubstr("calls a text"));
  EXPECT_THAT(ValueRefusal(OrderedDict() + ")R"), HasSubstr("calls a dict"));
  EXPECT_THAT(ValueRefusal(Global("torch", "FloatStorage") + ")R"),
              HasSubstr("calls torch.FloatStorage, which only names a type"));
  EXPECT_THAT(ValueRefusal(Global("collections", "OrderedDict") + "]R"),
              HasSubstr("collections.OrderedDict: arguments are a list"));
  EXPECT_THAT(ValueRefusal(Global("collections", "OrderedDict") + Int(1) + "\x85R"),
              HasSubstr("1 arguments that do not fit it"));
  EXPECT_THAT(ValueRefusal(Global("torch._utils", "_rebuild_tensor_v2") + ")R"),
              HasSubstr("torch._utils._rebuild_tensor_v2: 0 arguments that do not fit it"));
  EXPECT_THAT(ValueRefusal(Global("torch._utils", "_rebuild_parameter") + "NNN\x87R"),
              HasSubstr("_rebuild_parameter: 3 arguments that do not fit it"));
}

TEST_F(PickleReader, BuildsOnlyAnOrderedDictsAttributes) {
  const std::string metadata = OrderedDict() + "}" + Text("_metadata") + OrderedDict() + "sb";
  const auto checkpoint = Opened(TorchZip(Proto() + OrderedDict() + "(" + Text("w") + Row(4) +
                                              "u}" + Text("_metadata") + metadata + "sb.",
                                          {{"0", testing::FloatBytes({1, 2, 3, 4})}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_THAT(checkpoint->names(), ElementsAre("w"));
  EXPECT_THAT(ValueRefusal(Row(4) + "}b"),
              AllOf(HasSubstr("opcode BUILD at byte"), HasSubstr("sets the state of a tensor")));
  EXPECT_THAT(ValueRefusal("}}b"), HasSubstr("sets the state of a dict"));
  EXPECT_THAT(ValueRefusal(OrderedDict() + "Nb"), HasSubstr("sets the state of a dict"));
}

TEST_F(PickleReader, RefusesTensorsThatAreNotOfStorageAndNumbers) {
  const std::string rebuild = Global("torch._utils", "_rebuild_tensor");
  const std::string storage = testing::StorageId({.count = 4});
  const auto refusal = [&](const std::string& arguments) {
    return ValueRefusal(rebuild + arguments + "R");
  };
  EXPECT_THAT(refusal(Tuple({Int(0), Int(0), Numbers({4}), Numbers({1})})),
              HasSubstr("are no storage and number"));
  EXPECT_THAT(refusal(Tuple({storage, Text("0"), Numbers({4}), Numbers({1})})),
              HasSubstr("are no storage and number"));
  EXPECT_THAT(refusal(Tuple({storage, Int(0), Int(4), Numbers({1})})),
              HasSubstr("shape is no tuple of at most 16 numbers"));
  EXPECT_THAT(refusal(Tuple({storage, Int(0), Numbers({4}), Tuple({"\x88"})})),
              HasSubstr("strides has a truth value"));
  EXPECT_THAT(refusal(Tuple({storage, Int(0), Numbers(std::vector<int64_t>(17, 1)), Numbers({})})),
              HasSubstr("shape is no tuple of at most 16 numbers"));
  EXPECT_THAT(ValueRefusal(Tensor({{.count = 4}, 0, {4}, {1}}, "", "}" + Text("neg") + "\x88s")),
              HasSubstr("a tensor with metadata"));
}

TEST_F(PickleReader, RefusesPersistentIdsThatAreNoStorages) {
  const std::string type = Global("torch", "FloatStorage");
  const auto refusal = [&](const std::string& id) { return ValueRefusal(id + "Q"); };
  EXPECT_THAT(refusal(Tuple({Text("module"), type, Text("a.py"), Text("source")})),
              HasSubstr("a whole module was saved"));
  EXPECT_THAT(refusal(Text("storage")), HasSubstr("a persistent id that is not a storage's"));
  EXPECT_THAT(refusal(")"), HasSubstr("a persistent id that is not a storage's"));
  EXPECT_THAT(refusal(Tuple({Text("storage"), type, Text("0"), Text("cpu")})),
              HasSubstr("a persistent id that is not a storage's"));
  EXPECT_THAT(
      refusal(Tuple({Text("storage"), Text("FloatStorage"), Text("0"), Text("cpu"), Int(4)})),
      HasSubstr("a storage without its class"));
  EXPECT_THAT(refusal(Tuple({Text("storage"), Global("collections", "OrderedDict"), Text("0"),
                             Text("cpu"), Int(4)})),
              HasSubstr("a storage without its class"));
  EXPECT_THAT(refusal(Tuple({Text("storage"), type, Text("0"), Text("cpu"), Int(-4)})),
              HasSubstr("storage 0: -4 elements"));
  EXPECT_THAT(refusal(Tuple({Text("storage"), type, Text("0"), Text("cpu"), Int(INT64_MAX / 2)})),
              HasSubstr("storage 0: 4611686018427387903 elements"));
  EXPECT_THAT(PickleRefusal(StateDict({{"a", Row(4)}, {"b", Row(3)}})),
              HasSubstr("storage 0: 3 elements of FloatStorage here, 4 of FloatStorage before"));
  EXPECT_THAT(PickleRefusal(StateDict({{"a", Row(4)}, {"b", Row(4, "0", "IntStorage")}})),
              HasSubstr("storage 0: 4 elements of IntStorage here, 4 of FloatStorage before"));
}

TEST_F(PickleReader, RefusesWhatTheStackOrTheMemoLacks) {
  const std::pair<std::string, const char*> cases[] = {
      {".", "opcode STOP at byte"},
      {"(.", "too few values"},
      {"R.", "opcode REDUCE at byte"},
      {"NR.", "too few values"},
      {"N(NR.", "too few values"},  // a mark is a floor
      {"Q.", "too few values"},
      {"t.", "there is no mark"},
      {"u.", "there is no mark"},
      {"e.", "there is no mark"},
      {"(u.", "the stack is empty"},
      {"}(Nu.", "a key without a value"},
      {"](NNu.", "sets an item of a list"},
      {"}Na.", "appends to a dict"},
      {"\x87.", "too few values"},
      {std::string("q\0.", 3), "the stack is empty"},
      {"(\x94.", "the stack is empty"},
      {"h\x07.", "the memo has no entry 7"},
      {"j" + Number(0xffffffff, 4) + ".", "the memo has no entry 4294967295"}};
  for (const auto& [opcodes, said] : cases) {
    EXPECT_THAT(PickleRefusal(Proto() + opcodes), HasSubstr(said))
        << ::testing::PrintToString(opcodes);
  }
}

TEST_F(PickleReader, RefusesAPickleThatEndsEarly) {
  const std::string whole = StateDict({{"w", Row(4)}});
  for (size_t bytes = 0; bytes + 1 < whole.size(); ++bytes) {
    EXPECT_THAT(PickleRefusal(whole.substr(0, bytes)), HasSubstr("the pickle ends at byte"))
        << bytes;
  }
  EXPECT_THAT(PickleRefusal(Proto() + "X" + Number(0xffffffff, 4)), HasSubstr("more are needed"));
  EXPECT_THAT(PickleRefusal(Proto() + "\x8d" + Number(~uint64_t{0}, 8)),
              HasSubstr("more are needed"));
  EXPECT_THAT(PickleRefusal(Proto(6)), HasSubstr("protocol 6 is newer than 5"));
}

// Each of these would take gigabytes or a deep stack if it were believed.
TEST_F(PickleReader, BoundsWhatAPickleMakes) {
  const auto many = [](const std::string& opcodes, size_t times) {
    std::string bytes = Proto();
    for (size_t i = 0; i < times; ++i) bytes += opcodes;
    return bytes;
  };
  EXPECT_THAT(PickleRefusal(many("(", 1'000'000)), HasSubstr("more than 100000 values and marks"));
  EXPECT_THAT(PickleRefusal(many("N", 1'000'000)), HasSubstr("more than 100000 values and marks"));
  EXPECT_THAT(PickleRefusal(many("]", 1'000'000)), HasSubstr("more than 100000 values and marks"));
  EXPECT_THAT(PickleRefusal("]" + many("Na", 5'000'000)), HasSubstr("more than 4000000 objects"));
  EXPECT_THAT(PickleRefusal("N" + many("\x85", 5'000'000)), HasSubstr("more than 4000000 objects"));
  EXPECT_THAT(PickleRefusal("N" + many("\x85", 500'000) + "."), HasSubstr("holds a tuple"));
  std::string puts = Proto() + "N";
  for (uint32_t i = 0; i < 2'000'002; ++i) puts += "r" + Number(i, 4);
  EXPECT_THAT(PickleRefusal(puts), HasSubstr("more than 2000000 entries in the memo"));
  EXPECT_THAT(PickleRefusal(Proto() + Text(std::string((1u << 20) + 1, 'a')) + "."),
              HasSubstr("1048577 bytes in one piece"));
}

// A list that holds itself is walked by nobody.
TEST_F(PickleReader, TakesACircleForWhatItIs) {
  EXPECT_THAT(PickleRefusal(Proto() + std::string("]q\0h\0a.", 7)), HasSubstr("holds a list"));
}

TEST_F(PickleReader, BoundsTheBytesOfAPickle) {
  std::string pickle = Proto() + "]";
  const std::string text = Text(std::string(1u << 20, 'a')) + "a";
  for (int i = 0; i < 65; ++i) pickle += text;
  EXPECT_THAT(PickleRefusal(pickle + "."), HasSubstr("longer than 67108864 bytes"));
}

}  // namespace
}  // namespace precis
