// What the commands of `precis bench` have in common: numbers as people read them, the bar of a
// terminal, the table of ops. Owner: a command. Thread rule: one thread.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "common/status.h"
#include "tools/bench/latency.h"

namespace precis::cli {

struct BenchLook {
  bool profile = false;   // the table, to standard error
  bool terminal = false;  // standard error is one: a progress bar
};

double Rounded(double value, int digits);

// Draws on `err` while something is measured; nothing where that is no terminal.
class ProgressBar {
 public:
  ProgressBar(const BenchLook& look, std::ostream& err) : terminal_(look.terminal), err_(err) {}
  ~ProgressBar() { Clear(); }

  // Empty where nothing is drawn.
  std::function<void(const BenchProgress&)> listener();
  void Clear();

 private:
  const bool terminal_;
  std::ostream& err_;
};

// A table by phase and op below `title`, and the figures of the machine.
std::string ProfileTable(const std::string& title, const std::vector<OpProfile>& profile,
                         const std::vector<MachineFigure>& machine);

// "precis: why", for people.
void TellError(const Status& status, std::ostream& err);

}  // namespace precis::cli
