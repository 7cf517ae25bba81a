// precis-server: options, model, server; then waits for a signal and ends in order.
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/streams.h"
#include "fmt/format.h"
#include "server/config/address.h"
#include "server/config/config.h"
#include "server/health_port.h"
#include "server/openmp_wait.h"
#include "server/out_of_memory.h"
#include "server/probe.h"
#include "server/security/transport.h"
#include "server/server.h"
#include "server/startup.h"

namespace precis {
namespace {

PRECIS_OPEN_STANDARD_STREAMS_FIRST();

constexpr std::chrono::seconds kProbeTimeout{3};
constexpr Duration kTick = std::chrono::milliseconds(20);

int Fail(const Status& status) {
  WriteError(fmt::format("precis-server: {}\n", std::string(status.message())));
  return 1;
}

// SIGTERM, SIGINT and SIGHUP are blocked in every thread and taken here, by the main thread.
class EndSignals {
 public:
  EndSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }
  // Until one says that it is the end; `reload` is called for each SIGHUP before.
  void Wait(const std::function<void()>& reload) {
    int number = SIGHUP;
    while (sigwait(&set_, &number) != 0 || number == SIGHUP) reload();
  }
  // True when the end was asked for within `timeout`. SIGHUP is nothing to who loads or drains.
  bool WaitFor(Duration timeout) {
    const timespec time{.tv_sec = timeout.count() / 1'000'000'000,
                        .tv_nsec = timeout.count() % 1'000'000'000};
    const int number = sigtimedwait(&set_, nullptr, &time);
    return number > 0 && number != SIGHUP;
  }

 private:
  sigset_t set_;
};

// Ends the process without waiting for an engine that may not answer; every client has its outcome.
[[noreturn]] void EndNow(int code) {
  spdlog::default_logger()->flush();
  std::_Exit(code);
}

int RunUntilSignal(Server& server, EndSignals& signals, const ServerOptions& options) {
  signals.Wait([&server] { server.Reload().IgnoreError(); });  // the log has its outcome
  spdlog::info("drain: refusing new requests, finishing {} within {:.0f} s",
               server.core().admission.requests(), Seconds(options.drain_timeout));
  server.BeginDrain();
  const auto end = std::chrono::steady_clock::now() + options.drain_timeout;
  while (!server.WaitIdle(Duration(0))) {
    const bool again = signals.WaitFor(kTick);
    if (!again && std::chrono::steady_clock::now() < end) continue;
    spdlog::warn("drain: {}; {} requests end with UNAVAILABLE",
                 again ? "second signal" : "time is over", server.core().admission.requests());
    server.Stop();
    EndNow(again ? 1 : 0);
  }
  server.Stop();
  spdlog::info("drain: all requests were finished");
  return 0;
}

// Loads in a thread of its own, so that a signal ends the process during a long load as well.
StatusOr<LoadedSummarizer> LoadUnlessSignalled(const ServerOptions& options, EndSignals& signals) {
  auto load = std::async(std::launch::async,
                         [&options] { return LoadSummarizer(options.engine, options.text); });
  while (load.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    if (!signals.WaitFor(kTick)) continue;
    spdlog::info("ended by a signal while loading");
    EndNow(0);
  }
  return load.get();
}

// `address` as it was asked for, with the port that was taken. A unix socket has none.
std::string PlaceOf(const std::string& address, int port) {
  if (port == 0) return address;
  return fmt::format("{}:{}", address.substr(0, address.rfind(':')), port);
}

int Serve(const ServerOptions& options) {
  EndSignals signals;  // before any thread is started
  RouteLibraryLogs();
  if (const Status access = CheckAccess(options); !access.ok()) return Fail(access);
  std::unique_ptr<HealthPort> health;  // before the model is loaded, and until the server is gone
  if (!options.health_listen.empty()) {
    if (const Status threads = CheckThreads(); !threads.ok()) return Fail(threads);
    auto opened = HealthPort::Open(options.health_listen);
    if (!opened.ok()) return Fail(opened.status());
    health = *std::move(opened);
    spdlog::info("health alone on {}", PlaceOf(options.health_listen, health->port()));
  }
  auto model = LoadUnlessSignalled(options, signals);
  if (!model.ok()) return Fail(model.status());
  LogModel(options, model->engine->info());
  if (const Status threads = CheckThreads(); !threads.ok()) return Fail(threads);
  EndWhereMemoryEnds();
  auto server = Server::Start(options, *std::move(model), health.get());
  if (!server.ok()) return Fail(server.status());
  if ((*server)->metrics_port() != 0) {
    spdlog::info("metrics on port {}, path /metrics", (*server)->metrics_port());
  }
  const Status ports =
      WritePortFile(options.port_file, (*server)->port(), (*server)->metrics_port(),
                    health == nullptr ? 0 : health->port());
  if (!ports.ok()) return Fail(ports);
  spdlog::info("listening on {}", PlaceOf(options.listen, (*server)->port()));
  return RunUntilSignal(**server, signals, options);
}

int Check(const ServerOptions& options) {
  RouteLibraryLogs();
  if (const Status access = CheckAccess(options); !access.ok()) {
    return Fail(Annotate(access, "cannot be served"));
  }
  auto model = LoadSummarizer(options.engine, options.text);
  if (!model.ok()) return Fail(Annotate(model.status(), "cannot be served"));
  if (const Status threads = CheckThreads(); !threads.ok()) {
    return Fail(Annotate(threads, "cannot be served"));
  }
  const ModelInfo& info = model->engine->info();
  LogModel(options, info);
  std::fputs(Verdict(options, info).c_str(), stdout);
  return 0;
}

int Main(const std::vector<std::string>& args, char** argv) {
  auto command = ParseCommand(args, PrecisEnvironment(environ));
  if (!command.ok()) return Fail(command.status());
  const Status log = ConfigureLog(command->options.log);
  if (!log.ok()) return Fail(log);
  ShareArenasInSmallAddressSpaces();
  switch (command->act) {
    case ServerCommand::Act::kPrint:
      std::fputs(command->text.c_str(), stdout);
      return 0;
    case ServerCommand::Act::kPrintConfig:
      std::fputs(FormatConfig(command->options).c_str(), stdout);
      return 0;
    case ServerCommand::Act::kCheck:
      return Check(command->options);
    case ServerCommand::Act::kProbe: {
      const Status health = ProbeHealth(command->options, kProbeTimeout);
      return health.ok() ? 0 : Fail(health);
    }
    case ServerCommand::Act::kServe:
      RestartWithBoundedSpin(argv);
      return Serve(command->options);
  }
  return 1;
}

}  // namespace
}  // namespace precis

int main(int argc, char** argv) {
  precis::UnblockStderr();
  try {
    return precis::Main(std::vector<std::string>(argv + 1, argv + argc), argv);
  } catch (const std::bad_alloc&) {
    std::fputs("precis-server: not enough memory: an allocation failed\n", stderr);
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "precis-server: not enough memory: a thread could not be started: %s\n",
                 error.what());
  }
  return 1;
}
