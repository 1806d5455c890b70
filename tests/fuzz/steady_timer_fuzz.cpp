// SPDX-License-Identifier: MIT
//
// steady_timers of one context on a clock that the fuzzer moves: each wait ends once, as it was
// bound to, never early and at most one tick late, and what cancels it tells how many it cancels.

#include "asio/timer_kinds.hpp"
#include "byte_reader.hpp"
#include "fuzz_target.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace kestrel_tests;
using time_point = manual_clock::time_point;
using std::chrono::nanoseconds;

struct thrown_by_handler {};

class timers_run {
  static constexpr nanoseconds tick = std::chrono::milliseconds(1);
  static constexpr std::size_t most = 6; // timers

  struct wait {
    time_point expiry;
    bool cancelled = false;
    bool over = false;
    bool destroyed = false;
    std::unique_ptr<asio::cancellation_signal> signal = nullptr;
  };

  struct user {
    std::optional<kestrel_timer> timer;
    time_point expiry;
    std::vector<std::size_t> waits; // that are not over, in order
  };

  /// A handler whose end is noticed, called or not.
  class handler {
  public:
    handler(timers_run& on, std::size_t number) : on_{&on}, number_{number} {}
    handler(handler&& other) noexcept
        : on_{std::exchange(other.on_, nullptr)}, number_{other.number_} {}
    handler& operator=(handler&&) = delete;
    ~handler() {
      if (on_ != nullptr)
        on_->waits_[number_].destroyed = true;
    }
    void operator()(asio::error_code ec) { on_->ends(number_, ec); }

  private:
    timers_run* on_;
    std::size_t number_;
  };

public:
  explicit timers_run(byte_reader& in) : in_{in} {
    manual_clock::set(manual_clock::start);
    io_ = std::make_unique<asio::io_context>(1);
    strand_.emplace(io_->get_executor());
    latest_ = now();
    // The wheel begins here, and the clock will not step back behind that.
    kestrel_timer(*io_).async_wait([](asio::error_code) {});
  }

  void run() {
    const bool context_first = in_.number(1) % 2 == 1;
    for (; !in_.done(); ++step_)
      operation(in_.number(1), false);
    settle();
    if (context_first) {
      strand_.reset();
      io_.reset();
    }
    for (user& u : users_)
      destroy(u);
    settle();
    for (const wait& w : waits_) {
      check(w.over || context_first, "every wait ends");
      check(w.destroyed, "a handler is destroyed");
    }
  }

private:
  void check(bool condition, const char* what) const {
    if (!condition)
      throw std::logic_error(std::string(what) + ", step " + std::to_string(step_));
  }

  static time_point now() { return manual_clock::now(); }

  user& any() { return users_[in_.number(1) % most]; }

  void operation(std::uint64_t which, bool inside) {
    user& u = any();
    switch (which % 16) {
    case 0:
    case 1:
    case 2:
      return begin_wait(u);
    case 3:
    case 4:
      return expires(u, false);
    case 5:
      return expires(u, true);
    case 6:
      if (u.timer)
        check(u.timer->cancel() == cancels(u), "cancel tells how many");
      return;
    case 7:
      return cancel_one(u);
    case 8:
      return emit();
    case 9:
      return move(u, any());
    case 10:
      return destroy(u);
    case 11:
      manual_clock::advance(distance());
      latest_ = std::max(latest_, now());
      return;
    default:
      break;
    }
    if (inside)
      return;
    switch (which % 16) {
    case 12:
      return poll_some();
    case 13:
      manual_clock::advance(-std::min<nanoseconds>(distance(), now() - manual_clock::start));
      return;
    default:
      manual_clock::advance(distance());
      latest_ = std::max(latest_, now());
      settle();
    }
  }

  nanoseconds distance() {
    const std::uint64_t kind = in_.number(1);
    const auto n = static_cast<std::int64_t>(in_.number(1));
    switch (kind % 8) {
    case 0:
    case 1:
      return n % 12 * tick;
    case 2:
      return n * tick;
    case 3:
      return n * 100 * tick + static_cast<std::int64_t>(in_.number(1)) * tick;
    case 4:
      return nanoseconds(n);
    case 5:
      return (n % 12 + 1) * tick + nanoseconds(static_cast<std::int64_t>(in_.number(1)) - 128);
    case 6:
      return nanoseconds(std::int64_t{1} << (n % 50));
    default:
      return n % 20 * 64 * 1000 * tick + n / 20 * tick;
    }
  }

  void need(user& u) {
    if (u.timer)
      return;
    u.timer.emplace(*io_);
    u.expiry = time_point();
  }

  void begin_wait(user& u) {
    if (waits_.size() == 2'000)
      return;
    need(u);
    const std::size_t number = waits_.size();
    wait& w = waits_.emplace_back();
    w.expiry = u.expiry;
    u.waits.push_back(number);
    switch (in_.number(1) % 4) {
    case 0:
      u.timer->async_wait(asio::bind_executor(*strand_, handler(*this, number)));
      return;
    case 1:
      w.signal = std::make_unique<asio::cancellation_signal>();
      u.timer->async_wait(asio::bind_cancellation_slot(w.signal->slot(), handler(*this, number)));
      return;
    default:
      u.timer->async_wait(handler(*this, number));
    }
  }

  void expires(user& u, bool absolute) {
    need(u);
    const nanoseconds d = in_.number(1) % 16 == 1 ? nanoseconds::max()
                                                  : (in_.number(1) % 8 == 1 ? -1 : 1) * distance();
    const std::size_t expected = cancels(u);
    if (absolute) {
      u.expiry = d == nanoseconds::max() ? time_point::max() : now() + d;
      check(u.timer->expires_at(u.expiry) == expected, "expires_at tells how many");
    } else {
      u.expiry = d > time_point::max() - now() ? time_point::max() : now() + d;
      check(u.timer->expires_after(d) == expected, "expires_after tells how many");
    }
    check(u.timer->expiry() == u.expiry, "the expiry is what was set");
  }

  /// All waits of a timer are cancelled. Tells how many were not yet.
  std::size_t cancels(user& u) {
    std::size_t n = 0;
    for (const std::size_t number : u.waits)
      n += std::exchange(waits_[number].cancelled, true) ? 0u : 1u;
    return n;
  }

  void cancel_one(user& u) {
    if (!u.timer)
      return;
    const auto first = std::find_if(u.waits.begin(), u.waits.end(),
                                    [&](std::size_t n) { return !waits_[n].cancelled; });
    const bool expected = first != u.waits.end();
    if (expected)
      waits_[*first].cancelled = true;
    check(u.timer->cancel_one() == (expected ? 1u : 0u), "cancel_one tells how many");
  }

  void emit() {
    if (waits_.empty())
      return;
    wait& w = waits_[waits_.size() - 1 - in_.number(1) % waits_.size()];
    if (w.signal == nullptr)
      return;
    const std::uint64_t type = in_.number(1) % 4;
    w.cancelled = w.cancelled || (type != 3 && !w.over);
    w.signal->emit(std::array{asio::cancellation_type::terminal, asio::cancellation_type::partial,
                              asio::cancellation_type::total, asio::cancellation_type::none}[type]);
  }

  void move(user& from, user& to) {
    if (!from.timer || &from == &to)
      return;
    if (to.timer) {
      cancels(to);
      *to.timer = std::move(*from.timer);
    } else {
      to.timer.emplace(std::move(*from.timer));
    }
    to.waits = std::exchange(from.waits, {});
    to.expiry = std::exchange(from.expiry, time_point());
    check(from.timer->expiry() == from.expiry && to.timer->expiry() == to.expiry,
          "an expiry moves along");
  }

  void destroy(user& u) {
    if (!u.timer)
      return;
    cancels(u);
    u.timer.reset();
    u.waits.clear();
  }

  void ends(std::size_t number, asio::error_code ec) {
    wait& w = waits_[number];
    check(!std::exchange(w.over, true), "a wait ends once");
    for (user& u : users_)
      std::erase(u.waits, number);
    if (w.cancelled)
      check(ec == asio::error::operation_aborted, "what was cancelled is aborted");
    else
      check(!ec && w.expiry <= latest_, "never early, and not aborted");
    const std::uint64_t what = in_.number(1);
    if (what < 100)
      return;
    operation(in_.number(1), true);
    if (what % 8 == 7)
      throw thrown_by_handler{};
  }

  void poll_some() {
    try {
      io_->restart();
      for (std::uint64_t n = in_.number(1) % 4; n != 0; --n)
        io_->poll_one();
    } catch (const thrown_by_handler&) {
    }
  }

  void settle() {
    if (io_ == nullptr)
      return;
    for (;;) {
      try {
        io_->restart();
        if (io_->poll() == 0)
          break;
      } catch (const thrown_by_handler&) {
      }
    }
    bool all = true;
    for (const wait& w : waits_) {
      check(w.over || !w.cancelled, "what was cancelled ends at once");
      // Where the clock has stepped back, waits may be late by as much.
      check(w.over || now() < latest_ || now() - tick < w.expiry, "at most one tick late");
      all = all && w.over;
    }
    check(!all || io_->stopped(), "without waits, no context is kept running");
  }

  byte_reader& in_;
  std::deque<wait> waits_;
  std::unique_ptr<asio::io_context> io_;
  std::optional<asio::strand<asio::io_context::executor_type>> strand_;
  std::array<user, most> users_;
  time_point latest_;
  std::size_t step_ = 0;
};

} // namespace

void kestrel_tests::fuzz(std::span<const std::byte> bytes) {
  byte_reader in(bytes);
  timers_run(in).run();
}
