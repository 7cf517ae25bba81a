#include "cli/base/typed_words.h"

#include <functional>

#include "cli/client/generation_flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// What is said of `words` typed after "precis", with `summarize` and `inspect` as it has them.
std::string Said(std::vector<std::string> words) {
  CLI::App app("test", "precis");
  app.require_subcommand(1);
  CLI::App* const summarize = app.add_subcommand("summarize", "");
  std::string file;
  std::string server;
  summarize->add_option("file", file);
  summarize->add_option("--server", server);
  AddGenerationFlags(*summarize, std::make_shared<v1::GenerationOptions>());
  app.add_subcommand("inspect", "");
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::ParseError&) {
    return UnknownWord(app);
  }
  return "parsed";
}

TEST(TypedWords, AnUnknownFlagIsMetWithTheNearest) {
  EXPECT_EQ(Said({"summarize", "--num_beams", "4"}),
            "--num_beams: unknown option; did you mean --num-beams?");
  EXPECT_EQ(Said({"summarize", "--temprature=0.5", "file"}),
            "--temprature: unknown option; did you mean --temperature?");
  EXPECT_EQ(Said({"summarize", "--nothing-like-it"}), "--nothing-like-it: unknown option");
}

TEST(TypedWords, NamesOfOtherProgramsAreMetWithOurs) {
  EXPECT_EQ(Said({"summarize", "--max_length", "9"}),
            "--max_length: unknown option; did you mean --max-new-tokens?");
  EXPECT_EQ(Said({"summarize", "--host", "x"}), "--host: unknown option; did you mean --server?");
}

TEST(TypedWords, AnUnknownCommandIsMetWithTheNearest) {
  EXPECT_EQ(Said({"summarise", "file"}), "summarise: unknown command; did you mean summarize?");
  EXPECT_EQ(Said({"translate"}), "translate: unknown command");
}

TEST(TypedWords, AWordTooManyIsSaid) {
  EXPECT_EQ(Said({"summarize", "one", "two"}), "two: is one word too many");
}

TEST(TypedWords, OtherMistakesAreLeftToTheParser) {
  EXPECT_EQ(Said({}), "");
  EXPECT_EQ(Said({"summarize", "--top-p", "much"}), "");
  EXPECT_EQ(Said({"summarize", "file"}), "parsed");
}

TEST(TypedWords, AVariableThatIsNearlyOursIsToldOf) {
  EXPECT_THAT(NearlyOurVariables({"PRECIS_SERVR", "PRECIS_MODEL"}),
              ElementsAre("PRECIS_SERVR is not read; did you mean PRECIS_SERVER?"));
  // Ours, and the server's.
  EXPECT_THAT(NearlyOurVariables({"PRECIS_SERVER", "PRECIS_TLS_CA", "PRECIS_TOKEN",
                                  "PRECIS_TLS_CERT", "PRECIS_TLS_KEY", "PRECIS_LISTEN"}),
              IsEmpty());
  const char* const strings[] = {"HOME=/", "PRECIS_TOKEM=secret", nullptr};
  EXPECT_THAT(PrecisVariables(strings), ElementsAre("PRECIS_TOKEM"));
}

}  // namespace
}  // namespace precis::cli
