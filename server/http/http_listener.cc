#include "server/http/http_listener.h"

#include <pthread.h>

#include <exception>
#include <list>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "boost/asio/io_context.hpp"
#include "boost/asio/ip/tcp.hpp"
#include "boost/asio/ip/v6_only.hpp"
#include "boost/asio/steady_timer.hpp"
#include "common/log.h"
#include "fmt/format.h"
#include "server/config/address.h"
#include "server/http/http_connection.h"

namespace precis {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Error = boost::system::error_code;

// Before the next try to accept, when the process has run out of something.
constexpr std::chrono::milliseconds kAcceptPause{100};

// One address that it listens on.
struct Door {
  explicit Door(asio::io_context& io) : acceptor(io), pause(io) {}
  tcp::acceptor acceptor;
  asio::steady_timer pause;
};

Error OpenDoor(const tcp::endpoint& endpoint, tcp::acceptor* acceptor) {
  Error error;
  acceptor->open(endpoint.protocol(), error);
  if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && endpoint.address().is_v6()) {
    acceptor->set_option(asio::ip::v6_only(!endpoint.address().is_unspecified()), error);
  }
  if (!error) acceptor->bind(endpoint, error);
  if (!error) acceptor->listen(tcp::acceptor::max_listen_connections, error);
  return error;
}

// Of an address that this machine does not have, such as ::1 where there is no IPv6.
bool IsNotHere(const Error& error) {
  return error == boost::system::errc::address_not_available ||
         error == boost::system::errc::address_family_not_supported;
}

}  // namespace

class HttpListener::State final : public HttpConnection::Listener {
 public:
  State(const HttpLimits& limits, std::vector<HttpRoute> routes, std::function<void()> on_drop)
      : limits_(limits), routes_(std::move(routes)), on_drop_(std::move(on_drop)) {}

  ~State() override {
    io_.stop();
    if (thread_.joinable()) thread_.join();
    for (const auto& connection : connections_) connection->Cut();
  }

  Status Listen(const std::string& address) {
    PRECIS_RETURN_IF_ERROR(CheckAddress(address));
    if (address.starts_with("unix:")) {
      return InvalidArgument(fmt::format("'{}' is not host:port", address));
    }
    const size_t colon = address.rfind(':');
    std::string host = address.substr(0, colon);
    if (host.front() == '[') host = host.substr(1, host.size() - 2);
    Error error;
    const auto found =
        tcp::resolver(io_).resolve(host, address.substr(colon + 1), tcp::resolver::passive, error);
    std::set<tcp::endpoint> addresses;  // some resolvers say one twice
    for (const auto& entry : found) addresses.insert(entry.endpoint());
    std::optional<int> port;
    for (tcp::endpoint endpoint : addresses) {
      if (port.has_value()) endpoint.port(static_cast<uint16_t>(*port));
      doors_.emplace_back(io_);
      if (const Error failed = OpenDoor(endpoint, &doors_.back().acceptor); failed) {
        doors_.pop_back();
        error = failed;
        if (IsNotHere(failed)) continue;
        doors_.clear();
        break;
      }
      port = doors_.back().acceptor.local_endpoint().port();
    }
    if (doors_.empty()) {
      return Unavailable(fmt::format("cannot listen on {}: {}", address, error.message()));
    }
    port_ = *port;
    return OkStatus();
  }

  void Start() {
    for (Door& door : doors_) Accept(door);
    thread_ = std::thread([this] { Run(); });
    pthread_setname_np(thread_.native_handle(), "precis-http");
  }

  int port() const { return port_; }

 private:
  void Run() {
    for (;;) {
      try {
        io_.run();
        return;
      } catch (const std::exception& error) {  // memory: of one connection
        spdlog::error("http: {}", error.what());
      }
    }
  }

  void Accept(Door& door) {
    door.acceptor.async_accept([this, &door](const Error& error, tcp::socket socket) {
      if (!error || error == boost::system::errc::connection_aborted) {
        Accept(door);  // first: whatever becomes of this one, the next is taken
        if (!error) Add(std::move(socket));
        return;
      }
      // No descriptor is left: one of ours becomes free.
      DropOldest();
      door.pause.expires_after(kAcceptPause);
      door.pause.async_wait([this, &door](const Error&) { Accept(door); });
    });
  }

  void Add(tcp::socket socket) {
    if (connections_.size() >= limits_.max_connections) DropOldest();
    auto connection = std::make_shared<HttpConnection>(std::move(socket), limits_, routes_, *this);
    connection->place = connections_.insert(connections_.end(), connection);
    connection->Start();
  }

  void DropOldest() {
    if (connections_.empty()) return;
    const auto oldest = connections_.front();
    connections_.pop_front();
    oldest->Cut();
    if (on_drop_) on_drop_();
  }

  void MovedOn(HttpConnection& connection) override {
    connections_.splice(connections_.end(), connections_, connection.place);
  }
  void Ended(HttpConnection& connection) override { connections_.erase(connection.place); }

  const HttpLimits limits_;
  const std::vector<HttpRoute> routes_;
  const std::function<void()> on_drop_;
  asio::io_context io_{1};
  std::list<Door> doors_;
  std::list<std::shared_ptr<HttpConnection>> connections_;  // who moved on longest ago is first
  int port_ = 0;
  std::thread thread_;
};

HttpListener::HttpListener(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpListener::~HttpListener() = default;
int HttpListener::port() const { return state_->port(); }

StatusOr<std::unique_ptr<HttpListener>> HttpListener::Open(const std::string& address,
                                                           const HttpLimits& limits,
                                                           std::vector<HttpRoute> routes,
                                                           std::function<void()> on_drop) {
  auto state = std::make_unique<State>(limits, std::move(routes), std::move(on_drop));
  PRECIS_RETURN_IF_ERROR(state->Listen(address));
  state->Start();
  return std::unique_ptr<HttpListener>(new HttpListener(std::move(state)));
}

}  // namespace precis
