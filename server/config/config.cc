#include "server/config/config.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string_view>
#include <utility>

#include "CLI/CLI.hpp"
#include "fmt/format.h"
#include "server/config/config_names.h"
#include "server/config/config_table.h"
#include "server/config/version.h"

namespace precis {
namespace {

constexpr std::string_view kPrefix = "PRECIS_";

std::string EnvironmentName(std::string_view key) {
  std::string name(kPrefix);
  for (const char c : key) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

// Kubernetes sets, for a service named "precis" or "precis-server", PRECIS_SERVICE_HOST,
// PRECIS_PORT=tcp://..., PRECIS_PORT_50051_TCP_ADDR and their like in every pod of the namespace.
bool IsServiceLink(std::string_view name, std::string_view value) {
  name.remove_prefix(kPrefix.size());
  // `word` where a name's part begins, so that no option of ours ends in it by chance.
  const auto find = [name](std::string_view word) {
    for (auto at = name.find(word); at != name.npos; at = name.find(word, at + 1)) {
      if (at == 0 || name[at - 1] == '_') return at;
    }
    return name.npos;
  };
  if (find("SERVICE_HOST") != name.npos || find("SERVICE_PORT") != name.npos) return true;
  const auto port = find("PORT");
  if (port == name.npos) return false;
  std::string_view rest = name.substr(port + 4);
  if (rest.empty()) return value.find("://") != value.npos;
  if (rest.size() < 2 || rest[0] != '_' || rest[1] < '0' || rest[1] > '9') return false;
  rest.remove_prefix(std::min(rest.find_first_not_of("0123456789", 1), rest.size()));
  return rest.starts_with("_TCP") || rest.starts_with("_UDP") || rest.starts_with("_SCTP");
}

std::vector<std::string> KeysOf(const std::vector<ConfigRow>& rows) {
  std::vector<std::string> keys;
  for (const ConfigRow& row : rows) keys.push_back(row.key);
  return keys;
}

std::string_view Trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// Every place sets options through here, so that a wrong value reads the same wherever it stands.
class Setter {
 public:
  explicit Setter(const std::vector<ConfigRow>& rows) : rows_(rows) {}

  Status Set(const std::string& key, std::string_view value, const std::string& place,
             ServerOptions& options) const {
    const auto row = std::find_if(rows_.begin(), rows_.end(),
                                  [&key](const ConfigRow& r) { return r.key == key; });
    if (row == rows_.end()) {
      return InvalidArgument(
          fmt::format("{}: unknown option{}", place, DidYouMeanOption(key, KeysOf(rows_))));
    }
    return Annotate(row->set(value, options), place);
  }

 private:
  const std::vector<ConfigRow>& rows_;
};

Status ApplyFile(const std::string& path, const Setter& setter, ServerOptions& options) {
  std::ifstream file(path);
  if (!file) return InvalidArgument(fmt::format("--config: cannot read '{}'", path));
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const std::string_view text = Trim(line);
    if (text.empty() || text.front() == '#') continue;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) {
      return InvalidArgument(fmt::format("{}:{}: expected 'key = value'", path, number));
    }
    const std::string key(Trim(text.substr(0, equals)));
    std::string_view value = Trim(text.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    PRECIS_RETURN_IF_ERROR(
        setter.Set(key, value, fmt::format("{}:{}: {}", path, number, key), options));
  }
  if (file.bad()) return InvalidArgument(fmt::format("--config: cannot read '{}'", path));
  return OkStatus();
}

Status ApplyEnvironment(const std::vector<ConfigRow>& rows, const Setter& setter,
                        std::map<std::string, std::string> environment, ServerOptions& options) {
  environment.erase("PRECIS_CONFIG");
  // The command line's: where its server is, and what it says there.
  for (const char* name : {"PRECIS_SERVER", "PRECIS_TLS_CA", "PRECIS_TOKEN"}) {
    environment.erase(name);
  }
  for (const ConfigRow& row : rows) {
    const std::string name = EnvironmentName(row.key);
    const auto variable = environment.find(name);
    if (variable == environment.end()) continue;
    PRECIS_RETURN_IF_ERROR(setter.Set(row.key, variable->second, name, options));
    environment.erase(variable);
  }
  if (environment.empty()) return OkStatus();
  const std::string& unknown = environment.begin()->first;
  std::vector<std::string> names = {"PRECIS_CONFIG"};
  for (const ConfigRow& row : rows) names.push_back(EnvironmentName(row.key));
  return InvalidArgument(
      fmt::format("{}: unknown variable{}", unknown, DidYouMeanOption(unknown, names)));
}

struct Flags {
  std::map<std::string, std::string> values;  // by key, as given
  std::string config;
  bool print_config = false;
  bool check = false;
  bool version = false;
  bool probe = false;
};

void AddFlags(CLI::App& app, const std::vector<ConfigRow>& rows, Flags& flags) {
  const ServerOptions defaults;
  app.add_option("--config", flags.config, "file of 'key = value' lines; keys as the flags");
  app.add_flag("--print-config", flags.print_config, "print the options in effect and exit");
  app.add_flag("--check", flags.check, "load the model and exit: 0 if it can be served");
  app.add_flag("--probe", flags.probe,
               "ask the server at --health-listen, else --listen, for its health");
  app.add_flag("--version", flags.version, "print the version and exit");
  for (const ConfigRow& row : rows) {
    CLI::Option* option = app.add_option("--" + row.key, flags.values[row.key],
                                         fmt::format("{} [{}]", row.help, row.get(defaults)))
                              ->group(row.group)
                              ->option_text(" ");
    if (row.is_switch) option->expected(0, 1)->default_str("on");
  }
}

// What the parser did not know: the first flag, else the first word.
Status UnknownWord(const std::vector<std::string>& words, const std::vector<ConfigRow>& rows) {
  const auto flag =
      std::ranges::find_if(words, [](const std::string& word) { return word.starts_with("-"); });
  if (flag == words.end()) {
    return InvalidArgument(fmt::format("{}: is not expected here; did you mean --model {}?",
                                       words.front(), words.front()));
  }
  std::vector<std::string> known = {"--config", "--print-config", "--check",
                                    "--probe",  "--version",      "--help"};
  for (const ConfigRow& row : rows) known.push_back("--" + row.key);
  const std::string name = flag->substr(0, flag->find('='));
  return InvalidArgument(fmt::format("{}: unknown option{}", name, DidYouMeanOption(name, known)));
}

// Exceptions of CLI11 end here. True when the flags were read, false when `help` is to be printed.
StatusOr<bool> ParseFlags(const std::vector<std::string>& args, const std::vector<ConfigRow>& rows,
                          Flags& flags, std::string& help) {
  CLI::App app("precis-server: summaries over gRPC from an encoder-decoder checkpoint");
  app.get_formatter()->column_width(28);
  app.footer(
      "Every option can stand in the environment (PRECIS_MAX_BATCH=64) or in the file of --config\n"
      "(max-batch = 64). A flag wins over the environment, that over the file, that over "
      "defaults.");
  AddFlags(app, rows, flags);
  app.allow_extras();  // UnknownWord() says more
  try {
    std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 wants them
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    help = app.help();
    return false;
  } catch (const CLI::ParseError& error) {
    return InvalidArgument(error.what());
  }
  if (!app.remaining().empty()) return UnknownWord(app.remaining(), rows);
  for (auto it = flags.values.begin(); it != flags.values.end();) {
    const CLI::Option* option = app.get_option("--" + it->first);
    if (option->count() == 0) {
      it = flags.values.erase(it);
      continue;
    }
    if (it->second.empty() && option->get_expected_min() == 0) it->second = "on";
    ++it;
  }
  return true;
}

Status CheckTogether(const ServerCommand& command) {
  using Act = ServerCommand::Act;
  const ServerOptions& o = command.options;
  if (command.act == Act::kProbe || command.act == Act::kPrintConfig) return OkStatus();
  if (o.engine.model_dir.empty()) {
    return InvalidArgument("--model DIR is needed: the directory of the checkpoint to serve");
  }
  if (o.engine.max_sequences < o.engine.max_batch) {
    return InvalidArgument(fmt::format("--max-sequences {} is less than --max-batch {}",
                                       o.engine.max_sequences, o.engine.max_batch));
  }
  if (o.max_timeout.count() != 0 && o.default_timeout > o.max_timeout) {
    return InvalidArgument("--default-timeout is longer than --max-timeout");
  }
  return OkStatus();
}

}  // namespace

std::map<std::string, std::string> PrecisEnvironment(const char* const* environ_strings) {
  std::map<std::string, std::string> out;
  for (; environ_strings != nullptr && *environ_strings != nullptr; ++environ_strings) {
    const std::string_view entry(*environ_strings);
    const auto equals = entry.find('=');
    if (!entry.starts_with(kPrefix) || equals == std::string_view::npos) continue;
    std::string name(entry.substr(0, equals)), value(entry.substr(equals + 1));
    if (!IsServiceLink(name, value)) out.emplace(std::move(name), std::move(value));
  }
  return out;
}

StatusOr<ServerCommand> ParseCommand(const std::vector<std::string>& args,
                                     const std::map<std::string, std::string>& environment) {
  using Act = ServerCommand::Act;
  const std::vector<ConfigRow> rows = ConfigTable();
  const Setter setter(rows);
  ServerCommand command;
  Flags flags;
  PRECIS_ASSIGN_OR_RETURN(const bool parsed, ParseFlags(args, rows, flags, command.text));
  if (!parsed || flags.version) {
    command.act = Act::kPrint;
    if (flags.version) command.text = fmt::format("precis-server {}\n", kPrecisVersion);
    return command;
  }
  if (const auto it = environment.find("PRECIS_CONFIG");
      flags.config.empty() && it != environment.end()) {
    flags.config = it->second;
  }
  if (!flags.config.empty()) {
    PRECIS_RETURN_IF_ERROR(ApplyFile(flags.config, setter, command.options));
  }
  PRECIS_RETURN_IF_ERROR(ApplyEnvironment(rows, setter, environment, command.options));
  for (const auto& [key, value] : flags.values) {
    PRECIS_RETURN_IF_ERROR(setter.Set(key, value, "--" + key, command.options));
  }
  if (flags.print_config) command.act = Act::kPrintConfig;
  if (flags.check) command.act = Act::kCheck;
  if (flags.probe) command.act = Act::kProbe;
  PRECIS_RETURN_IF_ERROR(CheckTogether(command));
  return command;
}

std::string FormatConfig(const ServerOptions& options) {
  std::string out;
  std::string group;
  for (const ConfigRow& row : ConfigTable()) {
    if (row.group != group) out += fmt::format("{}# {}\n", group.empty() ? "" : "\n", row.group);
    group = row.group;
    out += fmt::format("{} = \"{}\"\n", row.key, row.get(options));
  }
  return out;
}

}  // namespace precis
