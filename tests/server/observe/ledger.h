// What the metrics say of how requests ended, for the tests beside this file.
#pragma once

#include <map>
#include <string>

#include "tests/server/test_server.h"

namespace precis {

// Of a counter by its labels, joined by blanks in the order of the metric: {"Summarize ok": 1}.
// What was not counted is left out.
inline std::map<std::string, int> Counts(TestServer& server, const std::string& name) {
  std::map<std::string, int> out;
  for (const auto& family : server.server().metrics().registry()->Collect()) {
    if (family.name != name) continue;
    for (const auto& metric : family.metric) {
      std::string key;
      for (const auto& label : metric.label) key += (key.empty() ? "" : " ") + label.value;
      if (metric.counter.value > 0) out[key] = static_cast<int>(metric.counter.value);
    }
  }
  return out;
}

// Requests by method and outcome.
inline std::map<std::string, int> Ledger(TestServer& server) {
  return Counts(server, "precis_requests_total");
}

// Whether the ledger becomes `expected`, which is shown where it does not.
inline testing::AssertionResult LedgerBecomes(TestServer& server,
                                              const std::map<std::string, int>& expected) {
  if (Eventually([&] { return Ledger(server) == expected; })) return testing::AssertionSuccess();
  return testing::AssertionFailure() << testing::PrintToString(Ledger(server));
}

}  // namespace precis
