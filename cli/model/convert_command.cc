// The words of `precis convert`.
#include <csignal>
#include <ctime>
#include <iostream>
#include <memory>

#include <unistd.h>

#include "cli/base/command.h"
#include "cli/model/convert.h"

namespace precis::cli {
namespace {

// Signals that end a process are held back and asked for between two pieces of work, so that what
// was half written can be removed. One that is ignored (nohup) stays ignored.
class EndSignals {
 public:
  EndSignals() {
    sigemptyset(&set_);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction action {};
      sigaction(number, nullptr, &action);
      if (action.sa_handler != SIG_IGN) sigaddset(&set_, number);
    }
    sigprocmask(SIG_BLOCK, &set_, nullptr);
  }
  bool Came() {
    const timespec now{};
    return sigtimedwait(&set_, nullptr, &now) > 0;
  }

 private:
  sigset_t set_;
};

int Run(ConvertOptions options) {
  EndSignals signals;
  options.is_cancelled = [&signals] { return signals.Came(); };
  return RunConvert(options, isatty(STDERR_FILENO) != 0, Convert, std::cout, std::cerr);
}

}  // namespace

void AddConvertCommand(CLI::App& app, int& exit_code) {
  CLI::App* const command =
      app.add_subcommand("convert", "Write a checkpoint with its decoder heads grouped otherwise");
  const auto typed = std::make_shared<ConvertOptions>();
  command->add_option("source", typed->source, "Directory of the checkpoint")->required();
  command->add_option("destination", typed->destination, "Directory to make; must not exist")
      ->required();
  CLI::Option* const variant =
      command->add_option("--variant", typed->variant,
                          "Of an MHA checkpoint: gqa, mqa, wgqa, colwgqa, rowwgqa, simgqa, qcqa, "
                          "kdgqa, dgqa_diff, dgqa_ema, pgqa");
  command
      ->add_option("--fold", typed->fold,
                   "Of a grouped checkpoint: gqa (learned weights folded), or mha (repeated heads, "
                   "for any engine)")
      ->excludes(variant);
  CLI::Option* const heads = command->add_option("--kv-heads", typed->kv_heads,
                                                 "KV heads of a decoder layer; qcqa: on average");
  command
      ->add_option("--kv-bytes", typed->kv_bytes,
                   "Or the most bytes of keys and values of a source token, and of a new token")
      ->excludes(heads);
  command
      ->add_option("--kv-dtype", typed->kv_dtype, "Type that bytes are told for: f32, bf16, int8")
      ->capture_default_str();
  command->add_flag("--random-weights", typed->random_weights,
                    "Head weights of wgqa, colwgqa, rowwgqa from a standard normal (the papers' "
                    "RAND forms), not at the mean");
  command->add_option("--seed", typed->seed, "Of random weights, and of qcqa's search")
      ->capture_default_str();
  command->callback([typed, &exit_code] { exit_code = Run(*typed); });
}

}  // namespace precis::cli
