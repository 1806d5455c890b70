// SPDX-License-Identifier: MIT
//
// steady_timers of one context on a clock that the fuzzer moves: each wait ends once, as it was
// bound to, never early and at most one tick late, and what cancels it tells how many it cancels.
// Memory that runs out keeps a wait from beginning, but from nothing else.

#include "asio/timer_kinds.hpp"
#include "byte_reader.hpp"
#include "failing_new.hpp"
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
#include <new>
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
    std::size_t began = 0; // how many polls there were before that lacked memory
    bool cancelled = false;
    bool may_be_sent = false; // when it was cancelled
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
    const std::uint64_t kind = in_.number(1);
    const bool context_first = kind % 2 == 1;
    memory_may_fail_ = kind >= 128;
    for (; !in_.done(); ++step_)
      operation(in_.number(1), false);
    memory_is_short_ = false;
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
    which %= 16;
    if (which < 3)
      return begin_wait(u);
    if (which < 11) {
      const memory_for this_operation(short_or_not());
      return operation(which, u);
    }
    if (which == 11) {
      manual_clock::advance(distance());
      latest_ = std::max(latest_, now());
      return;
    }
    if (which == 12 && memory_may_fail_) {
      memory_is_short_ = in_.number(1) % 4 != 0;
      return;
    }
    if (inside)
      return;
    switch (which) {
    case 12:
    case 13:
      return poll_some();
    case 14:
      manual_clock::advance(-std::min<nanoseconds>(distance(), now() - manual_clock::start));
      return;
    default:
      manual_clock::advance(distance());
      latest_ = std::max(latest_, now());
      settle();
    }
  }

  /// Those that need no memory.
  void operation(std::uint64_t which, user& u) {
    switch (which) {
    case 3:
    case 4:
      return expires(u, false);
    case 5:
      return expires(u, true);
    case 6:
      if (u.timer) {
        const bounds expected = cancels(u);
        check(expected.contain(u.timer->cancel()), "cancel tells how many");
      }
      return;
    case 7:
      return cancel_one(u);
    case 8:
      return emit();
    case 9:
      return move(u, any());
    default:
      return destroy(u);
    }
  }

  /// How many allocations succeed.
  std::size_t short_or_not() { return memory_is_short_ ? in_.number(1) % 4 : no_failure; }

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
    w.began = polls_in_need_ - (polls_in_need_ != 0 && is_polling_ ? 1 : 0);
    const std::uint64_t kind = in_.number(1) % 4;
    if (kind == 1)
      w.signal = std::make_unique<asio::cancellation_signal>();
    const std::size_t budget = short_or_not();
    try {
      const memory_for the_wait(budget);
      begin_wait(*u.timer, kind, number);
    } catch (const std::bad_alloc&) {
      check(memory_is_short_, "there was memory");
      check(w.destroyed, "a wait that cannot begin destroys its handler");
      w.over = true;
      return;
    }
    u.waits.push_back(number);
  }

  void begin_wait(kestrel_timer& timer, std::uint64_t kind, std::size_t number) {
    switch (kind) {
    case 0: // a strand without memory for its own handler loses all others
      if (!memory_may_fail_)
        return timer.async_wait(asio::bind_executor(*strand_, handler(*this, number)));
      return timer.async_wait(asio::bind_executor(io_->get_executor(), handler(*this, number)));
    case 1:
      return timer.async_wait(
          asio::bind_cancellation_slot(waits_[number].signal->slot(), handler(*this, number)));
    default:
      return timer.async_wait(handler(*this, number));
    }
  }

  void expires(user& u, bool absolute) {
    need(u);
    const nanoseconds d = in_.number(1) % 16 == 1 ? nanoseconds::max()
                                                  : (in_.number(1) % 8 == 1 ? -1 : 1) * distance();
    const bounds expected = cancels(u);
    if (absolute) {
      u.expiry = d == nanoseconds::max() ? time_point::max() : now() + d;
      check(expected.contain(u.timer->expires_at(u.expiry)), "expires_at tells how many");
    } else {
      u.expiry = d > time_point::max() - now() ? time_point::max() : now() + d;
      check(expected.contain(u.timer->expires_after(d)), "expires_after tells how many");
    }
    check(u.timer->expiry() == u.expiry, "the expiry is what was set");
  }

  /// A wait that finds no memory on its way cannot be cancelled there.
  [[nodiscard]] bool may_be_sent(const wait& w) const {
    return w.expiry <= latest_ && w.began < polls_in_need_;
  }

  void is_cancelled(wait& w) const {
    w.may_be_sent = w.cancelled ? w.may_be_sent : may_be_sent(w);
    w.cancelled = true;
  }

  struct bounds {
    [[nodiscard]] bool contain(std::size_t n) const { return least <= n && n <= most; }

    std::size_t least = 0;
    std::size_t most = 0;
  };

  /// All waits of a timer are cancelled. Tells how many were not yet.
  bounds cancels(user& u) {
    bounds n;
    for (const std::size_t number : u.waits) {
      wait& w = waits_[number];
      if (w.cancelled)
        continue;
      is_cancelled(w);
      n.least += w.may_be_sent ? 0u : 1u;
      ++n.most;
    }
    return n;
  }

  void cancel_one(user& u) {
    if (!u.timer || std::any_of(u.waits.begin(), u.waits.end(),
                                [&](std::size_t n) { return may_be_sent(waits_[n]); }))
      return;
    const auto first = std::find_if(u.waits.begin(), u.waits.end(),
                                    [&](std::size_t n) { return !waits_[n].cancelled; });
    const bool expected = first != u.waits.end();
    if (expected)
      is_cancelled(waits_[*first]);
    check(u.timer->cancel_one() == (expected ? 1u : 0u), "cancel_one tells how many");
  }

  void emit() {
    if (waits_.empty())
      return;
    wait& w = waits_[waits_.size() - 1 - in_.number(1) % waits_.size()];
    if (w.signal == nullptr)
      return;
    const std::uint64_t type = in_.number(1) % 4;
    if (type != 3 && !w.over)
      is_cancelled(w);
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
    const memory_for this_handler(no_failure);
    wait& w = waits_[number];
    check(!std::exchange(w.over, true), "a wait ends once");
    for (user& u : users_)
      std::erase(u.waits, number);
    if (ec)
      check(ec == asio::error::operation_aborted && w.cancelled, "what is aborted was cancelled");
    else
      check(!w.cancelled || w.may_be_sent, "what was cancelled is aborted");
    check(ec || w.expiry <= latest_, "never early");
    const std::uint64_t what = in_.number(1);
    if (what < 100)
      return;
    operation(in_.number(1), true);
    if (what % 8 == 7)
      throw thrown_by_handler{};
  }

  /// When there is no memory for what comes next, the next one who runs the context goes on.
  void poll_some() {
    const std::uint64_t n = in_.number(1) % 4;
    const std::size_t budget = short_or_not();
    polls_in_need_ += budget != no_failure ? 1u : 0u;
    is_polling_ = true;
    try {
      const memory_for the_handlers(budget);
      io_->restart();
      for (std::uint64_t i = 0; i != n; ++i)
        io_->poll_one();
    } catch (const thrown_by_handler&) {
    } catch (const std::bad_alloc&) {
      check(budget != no_failure, "there was memory");
    }
    is_polling_ = false;
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
  bool memory_may_fail_ = false;
  bool memory_is_short_ = false;
  std::size_t polls_in_need_ = 0; // that lacked memory
  bool is_polling_ = false;
};

} // namespace

void kestrel_tests::fuzz(std::span<const std::byte> bytes) {
  byte_reader in(bytes);
  timers_run(in).run();
}
