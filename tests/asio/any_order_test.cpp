// SPDX-License-Identifier: MIT
//
// A context, a wheel on it and all there is of that wheel end in every order there is, at every
// stage of their timers. What is left can be asked for everything at each step; callables and
// handlers run at most once, and each is destroyed once. Mostly for AddressSanitizer.

#include "manual_clock.hpp"
#include "timer_kinds.hpp"

#include <kestrel/timer_service.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <system_error>
#include <vector>

using namespace kestrel_tests;

namespace {

/// Is made once, called at most once, and destroyed once, wherever it is moved to meanwhile.
class once {
public:
  struct count {
    int made = 0;
    int called = 0;
    int called_twice = 0;
    int destroyed = 0;
  };

  explicit once(count& c) : body_(new body{c}) { ++c.made; }

  template <class... Results>
  void operator()(Results&&...) {
    ++body_->of.called;
    if (body_->called++ != 0)
      ++body_->of.called_twice;
  }

private:
  struct body {
    count& of;
    int called = 0;
    ~body() { ++of.destroyed; }
  };

  std::unique_ptr<body> body_;
};

/// One of each, and timers that are bound, waited for, and belong to handles.
struct world {
  world() {
    io.emplace();
    other_io.emplace();
    wheel.emplace(*io);
    service.emplace(*wheel);
    signal.emplace();
    steady.emplace(*io, 10ms);
    slot.emplace(wheel->allocate());

    for (const auto delay : {manual_clock::duration(10ms), manual_clock::duration(30s)}) {
      ids.push_back(wheel->schedule_after(delay, once(handlers)));
      ids.push_back(wheel->schedule_after(
          delay, asio::bind_executor(other_io->get_executor(), once(handlers))));
      ids.push_back(wheel->schedule_after(
          delay, asio::bind_executor(asio::make_strand(*io), once(handlers))));
      ids.push_back(wheel->schedule_after(
          delay, asio::bind_cancellation_slot(signal->slot(), once(handlers))));
      ids.push_back(service->schedule_after(delay, once(handlers)));
      wheel->async_wait(ids.back(), once(handlers));
      wheel->async_wait_after(delay, once(handlers));
      handle.emplace(wheel->schedule(kestrel::timer_task::one_shot(delay, once(handlers))));
      handle->async_wait(once(handlers));
    }
    std::vector<kestrel::timer_task> tasks;
    for (int i = 0; i != 3; ++i)
      tasks.push_back(kestrel::timer_task::one_shot(i * 10ms, once(handlers)));
    batch.emplace(wheel->schedule(tasks));
    for (int i = 0; i != 4; ++i)
      service->async_receive(once(handlers));
    steady->async_wait(once(handlers));
    steady->async_wait(once(handlers));
  }

  static constexpr int parts = 6;

  void end(int part) {
    const std::array<std::function<void()>, parts> ends{[this] { io.reset(); },
                                                        [this] { wheel.reset(); },
                                                        [this] { service.reset(); },
                                                        [this] {
                                                          handle.reset();
                                                          batch.reset();
                                                          slot.reset();
                                                        },
                                                        [this] {
                                                          signal.reset();
                                                          steady.reset();
                                                        },
                                                        [this] { other_io.reset(); }};
    ends[static_cast<std::size_t>(part)]();
  }

  /// Until the timers that are due are somewhere between the wheel and their executors, or done.
  void advance(int stage) {
    if (stage == 0)
      return;
    manual_clock::advance(10ms);
    for (int i = 0; i != stage; ++i)
      io->poll_one();
    if (stage == stages - 1)
      settle(*io);
  }

  static constexpr int stages = 5;

  /// Everything that is left may be asked for anything.
  void use() {
    const kestrel::timer_id first = ids[used++ % ids.size()];
    if (wheel) {
      static_cast<void>(wheel->size());
      wheel->cancel(first);
      wheel->postpone(first, 1s);
      try {
        wheel->schedule_after(1s, once(handlers));
      } catch (const std::system_error& e) {
        CHECK(e.code() == kestrel::errc::shut_down);
      }
    }
    if (service) {
      static_cast<void>(service->size());
      service->cancel(first);
      try {
        service->schedule_after(1s, once(handlers));
      } catch (const std::system_error& e) {
        CHECK(e.code() == kestrel::errc::shut_down);
      }
    }
    if (handle) {
      static_cast<void>(handle->expiry());
      handle->postpone(2s);
      static_cast<void>(batch->size());
      batch->postpone_all(3s);
    }
    if (signal && used == 3)
      signal->emit(asio::cancellation_type::all);
    if (steady)
      steady->cancel_one();
    if (other_io) {
      other_io->restart();
      other_io->poll_one();
    }
  }

  const at_start clock;
  once::count handlers;
  std::optional<asio::io_context> other_io;
  std::optional<asio::io_context> io;
  std::optional<asio::cancellation_signal> signal;
  std::optional<manual_wheel> wheel;
  std::optional<kestrel::basic_timer_service<manual_clock>> service;
  std::optional<kestrel_timer> steady;
  std::optional<manual_wheel::handle_type> handle;
  std::optional<manual_wheel::batch_handle_type> batch;
  std::optional<kestrel::timer_slot> slot;
  std::vector<kestrel::timer_id> ids;
  std::size_t used = 0;
};

} // namespace

TEST_CASE("Contexts, wheel, service, handles and timers may be destroyed in any order",
          "[lifetimes]") {
  const int stage = GENERATE(range(0, world::stages));
  const bool used = GENERATE(false, true);
  std::array<int, world::parts> order{};
  std::iota(order.begin(), order.end(), 0);
  int orders = 0;
  do {
    CAPTURE(order);
    once::count handlers;
    {
      world w;
      w.advance(stage);
      for (const int part : order) {
        w.end(part);
        if (used)
          w.use();
      }
      handlers = w.handlers;
      CHECK(checked_mutex::take_violations() == 0);
    }
    CHECK(handlers.destroyed == handlers.made);
    CHECK(handlers.called_twice == 0);
    ++orders;
  } while (std::next_permutation(order.begin(), order.end()));
  CHECK(orders == 720);
}
