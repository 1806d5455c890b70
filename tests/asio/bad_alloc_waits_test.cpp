// SPDX-License-Identifier: MIT
//
// Whichever allocation fails, a wait has begun or was never tried: for times, for timers, for
// steady_timers, and timeouts of operations.

#include "shortage.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/steady_timer.hpp>

#include <asio/async_result.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

using namespace kestrel_tests;

// ---- Waits

namespace {

/// A handler that notes how a wait ended. One that ended before it began has not begun, for who
/// `begins` it: it might as well have been thrown at.
struct wait_note {
  scene::note_of note;
  bool* failed;

  template <class... Results>
  void operator()(asio::error_code ec, Results...) {
    if (ec)
      *failed = true;
    else
      note();
  }
};

template <class Initiate>
void begin_wait(scene& s, Initiate initiate) {
  bool failed = false;
  initiate(wait_note{s.note(7), &failed});
  with_memory([&] { settle(s.io); });
  if (failed)
    throw std::bad_alloc();
}

} // namespace

TEST_CASE("Waiting for which there is no memory has not begun", "[memory][exceptions]") {
  SECTION("for a time") {
    CHECK(whichever_allocation_fails([](scene& s) {
            begin_wait(s, [&](wait_note h) { s.wheel.async_wait_after(15ms, std::move(h)); });
          }) > 0);
  }
  SECTION("for a time, with a slot") {
    CHECK(whichever_allocation_fails([](scene& s) {
            begin_wait(s, [&](wait_note h) {
              s.wheel.async_wait_after(15ms,
                                       asio::bind_cancellation_slot(s.signal.slot(), std::move(h)));
            });
          }) > 0);
  }
  SECTION("for a timer, with a slot") {
    CHECK(whichever_allocation_fails([](scene& s) {
            if (s.one_shot)
              s.wheel.async_wait(s.one_shot, asio::bind_cancellation_slot(
                                                 s.signal.slot(), wait_note{s.note(7), nullptr}));
            else
              s.wheel.reserve(1000);
          }) > 0);
  }
  SECTION("for a timer") {
    CHECK(whichever_allocation_fails([](scene& s) {
            if (s.one_shot)
              s.wheel.async_wait(s.one_shot, wait_note{s.note(7), nullptr});
            else
              s.wheel.reserve(1000);
          }) > 0);
  }
  SECTION("through a handle") {
    CHECK(whichever_allocation_fails([](scene& s) {
            const auto handle = s.wheel.handle(s.periodic);
            if (s.periodic)
              handle.async_wait(wait_note{s.note(7), nullptr});
            else
              s.wheel.reserve(1000);
          }) > 0);
  }
  SECTION("for the timer of a task") {
    CHECK(whichever_allocation_fails([](scene& s) {
            auto task = kestrel::timer_task::one_shot(15ms, s.note(5));
            const auto handle = s.wheel.schedule(task);
            with_memory([&] { handle.async_wait(wait_note{s.note(7), nullptr}); });
          }) > 0);
  }
}

// ---- steady_timers, and timeouts of operations

namespace {

/// On a context that has, or has not, a steady_timer yet.
struct steady_scene : scene {
  auto handler(int label) {
    return [n = note(label)](asio::error_code ec) mutable {
      n.label += ec ? 1000 : 0;
      n();
    };
  }

  explicit steady_scene(int others) : scene(others) {
    if (others == 0)
      return;
    timer.emplace(io, 100ms);
    for (int i = 0; i != others; ++i) {
      waiting.emplace_back(io, 1h);
      waiting.back().async_wait([](asio::error_code) {});
    }
    timer->async_wait(handler(11));
    settle(io);
  }

  [[nodiscard]] view look() {
    view v = scene::look();
    if (timer)
      v.expiries.push_back(timer->expiry());
    return v;
  }

  [[nodiscard]] outcome finish() {
    for (int i = 0; i != 8; ++i) {
      static_cast<void>(scene::finish());
      elsewhere.restart();
      elsewhere.poll();
    }
    return scene::finish();
  }

  asio::io_context elsewhere;
  asio::strand<asio::io_context::executor_type> strand{io.get_executor()};
  std::optional<kestrel_timer> timer;
  std::vector<kestrel_timer> waiting;
};

} // namespace

TEST_CASE("What a steady_timer cannot do for want of memory it has not tried",
          "[memory][exceptions][steady_timer]") {
  const auto each = [](auto operation) {
    return whichever_allocation_fails<steady_scene>(operation);
  };
  SECTION("being made, and waiting") {
    each([](steady_scene& s) {
      with_memory([&] { s.waiting.reserve(1000); });
      kestrel_timer timer(s.io, 15ms);
      timer.async_wait(s.handler(5));
      s.waiting.push_back(std::move(timer));
    });
  }
  SECTION("waiting besides") {
    each([](steady_scene& s) {
      if (s.timer)
        s.timer->async_wait(s.handler(5));
    });
  }
  SECTION("waiting with a cancellation slot") {
    each([](steady_scene& s) {
      if (s.timer)
        s.timer->async_wait(asio::bind_cancellation_slot(s.signal.slot(), s.handler(5)));
    });
  }
  SECTION("waiting on a strand") {
    CHECK(each([](steady_scene& s) {
            if (s.timer)
              s.timer->async_wait(asio::bind_executor(s.strand, s.handler(5)));
            else
              s.wheel.reserve(1000);
          }) > 0);
  }
  SECTION("waiting on another context") {
    CHECK(each([](steady_scene& s) {
            if (s.timer)
              s.timer->async_wait(asio::bind_executor(s.elsewhere, s.handler(5)));
            else
              s.wheel.reserve(1000);
          }) > 0);
  }
  // It may ask for memory, but does without: wait_rooms.hpp tells why.
  const auto does_without = [&](auto operation) {
    bool thrown = false;
    each([&](steady_scene& s) {
      try {
        if (s.timer)
          operation(s);
      } catch (const std::bad_alloc&) {
        thrown = true;
        throw;
      }
    });
    CHECK_FALSE(thrown);
  };
  SECTION("being set to a delay does without, and ends its waits") {
    does_without([](steady_scene& s) { s.timer->expires_after(50ms); });
  }
  SECTION("nor does being set to a time") {
    does_without([](steady_scene& s) { s.timer->expires_at(manual_clock::start + 3h); });
  }
  SECTION("nor does being cancelled") {
    does_without([](steady_scene& s) { s.timer->cancel(); });
  }
  SECTION("nor does the cancellation of one wait") {
    does_without([](steady_scene& s) { s.timer->cancel_one(); });
  }
  SECTION("nor does being destroyed") {
    does_without([](steady_scene& s) { s.timer.reset(); });
  }
  SECTION("nor does a move to another kind of executor") {
    does_without([](steady_scene& s) {
      timer_on<kestrel_timer, asio::io_context::executor_type> typed(s.io);
      with_memory([&] { typed.async_wait(s.handler(6)); });
      *s.timer = std::move(typed); // whose wait ends the other one
    });
  }
  SECTION("moving needs none") {
    CHECK(each([](steady_scene& s) {
            if (!s.timer)
              return;
            kestrel_timer moved(std::move(*s.timer));
            *s.timer = std::move(moved);
          }) == 0);
  }
}

namespace {

/// An operation that ends at last, if not by its timeout, and a timer to lend.
struct timeout_scene : scene {
  using scene::scene;

  /// A timer that was scheduled and cancelled again was never tried.
  [[nodiscard]] view look() {
    view v = scene::look();
    v.scheduled -= std::exchange(v.cancelled, 0);
    return v;
  }

  auto handler(int label) {
    return [n = note(label)](asio::error_code ec) mutable {
      n.label += ec ? 1000 : 0;
      n();
    };
  }

  [[nodiscard]] outcome finish() {
    static_cast<void>(scene::finish());
    operation.cancel();
    return scene::finish();
  }

  asio_timer operation{io, manual_clock::time_point::max()};
  kestrel_timer lent{io};
};

} // namespace

TEST_CASE("A timeout for which there is no memory leaves the operation unbegun",
          "[memory][exceptions][cancel_after]") {
  const auto each = [](auto operation) {
    CHECK(whichever_allocation_fails<timeout_scene>(operation) > 0);
  };
  SECTION("after a delay, on a wheel") {
    each([](timeout_scene& s) {
      s.operation.async_wait(kestrel::cancel_after(s.wheel, 15ms, s.handler(5)));
    });
  }
  SECTION("at a time, on a wheel") {
    each([](timeout_scene& s) {
      s.operation.async_wait(kestrel::cancel_at(s.wheel, manual_clock::start + 15ms, s.handler(5)));
    });
  }
  SECTION("on the wheel of the context, of which this may be the first timer") {
    each([](timeout_scene& s) { s.operation.async_wait(kestrel::cancel_after(1h, s.handler(5))); });
  }
  SECTION("by a timer that is lent") {
    each([](timeout_scene& s) {
      s.operation.async_wait(kestrel::cancel_after(s.lent, 15ms, s.handler(5)));
    });
  }
  SECTION("at a time, by a timer that is lent") {
    each([](timeout_scene& s) {
      s.operation.async_wait(kestrel::cancel_at(s.lent, manual_clock::start + 15ms, s.handler(5)));
    });
  }
  SECTION("of a handler with a cancellation slot of its own") {
    each([](timeout_scene& s) {
      s.operation.async_wait(kestrel::cancel_after(
          s.wheel, 15ms, asio::bind_cancellation_slot(s.signal.slot(), s.handler(5))));
    });
  }
  SECTION("of an operation that is cancelled before it has wholly begun") {
    each([](timeout_scene& s) {
      auto token = kestrel::cancel_after(
          s.wheel, 15ms, asio::bind_cancellation_slot(s.signal.slot(), s.handler(5)));
      asio::async_initiate<decltype(token), void(asio::error_code)>(
          [&s](auto handler) {
            s.operation.async_wait(std::move(handler));
            s.signal.emit(asio::cancellation_type::terminal);
          },
          token);
    });
  }
  SECTION("of an operation that is deferred") {
    each([](timeout_scene& s) {
      s.operation.async_wait(kestrel::cancel_after(s.wheel, 15ms))(s.handler(5));
    });
  }
}
