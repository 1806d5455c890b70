// SPDX-License-Identifier: MIT
//
// executor_base: what Asio asks of an executor, but for `execute`, for those that tests make.

#ifndef KESTREL_TESTS_EXECUTOR_BASE_HPP
#define KESTREL_TESTS_EXECUTOR_BASE_HPP

#include <asio/execution.hpp>
#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>

namespace kestrel_tests {

/// Says that it never blocks.
template <class Derived>
class executor_base {
public:
  explicit executor_base(asio::io_context& io) noexcept : io_{&io} {}

  asio::execution_context& query(asio::execution::context_t) const noexcept { return *io_; }
  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept {
    return asio::execution::blocking.never;
  }
  Derived require(asio::execution::blocking_t::never_t) const {
    return static_cast<const Derived&>(*this);
  }

  friend bool operator==(const executor_base&, const executor_base&) noexcept = default;

protected:
  [[nodiscard]] asio::io_context& io() const noexcept { return *io_; }

private:
  asio::io_context* io_;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_EXECUTOR_BASE_HPP
