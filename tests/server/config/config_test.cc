#include "server/config/config.h"

#include <cstdio>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/config_table.h"

namespace precis {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string MessageOf(const Status& status) { return std::string(status.message()); }

class TempFile {
 public:
  explicit TempFile(const std::string& text) : path_(testing::TempDir() + "/precis_config_test") {
    std::ofstream(path_) << text;
  }
  ~TempFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(Config, FlagsWinOverEnvironmentOverFileOverDefaults) {
  const TempFile file("# a comment\nmax-batch = 8\nmax-queue = 9\n\nthreads=\"3\"\n");
  const auto command = ParseCommand({"--model", "m", "--config", file.path(), "--max-batch", "2"},
                                    {{"PRECIS_MAX_BATCH", "4"}, {"PRECIS_MAX_QUEUE", "5"}});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->options.engine.max_batch, 2u);
  EXPECT_EQ(command->options.max_queue, 5u);
  EXPECT_EQ(command->options.engine.threads, 3u);
  EXPECT_EQ(command->options.engine.max_new_tokens, ServerOptions().engine.max_new_tokens);
}

TEST(Config, UnknownKeysAreErrorsThatNameThem) {
  const TempFile file("model = m\nmax-bach = 8\n");
  EXPECT_THAT(MessageOf(ParseCommand({"--config", file.path()}, {}).status()),
              HasSubstr(file.path() + ":2: max-bach: unknown option"));
  EXPECT_THAT(MessageOf(ParseCommand({"--model", "m"}, {{"PRECIS_MAX_BACH", "8"}}).status()),
              HasSubstr("PRECIS_MAX_BACH"));
  EXPECT_THAT(MessageOf(ParseCommand({"--model", "m", "--max-bach", "8"}, {}).status()),
              HasSubstr("--max-bach"));
}

TEST(Config, UnknownKeysAreMetWithTheNearestOneWhereverTheyStand) {
  const TempFile file("model = m\nmax_batch = 8\n");
  EXPECT_THAT(MessageOf(ParseCommand({"--config", file.path()}, {}).status()),
              HasSubstr(":2: max_batch: unknown option; did you mean max-batch?"));
  EXPECT_EQ(MessageOf(ParseCommand({"--model", "m"}, {{"PRECIS_MAX_BACH", "8"}}).status()),
            "PRECIS_MAX_BACH: unknown variable; did you mean PRECIS_MAX_BATCH?");
  EXPECT_EQ(MessageOf(ParseCommand({"--model", "m", "--max-bach=8"}, {}).status()),
            "--max-bach: unknown option; did you mean --max-batch?");
  EXPECT_EQ(MessageOf(ParseCommand({"--model", "m", "--chek"}, {}).status()),
            "--chek: unknown option; did you mean --check?");
  EXPECT_EQ(MessageOf(ParseCommand({"--model", "m", "--nothing-like-it"}, {}).status()),
            "--nothing-like-it: unknown option");
  EXPECT_EQ(MessageOf(ParseCommand({"models/demo"}, {}).status()),
            "models/demo: is not expected here; did you mean --model models/demo?");
}

TEST(Config, NamesOfOtherServersAreMetWithOurs) {
  EXPECT_EQ(MessageOf(ParseCommand({"--model", "m", "--port", "80"}, {}).status()),
            "--port: unknown option; did you mean --listen?");
  EXPECT_EQ(MessageOf(ParseCommand({"--model", "m", "--backend", "cpu"}, {}).status()),
            "--backend: unknown option; did you mean --device?");
  EXPECT_EQ(MessageOf(ParseCommand({"--model", "m"}, {{"PRECIS_MODEL_PATH", "x"}}).status()),
            "PRECIS_MODEL_PATH: unknown variable; did you mean PRECIS_MODEL?");
}

TEST(Config, TheServedNameIsAWordThatLabelsAndUrlsBear) {
  const auto named = ParseCommand({"--model", "m", "--served-model-name", "org/news_v2:1"}, {});
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(named->options.engine.served_model_name, "org/news_v2:1");
  for (const std::string& wrong : {std::string("two words"), std::string("a\"b"),
                                   std::string("line\nline"), std::string(129, 'x')}) {
    const auto command = ParseCommand({"--model", "m"}, {{"PRECIS_SERVED_MODEL_NAME", wrong}});
    EXPECT_THAT(MessageOf(command.status()),
                AllOf(HasSubstr("PRECIS_SERVED_MODEL_NAME: '"),
                      HasSubstr("' is not a name of up to 128"), Not(HasSubstr("\n"))));
  }
}

TEST(Config, WrongValuesNameThePlaceWhereTheyStand) {
  EXPECT_THAT(MessageOf(ParseCommand({"--model", "m", "--max-batch", "0"}, {}).status()),
              HasSubstr("--max-batch: '0' is not a number from 1"));
  EXPECT_THAT(MessageOf(ParseCommand({"--model", "m"}, {{"PRECIS_DTYPE", "f8"}}).status()),
              HasSubstr("PRECIS_DTYPE: 'f8' is not one of auto, f32, bf16"));
  const TempFile file("drain-timeout = soon\n");
  EXPECT_THAT(MessageOf(ParseCommand({"--config", file.path()}, {}).status()),
              HasSubstr(":1: drain-timeout: 'soon' is not a time"));
  EXPECT_FALSE(ParseCommand({"--model", "m", "--config", "/nowhere"}, {}).ok());
  EXPECT_FALSE(ParseCommand({}, {}).ok()) << "a model is needed";
}

TEST(Config, SwitchesNeedNoValue) {
  const auto bare = ParseCommand({"--model", "m", "--insecure", "--log-json"}, {});
  ASSERT_TRUE(bare.ok()) << bare.status();
  EXPECT_TRUE(bare->options.insecure);
  EXPECT_TRUE(bare->options.log.json);
  const auto off = ParseCommand({"--model", "m", "--reflection", "off"}, {});
  ASSERT_TRUE(off.ok()) << off.status();
  EXPECT_FALSE(off->options.reflection);
}

TEST(Config, EmptyMetricsAddressTurnsMetricsOff) {
  const auto command = ParseCommand({"--model", "m", "--metrics-listen", ""}, {});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->options.metrics_listen, "");
}

TEST(Config, HealthHasNoAddressOfItsOwnUnlessSaid) {
  EXPECT_EQ(ParseCommand({"--model", "m"}, {})->options.health_listen, "");
  const auto set = ParseCommand({"--model", "m"}, {{"PRECIS_HEALTH_LISTEN", "0.0.0.0:50052"}});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->options.health_listen, "0.0.0.0:50052");
}

TEST(Config, PrintedConfigReadsBackAsItself) {
  const auto command = ParseCommand(
      {"--model", "a dir", "--pool-bytes", "512M", "--drain-timeout", "1500ms", "--print-config"},
      {});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->act, ServerCommand::Act::kPrintConfig);
  const std::string text = FormatConfig(command->options);
  const TempFile file(text);
  const auto again = ParseCommand({"--config", file.path()}, {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(FormatConfig(again->options), text);
  EXPECT_EQ(again->options.engine.pool_bytes, 512u << 20);
  EXPECT_EQ(again->options.engine.model_dir, "a dir");
}

TEST(Config, KubernetesServiceLinksAreNotOurs) {
  const char* const environment[] = {"PRECIS_SERVICE_HOST=10.0.0.1",
                                     "PRECIS_SERVICE_PORT_GRPC=50051",
                                     "PRECIS_PORT=tcp://10.0.0.1:50051",
                                     "PRECIS_PORT_50051_TCP_ADDR=10.0.0.1",
                                     "PRECIS_SERVER_PORT=tcp://10.0.0.1:50051",
                                     "PRECIS_LISTEN=[::1]:1",
                                     "PRECIS_PORT_FILE=x",
                                     "OTHER=1",
                                     nullptr};
  const auto ours = PrecisEnvironment(environment);
  EXPECT_THAT(ours, testing::ElementsAre(testing::Pair("PRECIS_LISTEN", "[::1]:1"),
                                         testing::Pair("PRECIS_PORT_FILE", "x")));
}

TEST(Config, TimesAndBytesHaveUnits) {
  EXPECT_EQ(*ParseDuration("500ms"), std::chrono::milliseconds(500));
  EXPECT_EQ(*ParseDuration("2m"), std::chrono::minutes(2));
  EXPECT_EQ(*ParseDuration("1.5"), std::chrono::milliseconds(1500));
  EXPECT_EQ(*ParseBytes("8G"), 8ull << 30);
  for (const char* bad : {"", "s", "-1s", "1d", "1e3", "nan", "99999999h"}) {
    EXPECT_FALSE(ParseDuration(bad).ok()) << bad;
  }
  for (const char* bad : {"", "K", "1T", "-1", "1.5G", "99999999999G"}) {
    EXPECT_FALSE(ParseBytes(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace precis
