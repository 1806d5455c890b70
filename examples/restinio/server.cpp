// SPDX-License-Identifier: MIT
//
// The one file that includes RESTinio. The two servers differ in their traits, by one line.

#include "server.hpp"

#include "kestrel_timer_manager.hpp"

#include <restinio/all.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace web {
namespace {

struct kestrel_traits : restinio::default_traits_t {
  using timer_manager_t = kestrel_timer_manager;
};

struct asio_traits : restinio::default_traits_t {
  using timer_manager_t = restinio::asio_timer_manager_t;
};

template <class Traits>
class restinio_server : public server {
public:
  explicit restinio_server(const server_settings& settings)
      : running_{restinio::run_async<Traits>(restinio::own_io_context(), configure(settings),
                                             settings.threads)} {}

  ~restinio_server() override {
    running_->stop();
    running_->wait();
    unanswered_.clear(); // while there still is an io_context
  }

  std::uint16_t port() const override { return port_; }
  std::uint64_t requests() const override { return requests_.load(std::memory_order_relaxed); }

private:
  restinio::server_settings_t<Traits> configure(const server_settings& settings) {
    restinio::server_settings_t<Traits> result;
    result.address("127.0.0.1")
        .port(settings.port)
        .timer_manager(settings.check_period)
        .read_next_http_message_timelimit(settings.request_timeout)
        .handle_request_timeout(settings.handling_timeout)
        .acceptor_post_bind_hook(
            [this](auto& acceptor) { port_ = acceptor.local_endpoint().port(); })
        .request_handler([this](const auto& request) { return answer(request); });
    return result;
  }

  restinio::request_handling_status_t answer(const restinio::request_handle_t& request) {
    requests_.fetch_add(1, std::memory_order_relaxed);
    if (request->header().path() == "/never") {
      const std::lock_guard lock{mutex_};
      unanswered_.push_back(request);
      return restinio::request_accepted();
    }
    return request->create_response()
        .append_header(restinio::http_field::content_type, "text/plain")
        .set_body("Hello, world!\n")
        .done();
  }

  std::uint16_t port_ = 0;
  std::atomic<std::uint64_t> requests_{0};
  std::mutex mutex_;
  std::vector<restinio::request_handle_t> unanswered_; // which keep their connections alive
  restinio::running_server_handle_t<Traits> running_;
};

} // namespace

std::unique_ptr<server> start_server(const server_settings& settings) {
  if (settings.timers == backend::kestrel) {
    return std::make_unique<restinio_server<kestrel_traits>>(settings);
  }
  return std::make_unique<restinio_server<asio_traits>>(settings);
}

} // namespace web
