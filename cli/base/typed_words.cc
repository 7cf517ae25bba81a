#include "cli/base/typed_words.h"

#include <algorithm>
#include <string_view>

#include "common/nearest.h"
#include "fmt/format.h"

namespace precis::cli {
namespace {

const std::vector<std::string>& OurVariables() {
  static const auto* const names =
      new std::vector<std::string>{"PRECIS_SERVER", "PRECIS_TLS_CA", "PRECIS_TOKEN"};
  return *names;
}
// A letter or two: PRECIS_TLS_CERT, the server's, is three away from PRECIS_TLS_CA.
constexpr size_t kMostTypingErrors = 2;

// What other programs call it.
struct OtherName {
  std::string_view other;
  std::string_view ours;
};
constexpr OtherName kOtherNames[] = {
    {"--max-tokens", "--max-new-tokens"},
    {"--max-length", "--max-new-tokens"},
    {"--min-length", "--min-new-tokens"},
    {"--min-tokens", "--min-new-tokens"},
    {"--beams", "--num-beams"},
    {"--beam-width", "--num-beams"},
    {"--host", "--server"},
    {"--address", "--server"},
    {"--url", "--server"},
    {"--token", "--token-file"},
    {"--cacert", "--tls-ca"},
    {"--bad-words-ids", "--bad-words"},
    {"--suppressed-token-ids", "--suppress-tokens"},
};

// The command that was typed last: `precis bench latency` is two deep.
const CLI::App& Innermost(const CLI::App& app) {
  const std::vector<CLI::App*> typed = app.get_subcommands();
  return typed.empty() ? app : Innermost(*typed.front());
}

std::vector<std::string> FlagsOf(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> CommandsOf(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(sub->get_name());
  }
  return names;
}

std::string MeantFlag(const std::string& typed, const std::vector<std::string>& flags) {
  std::string dashed = typed;
  std::replace(dashed.begin() + 2, dashed.end(), '_', '-');
  const auto* other = std::ranges::find(kOtherNames, dashed, &OtherName::other);
  if (other != std::end(kOtherNames) && std::ranges::find(flags, other->ours) != flags.end()) {
    return fmt::format("; did you mean {}?", other->ours);
  }
  return DidYouMean(typed, flags);
}

}  // namespace

std::string UnknownWord(const CLI::App& app) {
  const CLI::App& command = Innermost(app);
  std::vector<std::string> words = command.remaining();
  if (words.empty()) words = app.remaining(/*recurse=*/true);
  if (words.empty()) return "";
  const auto flag = std::ranges::find_if(
      words, [](const std::string& word) { return word.size() > 2 && word.starts_with("--"); });
  if (flag != words.end()) {
    const std::string name = flag->substr(0, flag->find('='));
    return fmt::format("{}: unknown option{}", name, MeantFlag(name, FlagsOf(command)));
  }
  const std::vector<std::string> commands = CommandsOf(command);
  if (commands.empty()) return fmt::format("{}: is one word too many", words.front());
  return fmt::format("{}: unknown command{}", words.front(), DidYouMean(words.front(), commands));
}

std::vector<std::string> NearlyOurVariables(const std::vector<std::string>& names) {
  std::vector<std::string> lines;
  for (const std::string& name : names) {
    for (const std::string& ours : OurVariables()) {
      const size_t distance = EditDistance(name, ours);
      if (distance == 0 || distance > kMostTypingErrors) continue;
      lines.push_back(fmt::format("{} is not read; did you mean {}?", name, ours));
    }
  }
  return lines;
}

std::vector<std::string> PrecisVariables(const char* const* environ_strings) {
  std::vector<std::string> names;
  for (; environ_strings != nullptr && *environ_strings != nullptr; ++environ_strings) {
    const std::string_view entry(*environ_strings);
    if (entry.starts_with("PRECIS_")) names.emplace_back(entry.substr(0, entry.find('=')));
  }
  return names;
}

}  // namespace precis::cli
