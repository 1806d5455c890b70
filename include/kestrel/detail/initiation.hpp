// SPDX-License-Identifier: MIT
//
// initiation: the function that initiates an operation of a wheel, and tells where it completes, as
// adapters of completion tokens ask it.

#ifndef KESTREL_DETAIL_INITIATION_HPP
#define KESTREL_DETAIL_INITIATION_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/timer_host.hpp>

#include <memory>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// `host` is null for an operation that belongs to no wheel. `f` starts the operation.
template <class F>
class initiation {
public:
  using executor_type = net::any_io_executor;

  initiation(std::shared_ptr<timer_host> host, F f) : host_(std::move(host)), f_(std::move(f)) {}

  executor_type get_executor() const noexcept {
    return host_ != nullptr ? host_->any_executor() : executor_type(net::system_executor());
  }

  template <class Handler, class... Args>
  void operator()(Handler&& handler, Args&&... args) const {
    f_(std::forward<Handler>(handler), std::forward<Args>(args)...);
  }

private:
  std::shared_ptr<timer_host> host_;
  F f_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_INITIATION_HPP
