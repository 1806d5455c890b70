// SPDX-License-Identifier: MIT
//
// Virtual time: programs with wheels of the types they always use, hours that pass at once, each
// timer at its own time, and every order of creation and destruction.

#include "error_of.hpp"
#include "executor_base.hpp"
#include "manual_clock.hpp"

#include <kestrel/steady_timer.hpp>
#include <kestrel/testing.hpp>
#include <kestrel/timer_service.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/write.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using kestrel::testing::virtual_time;
using kestrel_tests::checked_mutex;
using kestrel_tests::error_of;

namespace {

using std::chrono::steady_clock;

/// What most tests begin with: a wheel of the default type, under virtual time.
struct under_virtual_time {
  asio::io_context io;
  virtual_time time{io};
  kestrel::timer_wheel wheel{io};
  const steady_clock::time_point start = time.now();

  /// A callback that notes when it ran.
  auto note(std::vector<steady_clock::duration>& times) {
    return [this, &times] { times.push_back(time.now() - start); };
  }
};

using durations = std::vector<steady_clock::duration>;

struct calendar : kestrel::default_wheel_traits {
  using clock = std::chrono::system_clock;
  using wait_traits = asio::wait_traits<clock>;
};

struct checked : kestrel::default_wheel_traits {
  using mutex = checked_mutex;
};

/// Runs things at once, and notes how often it was called while a wheel's lock was held.
class watching_executor : public kestrel_tests::executor_base<watching_executor> {
public:
  watching_executor(asio::io_context& io, int& under_lock) noexcept
      : executor_base(io), under_lock_{&under_lock} {}

  template <class F>
  void execute(F f) const {
    *under_lock_ += checked_mutex::held();
    f();
  }

private:
  int* under_lock_;
};

} // namespace

// ---- Advancing

TEST_CASE_METHOD(under_virtual_time, "Each timer fires at its own time, however far time advances",
                 "[testing]") {
  durations fired;
  for (const steady_clock::duration d :
       {steady_clock::duration(7h), steady_clock::duration(30ms), steady_clock::duration(10 * 24h),
        steady_clock::duration(1min)})
    wheel.schedule_after(d, note(fired));
  time.advance(365 * 24h);
  CHECK(fired == durations{30ms, 1min, 7h, 10 * 24h});
  CHECK(time.now() == start + 365 * 24h);
}

TEST_CASE_METHOD(under_virtual_time, "A timer does not fire before time has come to its deadline",
                 "[testing]") {
  durations fired;
  wheel.schedule_after(1h, note(fired));
  time.advance(1h - 1ns);
  CHECK(fired.empty());
  time.advance(1ns);
  CHECK(fired == durations{1h});
}

TEST_CASE_METHOD(under_virtual_time, "A deadline between two ticks comes at the second of them",
                 "[testing]") {
  durations fired;
  wheel.schedule_after(25ms, note(fired));
  time.advance(25ms);
  CHECK(fired.empty());
  time.advance(5ms);
  CHECK(fired == durations{30ms});
}

TEST_CASE_METHOD(under_virtual_time, "What a timer schedules within the span fires in it as well",
                 "[testing]") {
  durations fired;
  wheel.schedule_after(10min, [&] {
    fired.push_back(time.now() - start);
    wheel.schedule_after(20min, [&] {
      fired.push_back(time.now() - start);
      wheel.schedule_after(0s, note(fired));
      wheel.schedule_after(30min, note(fired));
      wheel.schedule_after(31min, note(fired));
    });
  });
  time.advance(1h);
  CHECK(fired == durations{10min, 30min, 30min, 1h});
  CHECK(wheel.size() == 1);
}

TEST_CASE_METHOD(under_virtual_time, "A periodic timer fires in each of its periods", "[testing]") {
  durations fired;
  wheel.schedule_every(90min, 1h, note(fired));
  time.advance(4h);
  CHECK(fired == durations{90min, 150min, 210min});
}

TEST_CASE_METHOD(under_virtual_time, "Whatever is ready runs before time moves on", "[testing]") {
  std::vector<steady_clock::duration> ran;
  wheel.schedule_after(1s, [&] {
    asio::post(io, [&] {
      asio::post(io, note(ran)); // still at the same time
    });
  });
  wheel.schedule_after(2s, [&] {});
  asio::post(io, note(ran));
  time.advance(1h);
  CHECK(ran == durations{0s, 1s});
}

TEST_CASE_METHOD(under_virtual_time, "Time can be advanced to a point, and never goes back",
                 "[testing]") {
  durations fired;
  wheel.schedule_at(start + 1h, note(fired));
  time.advance_to(start + 1h);
  CHECK(fired == durations{1h});
  wheel.schedule_after(0s, note(fired));
  time.advance_to(start);
  CHECK(fired == durations{1h, 1h}); // what is ready runs
  time.advance(-1h);
  CHECK(time.now() == start + 1h);
  time.advance(steady_clock::duration::max());
  const auto end = time.now();
  time.advance(1h);
  CHECK(time.now() == end);
}

TEST_CASE_METHOD(under_virtual_time, "The next timer is none whose waits were cancelled",
                 "[testing]") {
  durations fired;
  kestrel::steady_timer cancelled(io);
  const auto wait_and_cancel = [&] {
    cancelled.expires_after(500ms); // in a slot that it does not share with the others
    cancelled.async_wait([](asio::error_code ec) { CHECK(ec == asio::error::operation_aborted); });
    CHECK(cancelled.cancel() == 1);
  };
  kestrel::steady_timer event(io, kestrel::steady_timer::time_point::max());
  event.async_wait([](asio::error_code) {});
  kestrel::steady_timer waited_for(io, 10h);
  waited_for.async_wait([note = note(fired)](asio::error_code) mutable { note(); });
  wait_and_cancel();
  CHECK(time.advance_to_next());
  CHECK(fired == durations{10h});
  wait_and_cancel();
  CHECK_FALSE(time.advance_to_next());
  CHECK(time.now() == start + 10h);
}

TEST_CASE_METHOD(under_virtual_time, "What is set for the end of time never fires", "[testing]") {
  durations fired;
  asio::error_code woken;
  kestrel::steady_timer event(io,
                              steady_clock::time_point::max()); // for cancel() to wake who waits
  const bool waits = GENERATE(false, true);
  if (waits)
    event.async_wait([&](asio::error_code ec) { woken = ec; });
  else
    wheel.schedule_after(steady_clock::duration::max(), note(fired));
  wheel.schedule_after(1h, note(fired));
  SECTION("though one goes from timer to timer") {
    CHECK(time.advance_to_next());
    CHECK_FALSE(time.advance_to_next());
    CHECK(time.now() == start + 1h);
  }
  SECTION("though one waits for the end") {
    CHECK_FALSE(time.run_until_done(steady_clock::duration::max()));
    CHECK(time.now() == steady_clock::time_point::max());
  }
  SECTION("though one goes there") {
    time.advance(steady_clock::duration::max());
    CHECK(time.now() == steady_clock::time_point::max());
    time.advance_to(steady_clock::time_point::max());
    wheel.schedule_after(0s, note(fired));
    wheel.schedule_after(1h, note(fired)); // it is too late for that
    time.advance(2h);
    CHECK(fired.size() == 2);
    fired.pop_back();
  }
  CHECK(fired == durations{1h});
  if (waits) {
    CHECK(event.cancel() == 1);
    time.run_until_idle();
    CHECK(woken == asio::error::operation_aborted);
  }
}

TEST_CASE_METHOD(under_virtual_time, "How far to advance must be a number", "[testing]") {
  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  CHECK(error_of([&] { time.advance(nan); }) == kestrel::errc::invalid_delay);
  CHECK(error_of([&] { time.run_until_done(nan); }) == kestrel::errc::invalid_delay);
  CHECK(time.now() == start);
  time.advance(std::chrono::duration<double>(0.5));
  CHECK(time.now() == start + 500ms);
}

TEST_CASE_METHOD(under_virtual_time, "Until idle, time does not move", "[testing]") {
  durations fired;
  wheel.schedule_after(0s, note(fired));
  wheel.schedule_after(10ms, note(fired));
  asio::post(io, note(fired));
  time.run_until_idle();
  CHECK(fired.size() == 2);
  CHECK(time.now() == start);
}

TEST_CASE_METHOD(under_virtual_time, "The next deadline is where the next timer fires",
                 "[testing]") {
  durations fired;
  wheel.schedule_after(100h, note(fired)); // it comes down a level on the way
  const auto postponed = wheel.schedule_after(1s, note(fired));
  const auto cancelled = wheel.schedule_after(2s, note(fired));
  wheel.schedule_after(25ms, note(fired));
  wheel.postpone(postponed, 50h); // what is left of it in the wheel wakes nobody up
  wheel.cancel(cancelled);
  CHECK(time.advance_to_next());
  CHECK(fired == durations{30ms});
  CHECK(time.advance_to_next());
  CHECK(fired == durations{30ms, 50h});
  CHECK(time.advance_to_next());
  CHECK(fired == durations{30ms, 50h, 100h});
  CHECK(time.now() == start + 100h);
  CHECK_FALSE(time.advance_to_next());
  CHECK(time.now() == start + 100h);
}

TEST_CASE_METHOD(under_virtual_time, "The timers of one deadline fire together", "[testing]") {
  int fired = 0;
  for (int i = 0; i != 1000; ++i) // more than a wheel runs at a time
    wheel.schedule_after(1h, [&] { ++fired; });
  CHECK(time.advance_to_next());
  CHECK(fired == 1000);
  CHECK_FALSE(time.advance_to_next());
}

TEST_CASE_METHOD(under_virtual_time, "The next deadline may be that of a timer that ends its wheel",
                 "[testing]") {
  std::optional<kestrel::timer_wheel> other(std::in_place, io);
  other->schedule_after(1h, [&] { other.reset(); });
  wheel.schedule_after(2h, [] {});
  CHECK(time.advance_to_next());
  CHECK_FALSE(other);
  CHECK(time.now() == start + 1h);
}

TEST_CASE_METHOD(under_virtual_time, "A program can be run until it has no timer left",
                 "[testing]") {
  durations fired;
  std::function<void(int)> again = [&](int left) {
    fired.push_back(time.now() - start);
    if (left != 0)
      wheel.schedule_after(1h, [&again, left] { again(left - 1); });
  };
  asio::post(io, [&] { again(3); });
  CHECK(time.run_until_done(24h));
  CHECK(fired == durations{0h, 1h, 2h, 3h});
  CHECK(time.now() == start + 3h);
  CHECK(time.run_until_done(24h));
  CHECK(time.now() == start + 3h);
}

TEST_CASE_METHOD(under_virtual_time, "A program that goes on for ever is run up to a limit",
                 "[testing]") {
  int beats = 0;
  wheel.schedule_every(1min, 1min, [&] { ++beats; });
  CHECK_FALSE(time.run_until_done(1h + 30s));
  CHECK(beats == 60);
  CHECK(time.now() == start + 1h + 30s);
}

TEST_CASE_METHOD(under_virtual_time, "A timer may advance the time in which it fires",
                 "[testing]") {
  durations fired;
  wheel.schedule_after(1h, [&] {
    time.advance(2h);
    fired.push_back(time.now() - start);
  });
  wheel.schedule_after(2h, note(fired));
  wheel.schedule_after(4h, note(fired));
  time.advance(90min); // which is over when it is its turn
  CHECK(fired == durations{2h, 3h});
  CHECK(time.now() == start + 3h);
  CHECK(time.advance_to_next());
  CHECK(time.now() == start + 4h);
}

// ---- The time that programs see

TEST_CASE_METHOD(under_virtual_time, "A wheel tells the time it goes by", "[testing]") {
  kestrel::timer_wheel later{io};
  time.advance(5h);
  CHECK(wheel.now() == start + 5h);
  CHECK(later.now() == time.now());
  CHECK(kestrel::timer_wheel(io).now() == time.now());
  const auto id = wheel.schedule_after(1h, [] {});
  CHECK(wheel.expiry(id) == start + 6h);
}

TEST_CASE("A wheel on the real time tells that of its clock", "[testing]") {
  asio::io_context io;
  const kestrel::timer_wheel wheel{io};
  const auto before = steady_clock::now();
  const auto now = wheel.now();
  CHECK(before <= now);
  CHECK(now <= steady_clock::now());
}

TEST_CASE("Virtual time begins at what the clock shows", "[testing]") {
  asio::io_context io;
  const auto before = steady_clock::now();
  virtual_time time{io};
  const auto now = time.now();
  CHECK(before <= now);
  CHECK(now <= steady_clock::now());
  CHECK(time.now() == now);
}

TEST_CASE_METHOD(under_virtual_time, "Wheels of other clocks go by the same time", "[testing]") {
  using std::chrono::system_clock;
  kestrel::basic_timer_wheel<asio::any_io_executor, calendar> dates{io};
  const auto today = time.now<system_clock>();
  durations fired;
  dates.schedule_at(today + 24h, note(fired));
  dates.schedule_after(36h, note(fired));
  wheel.schedule_after(30h, note(fired));
  time.advance_to(today + 35h);
  CHECK(fired == durations{24h, 30h});
  time.advance(1h);
  CHECK(fired == durations{24h, 30h, 36h});
  CHECK(dates.now() == today + 36h);
}

TEST_CASE("The same program does the same in the same order every time", "[testing]") {
  const auto run = [] {
    asio::io_context io;
    virtual_time time{io};
    kestrel::timer_wheel wheel{io};
    kestrel::timer_wheel fine{io, kestrel::wheel_config::network_timeouts()};
    std::mt19937_64 random(7);
    std::vector<std::pair<int, steady_clock::duration>> log;
    const auto start = time.now();
    std::function<void(int)> go = [&](int n) {
      log.emplace_back(n, time.now() - start);
      for (int i = 0; i != 2 && log.size() < 2000; ++i) {
        auto& w = random() % 2 == 0 ? wheel : fine;
        const int label = static_cast<int>(random() % 1000);
        w.schedule_after(std::chrono::microseconds(random() % 10'000'000'000),
                         [&go, label] { go(label); });
      }
    };
    asio::post(io, [&] { go(0); });
    CHECK(time.run_until_done(10'000h));
    return log;
  };
  const auto first = run();
  CHECK(first.size() > 2000);
  CHECK(run() == first);
}

// ---- Work

TEST_CASE_METHOD(under_virtual_time, "A context is stopped when nothing is left to wait for",
                 "[testing]") {
  const auto id = wheel.schedule_after(1h, [] {});
  wheel.schedule_after(2h, [] {});
  time.advance(90min);
  CHECK_FALSE(io.stopped());
  time.advance(90min);
  CHECK(io.stopped());
  CHECK_FALSE(wheel.cancel(id));

  const auto other = wheel.schedule_after(1h, [] {});
  time.run_until_idle();
  CHECK_FALSE(io.stopped());
  wheel.cancel(other);
  time.run_until_idle();
  CHECK(io.stopped());
}

TEST_CASE_METHOD(under_virtual_time, "A wheel that ends is no work", "[testing]") {
  std::optional<kestrel::timer_wheel> other(std::in_place, io);
  other->schedule_after(1h, [] {});
  time.run_until_idle();
  CHECK_FALSE(io.stopped());
  if (GENERATE(false, true))
    other->shutdown();
  else
    other.reset();
  io.restart();
  io.run(); // returns
  CHECK(io.stopped());
}

TEST_CASE_METHOD(under_virtual_time, "A timer that is set to an earlier time fires at it",
                 "[testing]") {
  durations fired;
  const auto id = wheel.schedule_after(10h, note(fired));
  time.advance(1h);
  wheel.postpone(id, 1h);
  wheel.schedule_after(30min, note(fired));
  time.advance(24h);
  CHECK(fired == durations{90min, 2h});
}

TEST_CASE_METHOD(under_virtual_time, "Time stays where a handler stops the context",
                 "[testing][stop]") {
  durations fired;
  wheel.schedule_after(1h, [&] {
    io.stop();
    asio::post(io, note(fired));
  });
  wheel.schedule_after(2h, note(fired));
  const int how = GENERATE(0, 1, 2);
  if (how == 0)
    time.advance(3h);
  else if (how == 1)
    CHECK(time.advance_to_next());
  else
    CHECK_FALSE(time.run_until_done(3h));
  CHECK(io.stopped());
  CHECK(fired.empty());
  CHECK(time.now() == start + 1h);
  time.advance(2h);
  CHECK(fired == durations{1h, 2h});
}

TEST_CASE_METHOD(under_virtual_time, "What a handler throws leaves, and time goes on afterwards",
                 "[testing][exceptions]") {
  durations fired;
  for (int i = 1; i != 4; ++i)
    wheel.schedule_after(1h, [&, i] {
      fired.push_back(time.now() - start);
      if (i != 3)
        throw std::runtime_error("callback");
    });
  wheel.schedule_after(2h, note(fired));
  CHECK_THROWS_AS(time.advance(3h), std::runtime_error);
  CHECK(time.now() == start + 1h);
  CHECK(fired.size() == 1);
  CHECK_THROWS_AS(time.advance_to_next(), std::runtime_error);
  CHECK(time.now() == start + 1h);
  time.advance(1h);
  CHECK(fired == durations{1h, 1h, 1h, 2h});
}

// ---- What lives on wheels

TEST_CASE_METHOD(under_virtual_time, "Services and waits go by virtual time", "[testing]") {
  kestrel::timer_service service{wheel};
  const auto id = service.schedule_every(1h, 1h);
  std::vector<std::uint64_t> counts;
  std::function<void()> receive = [&] {
    service.async_receive([&](asio::error_code ec, const kestrel::timer_notification& n) {
      if (ec)
        return;
      counts.push_back(n.count);
      receive();
    });
  };
  receive();
  durations waited;
  wheel.async_wait_after(90min, [&](asio::error_code ec) {
    CHECK_FALSE(ec);
    note(waited)();
  });
  time.advance(3h);
  CHECK(counts.size() == 3);
  CHECK(waited == durations{90min});
  service.cancel(id);
}

TEST_CASE_METHOD(under_virtual_time, "A steady_timer goes by virtual time", "[testing]") {
  kestrel::steady_timer timer{io, 1h};
  CHECK(timer.expiry() == start + 1h);
  durations fired;
  timer.async_wait([&](asio::error_code ec) {
    CHECK_FALSE(ec);
    note(fired)();
    timer.expires_at(timer.expiry() + 1h);
    timer.async_wait([&](asio::error_code) { note(fired)(); });
  });
  time.advance(90min);
  CHECK(fired == durations{1h});
  timer.expires_after(1h);
  CHECK(time.run_until_done(24h));
  CHECK(fired == durations{1h, 90min}); // the wait was cancelled by that
  CHECK(io.stopped());
}

TEST_CASE("Wheels and callbacks on strands go by the time of the context", "[testing]") {
  asio::io_context io;
  virtual_time time{io};
  const auto strand = asio::make_strand(io);
  kestrel::timer_wheel wheel{io};
  kestrel::timer_wheel other{strand};
  int inside = 0;
  wheel.schedule_after(
      1h, asio::bind_executor(strand, [&] { inside += strand.running_in_this_thread(); }));
  other.schedule_after(1h, [&] { inside += strand.running_in_this_thread(); });
  CHECK(time.advance_to_next()); // the wheels are of one age
  CHECK(inside == 2);
}

TEST_CASE("Several contexts may share one time", "[testing][contexts]") {
  asio::io_context client;
  asio::io_context server;
  virtual_time time{client, server};
  const auto start = time.now();
  kestrel::timer_wheel a{client};
  kestrel::timer_wheel b{server};
  std::vector<int> order;
  a.schedule_after(1h, [&] {
    order.push_back(1);
    asio::post(server, [&] { // another context's handler becomes ready, at the same time
      CHECK(time.now() == start + 1h);
      order.push_back(2);
    });
  });
  b.schedule_after(2h, asio::bind_executor(client, [&] { order.push_back(3); }));
  b.schedule_after(3h, [&] { order.push_back(4); });
  time.advance(4h);
  CHECK(order == std::vector<int>{1, 2, 3, 4});
  CHECK(a.now() == b.now());
  CHECK(client.stopped());
  CHECK(server.stopped());
}

#if defined(ASIO_HAS_CO_AWAIT)

TEST_CASE_METHOD(under_virtual_time, "Coroutines go by virtual time", "[testing][coroutines]") {
  durations log;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        for (int i = 0; i != 3; ++i) {
          co_await wheel.async_wait_after(1h, asio::use_awaitable);
          note(log)();
        }
      },
      asio::detached);
  wheel.schedule_after(90min, [&]() -> asio::awaitable<void> {
    co_await wheel.async_wait_after(1h, asio::use_awaitable);
    note(log)();
  });
  CHECK(time.run_until_done(24h));
  CHECK(log == durations{1h, 2h, 150min, 3h});
}

TEST_CASE_METHOD(under_virtual_time, "A coroutine may advance the time it goes by",
                 "[testing][coroutines]") {
  durations fired;
  bool finished = false;
  wheel.schedule_after(1h, note(fired));
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        time.advance(2h);
        CHECK(fired == durations{1h});
        co_await wheel.async_wait_after(1h, asio::use_awaitable);
        finished = time.now() == start + 3h;
      },
      asio::detached);
  time.run_until_idle();
  CHECK_FALSE(finished);
  time.advance(1h);
  CHECK(finished);
}

#endif

TEST_CASE_METHOD(under_virtual_time, "Sockets on this machine need no time", "[testing][sockets]") {
  using asio::ip::tcp;
  tcp::acceptor acceptor{io, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
  tcp::socket server{io};
  tcp::socket client{io};
  acceptor.async_accept(server, [](asio::error_code) {});
  client.async_connect(acceptor.local_endpoint(), [](asio::error_code) {});
  durations received;
  wheel.schedule_after(1h, [&] { asio::write(client, asio::buffer("?", 1)); });
  wheel.schedule_after(2h, [] {});
  std::array<char, 8> chunk{};
  time.run_until_idle();
  server.async_read_some(asio::buffer(chunk),
                         [&](asio::error_code, std::size_t) { note(received)(); });
  time.advance(3h);
  CHECK(received == durations{1h});
}

// ---- What is refused

TEST_CASE("A context whose wheel goes by the real time keeps it", "[testing]") {
  asio::io_context io;
  asio::io_context other;
  {
    const kestrel::timer_wheel wheel{io};
    CHECK(error_of([&] { virtual_time{io}; }) == kestrel::errc::other_time);
    CHECK(error_of([&] { virtual_time(other, io); }) == kestrel::errc::other_time);
    const kestrel::timer_wheel untouched{other};
    CHECK(error_of([&] { virtual_time{other}; }) == kestrel::errc::other_time);
  }
  const virtual_time time{io, other}; // there is none any more
  CHECK(kestrel::timer_wheel(other).now() == time.now());
}

TEST_CASE("Contexts that go by different times cannot share one", "[testing][contexts]") {
  asio::io_context a;
  asio::io_context b;
  asio::io_context c;
  virtual_time of_a{a};
  virtual_time of_b{b};
  CHECK(error_of([&] { virtual_time(a, b); }) == kestrel::errc::other_time);
  virtual_time of_both{a, c};
  of_a.advance(1h);
  CHECK(of_both.now() == of_a.now());
  CHECK(kestrel::timer_wheel(c).now() == of_a.now());
}

// ---- Lifetimes

TEST_CASE("When virtual time is gone, time stands still until there is another",
          "[testing][lifetimes]") {
  asio::io_context io;
  std::optional<virtual_time> time(std::in_place, io);
  kestrel::timer_wheel wheel{io};
  int fired = 0;
  wheel.schedule_after(1h, [&] { ++fired; });
  time->advance(30min);
  const auto then = time->now();
  time.reset();
  CHECK(wheel.now() == then);
  wheel.schedule_after(1ns, [&] { ++fired; });
  CHECK(kestrel::timer_wheel(io).now() == then);
  io.restart();
  io.poll();
  CHECK(fired == 0);
  time.emplace(io);
  CHECK(time->now() == then);
  time->advance(30min);
  CHECK(fired == 2);
}

TEST_CASE("Whatever is destroyed first, pending timers go quietly", "[testing][lifetimes]") {
  auto io = std::make_unique<asio::io_context>();
  auto time = std::make_unique<virtual_time>(*io);
  auto wheel = std::make_unique<kestrel::timer_wheel>(*io);
  const auto alive = std::make_shared<int>();
  wheel->schedule_after(1h, [alive] { FAIL("nobody got there"); });
  wheel->async_wait_after(2h, asio::bind_executor(*io, [alive](asio::error_code) {}));
  if (GENERATE(false, true))
    time->advance(1min);
  if (GENERATE(false, true)) // the driver's handler is on its way
    wheel->schedule_after(0s, [] {});
  switch (GENERATE(0, 1, 2, 3, 4, 5)) {
  case 0:
    wheel.reset();
    time.reset();
    io.reset();
    break;
  case 1:
    wheel.reset();
    io.reset();
    time.reset();
    break;
  case 2:
    time.reset();
    wheel.reset();
    io.reset();
    break;
  case 3:
    time.reset();
    io.reset();
    break;
  case 4:
    io.reset();
    time.reset();
    break;
  default:
    io.reset();
    break;
  }
  if (wheel != nullptr) { // it may outlive the context, and tells so
    CHECK(wheel->empty());
    CHECK(error_of([&] { wheel->schedule_after(1s, [] {}); }) == kestrel::errc::shut_down);
    static_cast<void>(wheel->now());
    wheel.reset();
  }
  CHECK(alive.use_count() == 1);
}

TEST_CASE_METHOD(under_virtual_time, "A timer may end its wheel", "[testing][lifetimes]") {
  auto other = std::make_unique<kestrel::timer_wheel>(io);
  bool ended = false;
  other->schedule_after(1h, [&] {
    other.reset();
    ended = true;
  });
  other->schedule_after(2h, [] { FAIL("it went with its wheel"); });
  time.advance(3h);
  CHECK(ended);
  CHECK(io.stopped());
}

// ---- Threads and locks

TEST_CASE("Other threads may use the wheels while time advances", "[testing][threads]") {
  constexpr int count = 3000;
  asio::io_context io;
  virtual_time time{io};
  kestrel::timer_wheel wheel{io};
  std::atomic<int> fired{0};
  std::atomic<bool> done{false};
  std::thread producer([&] {
    for (int i = 0; i != count; ++i) {
      wheel.schedule_after(std::chrono::seconds(i % 100), [&] { ++fired; });
      if (const auto id = wheel.schedule_after(1h, [&] { ++fired; }); !wheel.cancel(id))
        --fired;
    }
    done = true;
  });
  while (!done)
    time.advance(1s);
  producer.join();
  CHECK(time.run_until_done(1h));
  CHECK(fired == count);
}

TEST_CASE("Under virtual time too, no executor is called under the lock of a wheel",
          "[testing][threads]") {
  checked_mutex::take_violations();
  asio::io_context io;
  virtual_time time{io};
  int under_lock = 0;
  int fired = 0;
  kestrel::basic_timer_wheel<watching_executor, checked> wheel{watching_executor(io, under_lock)};
  for (int i = 0; i != 10; ++i)
    wheel.schedule_after(10h - i * 1h, [&] { ++fired; });
  time.advance(5h);
  wheel.schedule_after(1min, [&] { ++fired; });
  time.advance(1h);
  wheel.shutdown();
  time.run_until_idle();
  CHECK(fired == 7);
  CHECK(under_lock == 0);
  CHECK(checked_mutex::take_violations() == 0);
}
