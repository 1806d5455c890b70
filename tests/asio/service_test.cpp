// SPDX-License-Identifier: MIT
//
// timer_service: the consumer is told of every firing of the service's timers, and of nothing else,
// however slow it is and whatever ends first.

#include <kestrel/completion.hpp>
#include <kestrel/timer_service.hpp>

#include "error_of.hpp"
#include "manual_clock.hpp"
#include "sanitizers.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <ranges>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using kestrel::errc;
using kestrel::timer_id;
using kestrel::timer_kind;
using kestrel::timer_notification;
using kestrel::timer_service;
using kestrel::timer_slot;
using kestrel::timer_task;

using manual_service = kestrel::basic_timer_service<manual_clock>;

namespace {

/// What the handler of one async_receive is called with.
struct receipt {
  asio::error_code error;
  timer_notification what;

  friend bool operator==(const receipt&, const receipt&) = default;

  friend std::ostream& operator<<(std::ostream& out, const receipt& r) {
    if (r.error)
      return out << r.error.message();
    return out << r.what.id << (r.what.is_periodic() ? " periodic x " : " once x ") << r.what.count;
  }
};

receipt once(timer_id id) { return {{}, {id, timer_kind::one_shot, 1}}; }
receipt periods(timer_id id, std::uint64_t n) { return {{}, {id, timer_kind::periodic, n}}; }

const receipt receive_aborted{asio::error::operation_aborted, {}};
const receipt closed{kestrel::make_error_code(errc::shut_down), {}};

/// Receipts in the order they came in.
struct receipts : std::vector<receipt> {
  using std::vector<receipt>::vector;

  /// A handler that notes what it is told.
  auto note() {
    return [this](asio::error_code ec, timer_notification n) { push_back({ec, n}); };
  }

  [[nodiscard]] std::uint64_t firings() const {
    std::uint64_t sum = 0;
    for (const receipt& r : *this)
      sum += r.what.count;
    return sum;
  }
};

/// Receives one thing after the other, until it is an error.
class reader {
public:
  explicit reader(manual_service& service) : service_{service} { read(); }
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  receipts told;

private:
  void read() {
    service_.async_receive([this](asio::error_code ec, timer_notification n) {
      told.push_back({ec, n});
      if (!ec)
        read();
    });
  }

  manual_service& service_;
};

/// A reader that comes late: all there is to receive at once.
receipts receive(manual_service& service, asio::io_context& io, std::size_t n) {
  const auto told = std::make_shared<receipts>(); // there may be less to tell
  for (std::size_t i = 0; i != n; ++i)
    service.async_receive([told](asio::error_code ec, timer_notification what) {
      told->push_back({ec, what});
    });
  settle(io);
  return *told;
}

struct one_service : one_wheel {
  manual_service service{wheel, {.capacity = 4}};

  std::vector<timer_id> one_shots(std::size_t n, manual_clock::duration delay = 10ms) {
    std::vector<timer_id> ids(n);
    for (timer_id& id : ids)
      id = service.schedule_after(delay);
    return ids;
  }
};

} // namespace

// ---- Firings and their notifications

TEST_CASE_METHOD(one_service, "A timer may be scheduled for a point in time", "[service]") {
  const auto now = manual_clock::now();
  const timer_id soon = service.schedule_at(now + 25ms);
  const timer_id late = service.schedule_at(manual_clock::time_point::max());
  CHECK(wheel.expiry(soon) == now + 25ms);
  CHECK(wheel.expiry(late) > now + 1'000'000h);
  int ran = 0;
  service.schedule_at(manual_clock::time_point::min(), [&] { ++ran; });
  CHECK(ran == 0);
  settle(io);
  CHECK(ran == 1);
  stall(io, 20ms);
  CHECK(wheel.expiry(soon));
  stall(io, 10ms);
  CHECK_FALSE(wheel.expiry(soon));
  CHECK(service.cancel(late));
}

template <class Service, class TimePoint>
concept schedules_at = requires(Service& service, TimePoint time) {
  service.schedule_at(time);
};

static_assert(schedules_at<timer_service, std::chrono::steady_clock::time_point>);
static_assert(schedules_at<manual_service, manual_clock::time_point>);
static_assert(!schedules_at<timer_service, std::chrono::system_clock::time_point>);
static_assert(!schedules_at<timer_service, manual_clock::time_point>);

TEST_CASE_METHOD(one_wheel, "A service has the clock of its wheel", "[service]") {
  kestrel::basic_timer_service service{wheel, {.capacity = 4}};
  const auto now = manual_clock::now();
  const timer_id id = service.schedule_at(now + 1s);
  CHECK(service.expiry(id) == now + 1s);

  kestrel::single_threaded_timer_wheel steady_wheel{io};
  timer_service steady{steady_wheel, {.capacity = 4}};
  const timer_id other = steady.schedule_at(std::chrono::steady_clock::now() + 1h);
  CHECK(*steady.expiry(other) < std::chrono::steady_clock::now() + 2h);
  steady_wheel.shutdown();
}

TEST_CASE_METHOD(one_wheel, "A service on another clock than its wheel's refuses points in time",
                 "[service]") {
  timer_service service{wheel};
  const timer_id id = service.schedule_after(10ms);
  CHECK(error_of([&] { service.schedule_at(std::chrono::steady_clock::now()); }) ==
        errc::other_clock);
  CHECK(error_of([&] { (void)service.expiry(id); }) == errc::other_clock);
  CHECK(service.size() == 1);
  CHECK(service.postpone(id, 20ms));
  int told = 0;
  service.async_receive([&](asio::error_code, timer_notification n) { told += n.id == id; });
  stall(io, 20ms);
  CHECK(told == 1);
}

TEST_CASE_METHOD(one_service, "A service knows the deadlines of its own pending timers",
                 "[service][postpone]") {
  const auto now = manual_clock::now();
  const timer_id id = service.schedule_after(25ms);
  CHECK(service.expiry(id) == now + 25ms);
  CHECK(service.postpone(id, 40ms));
  CHECK(service.expiry(id) == now + 40ms);
  CHECK_FALSE(service.expiry(wheel.schedule_after(1s, [] {})));
  CHECK_FALSE(service.expiry(timer_id()));
  stall(io, 50ms);
  CHECK_FALSE(service.expiry(id));
}

TEST_CASE_METHOD(one_service, "Each firing of a timer is told", "[service]") {
  reader consumer(service);
  const timer_id a = service.schedule_after(20ms);
  const timer_id b = service.schedule_every(10ms, 20ms);
  CHECK(service.size() == 2);
  pass(io, 50ms);
  CHECK(consumer.told == receipts{periods(b, 1), once(a), periods(b, 1), periods(b, 1)});
  CHECK(service.size() == 1);
  CHECK(consumer.told[1].what.is_one_shot());
  CHECK_FALSE(consumer.told[1].what.is_periodic());
}

TEST_CASE_METHOD(one_service,
                 "Fifty timers through a channel of four, and a slow reader: all are told",
                 "[service]") {
  const std::vector<timer_id> ids = one_shots(50);
  stall(io, 10ms);
  CHECK(wheel.empty());
  CHECK(service.size() == 0);

  receipts expected;
  for (const timer_id id : ids)
    expected.push_back(once(id));
  CHECK(receive(service, io, 50) == expected);

  const receipts more = [&] {
    receipts told;
    service.async_receive(told.note());
    settle(io);
    CHECK(told.empty()); // there is no fifty-first
    service.shutdown();
    settle(io);
    return told;
  }();
  CHECK(more == receipts{receive_aborted});
}

TEST_CASE_METHOD(one_service, "A slow reader of a periodic timer is told how often it fired",
                 "[service][periodic]") {
  std::uint64_t ran = 0;
  const timer_id id = service.schedule_every(10ms, 10ms, [&] { ++ran; });
  const int read_every = GENERATE(1, 3, 7, 100);
  receipts told;
  for (int i = 1; i <= 1000; ++i) {
    pass(io, 10ms);
    if (i % read_every == 0)
      service.async_receive(told.note());
  }
  service.cancel(id);
  reader rest(service);
  settle(io);
  CHECK(ran == 1000);
  CHECK(told.firings() + rest.told.firings() == ran);
}

TEST_CASE_METHOD(one_service, "As long as the channel is not full, each firing is told by itself",
                 "[service][periodic]") {
  const timer_id id = service.schedule_every(10ms, 10ms);
  pass(io, 40ms);
  CHECK(receive(service, io, 4) == receipts(4, periods(id, 1)));
  pass(io, 50ms); // one more than the channel holds
  CHECK(receive(service, io, 1) == receipts{periods(id, 5)});
  pass(io, 20ms);
  CHECK(receive(service, io, 2) == receipts(2, periods(id, 1)));
}

TEST_CASE_METHOD(one_service, "A timer that fires often does not hide one that fires once",
                 "[service]") {
  const timer_id often = service.schedule_every(10ms, 10ms);
  const timer_id rare = service.schedule_after(1s);
  pass(io, 2s);
  service.cancel(often);
  reader late(service);
  settle(io);
  CHECK(late.told.firings() == 200 + 1);
  CHECK(std::ranges::count(late.told, once(rare)) == 1);
}

TEST_CASE_METHOD(one_service, "Periods that a stall left out are not told as firings",
                 "[service][periodic][stall]") {
  std::uint64_t ran = 0;
  std::uint64_t missed = 0;
  service.schedule_every(10ms, 10ms, [&](timer_id, std::uint64_t m) {
    ++ran;
    missed += m;
  });
  reader consumer(service);
  stall(io, 100ms);
  CHECK(ran == 1);
  CHECK(missed == 9);
  CHECK(consumer.told.firings() == 1);
}

TEST_CASE_METHOD(one_service, "With catch_up, each period that was missed is told",
                 "[service][periodic][stall]") {
  service.schedule_every(
      10ms, 10ms, [] {}, kestrel::missed_periods::catch_up);
  stall(io, 100ms);
  reader late(service);
  settle(io);
  CHECK(late.told.firings() == 10);
}

TEST_CASE_METHOD(one_service, "The callback has run when its firing is told", "[service]") {
  const bool waiting = GENERATE(false, true);
  std::vector<int> order;
  const auto receive_one = [&] {
    service.async_receive([&](asio::error_code, timer_notification) { order.push_back(2); });
  };
  if (waiting)
    receive_one();
  service.schedule_after(10ms, [&] {
    order.push_back(1);
    if (!waiting)
      receive_one(); // from inside: nothing has been told yet
  });
  stall(io, 10ms);
  CHECK(order == std::vector{1, 2});
}

TEST_CASE_METHOD(one_service, "On an executor of its own too, the callback comes first",
                 "[service]") {
  asio::io_context other;
  bool ran = false;
  reader consumer(service);
  const timer_id id = service.schedule_after(10ms, asio::bind_executor(other, [&] { ran = true; }));
  stall(io, 10ms);
  CHECK(consumer.told.empty());
  CHECK(service.size() == 1);
  other.poll();
  settle(io);
  CHECK(ran);
  CHECK(consumer.told == receipts{once(id)});
  CHECK(service.size() == 0);
}

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE_METHOD(one_service, "The firing of a coroutine is told when it has first suspended",
                 "[service][coroutines]") {
  reader consumer(service);
  int steps = 0;
  const timer_id id = service.schedule_after(10ms, [&]() -> asio::awaitable<void> {
    ++steps;
    CHECK(consumer.told.empty());
    co_await wheel.async_wait_after(1h, asio::use_awaitable);
    ++steps;
  });
  stall(io, 10ms);
  CHECK(steps == 1);
  CHECK(consumer.told == receipts{once(id)});
  stall(io, 2h);
  CHECK(steps == 2);
  CHECK(consumer.told.size() == 1);
}

TEST_CASE_METHOD(one_wheel,
                 "Sessions that are not used are told to a coroutine, which logs them out",
                 "[service][coroutines]") {
  manual_service sessions{wheel, {.capacity = 1000}};
  const timer_id used = sessions.schedule_after(30min);
  const timer_id unused = sessions.schedule_after(30min);
  std::vector<timer_id> logged_out;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        for (;;) {
          auto expired = co_await sessions.async_receive(asio::use_awaitable);
          logged_out.push_back(expired.id);
        }
      },
      asio::detached);
  stall(io, 20min);
  CHECK(sessions.postpone(used, 30min));
  stall(io, 20min);
  CHECK(logged_out == std::vector{unused});
  stall(io, 20min);
  CHECK(logged_out == std::vector{unused, used});
}
#endif

TEST_CASE_METHOD(one_service, "A callback that throws has fired", "[service][exceptions]") {
  const timer_id id = service.schedule_after(10ms, [] { throw std::runtime_error("its own"); });
  reader consumer(service);
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  settle(io);
  CHECK(consumer.told == receipts{once(id)});
}

TEST_CASE_METHOD(one_service, "The handler of a receiver never runs inside async_receive",
                 "[service]") {
  one_shots(1, 0ms);
  stall(io, 10ms);
  receipts told;
  service.async_receive(told.note());
  CHECK(told.empty());
  settle(io);
  CHECK(told.size() == 1);
}

TEST_CASE_METHOD(one_service, "The handler of a receiver runs on its own executor", "[service]") {
  asio::io_context other;
  receipts told;
  service.async_receive(asio::bind_executor(other.get_executor(), told.note()));
  const timer_id id = one_shots(1)[0];
  stall(io, 10ms);
  CHECK(told.empty());
  CHECK_FALSE(other.stopped()); // the receiver was work to wait for
  other.run();
  CHECK(told == receipts{once(id)});
}

TEST_CASE_METHOD(one_service, "A receiver that is passed by name is copied", "[service]") {
  std::vector<int> calls;
  auto shared = std::make_shared<int>(7);
  auto handler = [&calls, shared](asio::error_code, timer_notification) {
    calls.push_back(*shared);
  };
  service.async_receive(handler);
  service.async_receive(handler);
  one_shots(2);
  stall(io, 10ms);
  CHECK(calls == std::vector{7, 7});
}

TEST_CASE_METHOD(one_service, "Receivers that wait are served in turn", "[service]") {
  std::vector<std::pair<int, timer_id>> served;
  for (int i = 0; i != 5; ++i) {
    service.async_receive(
        [&served, i](asio::error_code, timer_notification n) { served.emplace_back(i, n.id); });
  }
  const std::vector<timer_id> ids = one_shots(4);
  stall(io, 10ms);
  CHECK(served ==
        std::vector<std::pair<int, timer_id>>{{0, ids[0]}, {1, ids[1]}, {2, ids[2]}, {3, ids[3]}});
}

TEST_CASE_METHOD(one_service, "What waits can be received without waiting", "[service]") {
  CHECK_FALSE(service.try_receive());
  const std::vector<timer_id> ids = one_shots(6);
  const timer_id often = service.schedule_every(10ms, 10ms);
  CHECK_FALSE(service.try_receive());
  pass(io, 20ms);
  receipts told;
  while (const std::optional<timer_notification> n = service.try_receive())
    told.push_back({{}, *n});
  receipts expected;
  for (const timer_id id : ids)
    expected.push_back(once(id));
  expected.insert(expected.begin() + 6, periods(often, 1)); // the channel is not full any more
  expected.push_back(periods(often, 1));
  CHECK(told == expected);
}

TEST_CASE_METHOD(one_service, "Who does not wait takes nothing from those who do", "[service]") {
  receipts told;
  service.async_receive(told.note());
  const std::vector<timer_id> ids = one_shots(3);
  stall(io, 10ms);
  CHECK(told == receipts{once(ids[0])});
  CHECK(service.try_receive() == timer_notification{ids[1], timer_kind::one_shot, 1});
  CHECK(receive(service, io, 1) == receipts{once(ids[2])});
  CHECK_FALSE(service.try_receive());
}

TEST_CASE_METHOD(one_service, "After the end of a service or its wheel, what was fired is received",
                 "[service][shutdown][lifetimes]") {
  const timer_id id = one_shots(1)[0];
  stall(io, 10ms);
  one_shots(1);
  SECTION("of the service") { service.shutdown(); }
  SECTION("of the wheel") { wheel.shutdown(); }
  CHECK(service.try_receive() == timer_notification{id, timer_kind::one_shot, 1});
  CHECK_FALSE(service.try_receive());
}

// ---- Timers that do not fire

TEST_CASE_METHOD(one_service, "Cancelled timers are not told of", "[service][cancel]") {
  reader consumer(service);
  const std::vector<timer_id> ids = one_shots(6);
  const timer_id periodic = service.schedule_every(10ms, 10ms);
  SECTION("one by one") {
    CHECK(service.cancel(ids[1]));
    CHECK_FALSE(service.cancel(ids[1]));
    CHECK(service.cancel(ids[4]));
    CHECK(service.cancel(periodic));
  }
  SECTION("several at once") {
    CHECK(service.cancel(std::vector{ids[1], ids[4], ids[1], periodic, timer_id()}) == 3);
    CHECK(service.cancel(std::vector<timer_id>{}) == 0);
  }
  SECTION("several that are named on the spot") {
    CHECK(service.cancel({ids[1], ids[4], periodic}) == 3);
  }
  SECTION("through the wheel") {
    CHECK(wheel.cancel(ids[1]));
    CHECK(wheel.cancel(std::vector{ids[4], periodic}) == 2);
  }
  CHECK(service.size() == 4);
  stall(io, 10ms);
  CHECK(consumer.told == receipts{once(ids[0]), once(ids[2]), once(ids[3]), once(ids[5])});
}

TEST_CASE_METHOD(one_service,
                 "A timer that is due can be cancelled until it starts, and is not told",
                 "[service][cancel]") {
  reader consumer(service);
  timer_id second;
  bool cancelled = false;
  const timer_id first = service.schedule_after(10ms, [&] { cancelled = service.cancel(second); });
  second = service.schedule_after(10ms, [] { FAIL("was cancelled"); });
  stall(io, 10ms);
  CHECK(cancelled);
  CHECK(consumer.told == receipts{once(first)});
}

TEST_CASE_METHOD(one_service, "A periodic timer that cancels itself is told of that firing",
                 "[service][cancel][periodic]") {
  reader consumer(service);
  timer_id id;
  id = service.schedule_every(10ms, 10ms, [&] { CHECK(service.cancel(id)); });
  pass(io, 50ms);
  CHECK(consumer.told == receipts{periods(id, 1)});
  CHECK(service.size() == 0);
}

TEST_CASE_METHOD(one_service,
                 "A firing that waits for the reader is told even if its timer is cancelled",
                 "[service][cancel]") {
  const timer_id id = service.schedule_every(10ms, 10ms);
  pass(io, 30ms);
  CHECK(service.cancel(id));
  CHECK(service.size() == 0);
  CHECK(receive(service, io, 3) == receipts(3, periods(id, 1)));
}

TEST_CASE_METHOD(one_service, "A service cancels and postpones its own timers only",
                 "[service][cancel][postpone]") {
  manual_service other(wheel);
  const timer_id own = service.schedule_after(1s);
  const timer_id of_other = other.schedule_after(1s);
  const timer_id of_wheel = wheel.schedule_after(1s, [] {});
  const auto end = manual_clock::now() + 1s;

  CHECK_FALSE(service.cancel(of_other));
  CHECK_FALSE(service.cancel(of_wheel));
  CHECK_FALSE(service.cancel(timer_id()));
  CHECK_FALSE(service.postpone(of_other, 2s));
  CHECK_FALSE(service.postpone(of_wheel, 2s, [] { FAIL("is not its own"); }));
  CHECK(wheel.expiry(of_other) == end);
  CHECK(wheel.expiry(of_wheel) == end);

  using move = std::pair<timer_id, std::chrono::seconds>;
  CHECK(service.postpone(std::vector<move>{{of_other, 2s}, {own, 2s}, {of_wheel, 2s}}) == 1);
  CHECK(wheel.expiry(of_other) == end);
  CHECK(wheel.expiry(of_wheel) == end);
  CHECK(wheel.expiry(own) == end + 1s);

  CHECK(service.cancel(std::array{of_wheel, own, of_other}) == 1);
  CHECK(wheel.size() == 2);
  CHECK(other.size() == 1);
  CHECK(service.size() == 0);
}

TEST_CASE_METHOD(one_service,
                 "A timer that is scheduled in a callback is not mistaken for that one",
                 "[service][cancel]") {
  reader consumer(service);
  const bool periodic = GENERATE(false, true);
  timer_id first, second;
  const auto schedule_second = [&] {
    if (periodic)
      CHECK(service.cancel(first)); // its slot is free
    second = service.schedule_after(10ms);
    CHECK(second.index() == first.index());
    CHECK_FALSE(service.cancel(first));
    CHECK_FALSE(service.postpone(first, 1s));
    CHECK(service.size() == 2);
  };
  first = periodic ? service.schedule_every(10ms, 10ms, schedule_second)
                   : service.schedule_after(10ms, schedule_second);
  stall(io, 10ms);
  CHECK(service.size() == 1);
  CHECK(service.postpone(second, 30ms));
  SECTION("when it fires") {
    stall(io, 30ms);
    CHECK(consumer.told == receipts{{{}, {first, consumer.told[0].what.kind, 1}}, once(second)});
  }
  SECTION("when it is cancelled") { CHECK(service.cancel(second)); }
  SECTION("when the service is shut down") { service.shutdown(); }
  CHECK(service.size() == 0);
  CHECK(wheel.empty());
}

// ---- Postponing

TEST_CASE_METHOD(one_service, "A postponed timer is told when it fires, and once",
                 "[service][postpone]") {
  reader consumer(service);
  const timer_id id = service.schedule_after(10ms);
  CHECK(service.postpone(id, 30ms));
  pass(io, 20ms);
  CHECK(consumer.told.empty());
  pass(io, 10ms);
  CHECK(consumer.told == receipts{once(id)});
  CHECK_FALSE(service.postpone(id, 30ms));
  pass(io, 50ms);
  CHECK(consumer.told.size() == 1);
}

TEST_CASE_METHOD(one_service, "A timer whose callback is replaced is still told of",
                 "[service][postpone]") {
  reader consumer(service);
  journal ran;
  const timer_id id = service.schedule_after(10ms, ran.note(1));
  const timer_id other = service.schedule_every(10ms, 10ms, ran.note(1));
  SECTION("one by one") {
    CHECK(service.postpone(id, 20ms, ran.note(2)));
    CHECK(service.postpone(other, 20ms, ran.note(3)));
  }
  SECTION("several at once") {
    using callback = std::function<void()>;
    const std::vector<std::tuple<timer_id, std::chrono::milliseconds, callback>> moves{
        {id, 20ms, ran.note(2)}, {other, 20ms, ran.note(3)}};
    CHECK(service.postpone(moves) == 2);
  }
  pass(io, 30ms);
  CHECK(ran.labels() == std::vector{2, 3, 3});
  CHECK(consumer.told == receipts{once(id), periods(other, 1), periods(other, 1)});
}

TEST_CASE_METHOD(one_service, "Several timers are postponed at once, by a delay each",
                 "[service][postpone]") {
  reader consumer(service);
  const std::vector<timer_id> ids = one_shots(3);
  service.cancel(ids[1]);
  std::vector<std::pair<timer_id, std::chrono::milliseconds>> moves{
      {ids[0], 40ms}, {ids[1], 20ms}, {ids[2], 30ms}, {timer_id(), 1ms}};
  CHECK(service.postpone(moves) == 2);
  CHECK(service.postpone({{ids[0], 40ms}, {ids[1], 20ms}}) == 1);
  moves.clear();
  CHECK(service.postpone(moves) == 0);
  pass(io, 20ms);
  CHECK(consumer.told.empty());
  pass(io, 20ms);
  CHECK(consumer.told == receipts{once(ids[2]), once(ids[0])});
}

// ---- In two steps, and in batches

TEST_CASE_METHOD(one_service, "The id may be known before there is a timer", "[service]") {
  reader consumer(service);
  std::map<timer_id, int> connections;
  timer_slot slot = service.allocate();
  const timer_id id = slot.id();
  connections[id] = 7;
  CHECK(service.size() == 0);
  CHECK_FALSE(service.cancel(id));
  CHECK(service.schedule(std::move(slot),
                         timer_task::one_shot(10ms, [&, id] { connections.erase(id); })) == id);
  CHECK(service.size() == 1);
  stall(io, 10ms);
  CHECK(connections.empty());
  CHECK(consumer.told == receipts{once(id)});
}

TEST_CASE_METHOD(one_service, "A slot of the wheel will do for its service", "[service]") {
  reader consumer(service);
  const timer_id id = service.schedule(wheel.allocate(), timer_task::one_shot(10ms));
  stall(io, 10ms);
  CHECK(consumer.told == receipts{once(id)});
}

TEST_CASE_METHOD(one_service, "A batch is told of like its timers one by one", "[service][batch]") {
  const auto tasks = [] {
    std::vector<timer_task> t;
    t.push_back(timer_task::one_shot(30ms));
    t.push_back(timer_task::periodic(10ms, 20ms));
    t.push_back(timer_task::one_shot(10ms));
    return t;
  };
  reader consumer(service);
  std::vector<timer_id> ids;
  SECTION("of tasks") { ids = service.schedule(tasks()); }
  SECTION("of tasks that are made as it goes") {
    std::vector<timer_task> made = tasks();
    const auto make = [&](std::size_t i) { return std::move(made[i]); };
    ids = service.schedule(std::views::iota(std::size_t{0}, made.size()) |
                           std::views::transform(make));
  }
  SECTION("of slots and tasks") {
    std::vector<timer_slot> slots = service.allocate(3);
    std::vector<timer_id> known;
    for (const timer_slot& s : slots)
      known.push_back(s.id());
    ids = service.schedule(slots, tasks());
    CHECK(ids == known);
    CHECK(std::ranges::none_of(slots, [](const timer_slot& s) { return bool(s); }));
  }
  REQUIRE(ids.size() == 3);
  CHECK(service.size() == 3);
  pass(io, 10ms);
  CHECK(consumer.told == receipts{periods(ids[1], 1), once(ids[2])});
  consumer.told.clear();
  pass(io, 20ms);
  CHECK(std::ranges::is_permutation(consumer.told, receipts{once(ids[0]), periods(ids[1], 1)}));
  CHECK(service.size() == 1);
}

TEST_CASE_METHOD(one_service, "What is scheduled in two steps may be named by a handle or an id",
                 "[service][handles]") {
  const auto h = service.schedule(service.allocate(), timer_task::one_shot(1s));
  const timer_id id = service.schedule(service.allocate(), timer_task::one_shot(1s));
  const timer_id by_task = service.schedule(timer_task::one_shot(1s));
  CHECK(h.expiry() == service.expiry(h.id()));
  CHECK(h != service.schedule(timer_task::one_shot(1s)));
  CHECK(h == h.id());
  CHECK(h.postpone(2s));
  CHECK(service.postpone(h, 3s));
  CHECK(h.cancel());
  CHECK_FALSE(service.cancel(h));
  CHECK(service.cancel(id));
  CHECK(service.cancel(by_task));
  CHECK(service.size() == 1);
}

TEST_CASE_METHOD(one_service, "A batch of a service is one of the wheel's", "[service][batch]") {
  const auto tasks = [] {
    std::vector<timer_task> t;
    for (int i = 0; i != 3; ++i)
      t.push_back(timer_task::one_shot(1s));
    return t;
  };
  const auto batch = service.schedule(tasks());
  const kestrel::basic_batch_handle<manual_clock> in_slots =
      service.schedule(service.allocate(3), tasks());
  const std::vector<timer_id>& ids = service.schedule(tasks());
  std::vector<timer_id> more;
  more = service.schedule(tasks());
  for (const timer_id id : service.schedule(tasks()))
    more.push_back(id);
  CHECK(more.size() == 6);
  CHECK(batch.ids().size() == 3);
  CHECK(batch[1].id() == batch.ids()[1]);
  more.push_back(batch[2]);
  CHECK(batch.postpone_all(2s) == 3);
  CHECK(batch[0].cancel());
  CHECK(batch.cancel_all() == 2);
  CHECK(in_slots.size() == 3);
  CHECK(service.cancel(in_slots) == 3);
  CHECK(service.cancel(ids) == 3);
  CHECK(service.cancel(more) == 6);
  CHECK(wheel.empty());
  CHECK(service.size() == 0);
}

TEST_CASE_METHOD(one_service, "The consumer is told as well of what a handle is told",
                 "[service][handles]") {
  reader consumer(service);
  const auto once_only = service.schedule(timer_task::one_shot(20ms));
  const auto periodic = service.schedule(service.allocate(), timer_task::periodic(10ms, 20ms));
  const auto cancelled = service.schedule(timer_task::one_shot(20ms));
  std::vector<std::pair<int, kestrel::completion>> told;
  const auto note = [&](int who) {
    return [&told, who](asio::error_code ec, kestrel::completion c) {
      CHECK_FALSE(ec);
      told.emplace_back(who, c);
    };
  };
  once_only.async_wait(note(1));
  cancelled.async_wait(note(3));
  CHECK(service.cancel(cancelled));
  pass(io, 30ms);
  periodic.async_wait(note(2)); // all there was, at once
  service.shutdown();
  settle(io);
  periodic.async_wait(note(2));
  settle(io);
  using kestrel::completion;
  REQUIRE(told.size() == 4);
  CHECK(told[0] == std::pair<int, completion>(3, completion::cancelled));
  CHECK(told[1] == std::pair<int, completion>(1, completion::fired));
  CHECK(told[2] == std::pair<int, completion>(2, completion::fired));
  CHECK(told[2].second.count() == 2);
  CHECK(told[3] == std::pair<int, completion>(2, completion::cancelled));
  CHECK(consumer.told == receipts{periods(periodic.id(), 1), once(once_only.id()),
                                  periods(periodic.id(), 1), receive_aborted});
}

TEST_CASE_METHOD(one_service, "An empty batch is none", "[service][batch]") {
  CHECK(service.schedule(std::vector<timer_task>()).empty());
  CHECK(service.schedule(std::vector<timer_slot>(), std::vector<timer_task>()).empty());
  CHECK(service.size() == 0);
  CHECK(wheel.empty());
}

// ---- Registration that fails

TEST_CASE_METHOD(one_service, "A registration that fails inserts nothing",
                 "[service][exceptions]") {
  one_shots(2, 1h);
  asio::io_context foreign_io;
  manual_wheel foreign(foreign_io);
  const auto not_to_run = [] { FAIL("was not scheduled"); };
  std::vector<timer_task> tasks;
  for (int i = 0; i != 3; ++i)
    tasks.push_back(timer_task::one_shot(10ms, not_to_run));
  std::error_code failed;

  SECTION("in a slot of another wheel") {
    timer_slot slot = foreign.allocate();
    failed = error_of([&] { service.schedule(std::move(slot), std::move(tasks[0])); });
    CHECK(failed == errc::invalid_slot);
    CHECK(slot); // NOLINT: it was not taken
    CHECK(foreign.empty());
  }
  SECTION("in slots of which one is another wheel's") {
    std::vector<timer_slot> slots = service.allocate(3);
    slots[2] = foreign.allocate();
    failed = error_of([&] { service.schedule(slots, tasks); });
    CHECK(failed == errc::invalid_slot);
    CHECK(std::ranges::all_of(slots, [](const timer_slot& s) { return bool(s); }));
  }
  SECTION("in an empty slot") {
    failed = error_of([&] { service.schedule(timer_slot(), std::move(tasks[0])); });
    CHECK(failed == errc::invalid_slot);
  }
  SECTION("in slots of which one is empty") {
    std::vector<timer_slot> slots = service.allocate(3);
    timer_slot().operator=(std::move(slots[1]));
    failed = error_of([&] { service.schedule(slots, tasks); });
    CHECK(failed == errc::invalid_slot);
  }
  SECTION("with too few slots") {
    std::vector<timer_slot> slots = service.allocate(2);
    failed = error_of([&] { service.schedule(slots, tasks); });
    CHECK(failed == errc::batch_length_mismatch);
    tasks.pop_back(); // as many now
    for (timer_task& t : tasks)
      t = timer_task::one_shot(1h);
    CHECK(service.schedule(slots, tasks).size() == 2);
    CHECK(service.cancel(service.schedule(timer_task::one_shot(1h))));
    service.shutdown();
    CHECK(wheel.empty());
    return;
  }
  SECTION("with too many slots") {
    std::vector<timer_slot> slots = service.allocate(4);
    failed = error_of([&] { service.schedule(slots, tasks); });
    CHECK(failed == errc::batch_length_mismatch);
  }
  SECTION("with a callback that is empty") {
    failed = error_of([&] { service.schedule_after(10ms, std::function<void()>()); });
    CHECK(failed == errc::invalid_callback);
  }
  SECTION("with an interval of zero") {
    failed = error_of([&] { service.schedule_every(10ms, 0ms); });
    CHECK(failed == errc::invalid_interval);
  }
  CHECK(failed);
  CHECK(service.size() == 2);
  CHECK(wheel.size() == 2);
  reader consumer(service);
  pass(io, 20ms);
  CHECK(consumer.told.empty());
  service.shutdown();
  settle(io);
}

TEST_CASE_METHOD(one_service, "A wheel that was shut down takes no timers from its service",
                 "[service][lifetimes]") {
  timer_slot slot = service.allocate();
  one_shots(3);
  wheel.shutdown();
  std::vector<timer_task> tasks;
  tasks.push_back(timer_task::one_shot(10ms));
  CHECK(error_of([&] { service.schedule_after(10ms); }) == errc::shut_down);
  CHECK(error_of([&] { service.schedule_every(10ms, 10ms); }) == errc::shut_down);
  CHECK(error_of([&] { service.schedule(tasks); }) == errc::shut_down);
  CHECK(error_of([&] { service.schedule(std::move(slot), std::move(tasks[0])); }) ==
        errc::shut_down);
  CHECK(error_of([&] { (void)service.allocate(); }) == errc::shut_down);
  CHECK(service.size() == 0);
  CHECK(wheel.empty());
  CHECK(error_of([&] { manual_service late(wheel); }) == errc::shut_down);
}

TEST_CASE_METHOD(one_wheel, "A service needs a capacity", "[service][config]") {
  try {
    manual_service service(wheel, {.capacity = 0});
    FAIL("was accepted");
  } catch (const std::system_error& e) {
    CHECK(e.code() == errc::invalid_capacity);
    CHECK(std::string(e.what()).find("capacity = 0") != std::string::npos);
  }
}

// ---- Two services

TEST_CASE_METHOD(one_wheel, "Two services on one wheel do not hear of each other's timers",
                 "[service]") {
  auto a = std::make_unique<manual_service>(wheel);
  manual_service b(wheel, {.capacity = 1});
  reader of_a(*a), of_b(b);
  const timer_id in_a = a->schedule_every(10ms, 10ms);
  const timer_id in_b = b.schedule_every(10ms, 10ms);
  wheel.schedule_every(10ms, 10ms, [] {});
  pass(io, 20ms);
  CHECK(of_a.told == receipts(2, periods(in_a, 1)));
  CHECK(of_b.told == receipts(2, periods(in_b, 1)));

  a->shutdown();
  CHECK(wheel.size() == 2);
  CHECK(b.size() == 1);
  a.reset();
  pass(io, 10ms);
  CHECK(of_a.told.back() == receive_aborted);
  CHECK(of_b.told == receipts(3, periods(in_b, 1)));
}

// ---- A receiver that does not wait to the end

TEST_CASE_METHOD(one_service, "A receiver is cancelled through its slot",
                 "[service][cancellation]") {
  const auto type = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial,
                             asio::cancellation_type::total, asio::cancellation_type::all);
  asio::cancellation_signal stop;
  receipts first, second, third;
  service.async_receive(first.note());
  service.async_receive(asio::bind_cancellation_slot(stop.slot(), second.note()));
  service.async_receive(third.note());
  stop.emit(asio::cancellation_type::none);
  settle(io);
  CHECK(second.empty());

  stop.emit(type);
  CHECK(second.empty()); // not inline
  settle(io);
  CHECK(second == receipts{receive_aborted});
  stop.emit(type);

  const std::vector<timer_id> ids = one_shots(2);
  stall(io, 10ms);
  CHECK(first == receipts{once(ids[0])});
  CHECK(third == receipts{once(ids[1])}); // nothing was lost to the one that went
  CHECK(second.size() == 1);
}

TEST_CASE_METHOD(one_service, "A receiver that was served cannot be cancelled any more",
                 "[service][cancellation]") {
  asio::cancellation_signal stop;
  receipts told;
  service.async_receive(asio::bind_cancellation_slot(stop.slot(), told.note()));
  const timer_id id = service.schedule_after(10ms, [] {});
  manual_clock::advance(10ms);
  SECTION("before its handler ran") {
    wheel.schedule_after(0ms, [&] { stop.emit(asio::cancellation_type::all); });
  }
  SECTION("afterwards") {
    settle(io);
    stop.emit(asio::cancellation_type::all);
  }
  settle(io);
  CHECK(told == receipts{once(id)});
}

TEST_CASE("Cancelling a receiver after its service ended does no harm",
          "[service][cancellation][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  asio::cancellation_signal stop;
  receipts told;
  {
    manual_wheel wheel{io};
    manual_service service(wheel);
    service.async_receive(asio::bind_cancellation_slot(stop.slot(), told.note()));
  }
  stop.emit(asio::cancellation_type::all);
  settle(io);
  CHECK(told == receipts{receive_aborted});
}

TEST_CASE_METHOD(one_service, "With no receiver left, nothing is held up and nothing is lost",
                 "[service]") {
  asio::cancellation_signal stop;
  receipts told;
  service.async_receive(asio::bind_cancellation_slot(stop.slot(), told.note()));
  int ran = 0;
  service.schedule_every(10ms, 10ms, [&] { ++ran; });
  pass(io, 10ms);
  CHECK(told.size() == 1); // and goes away
  pass(io, 1s);
  CHECK(ran == 101);
  CHECK(receive(service, io, 1).firings() == 100);
}

TEST_CASE("A receiver whose executor is destroyed with it in the queue is destroyed",
          "[service][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  manual_service service(wheel);
  const auto alive = std::make_shared<int>();
  auto other = std::make_unique<asio::io_context>();
  service.async_receive(
      asio::bind_executor(other->get_executor(),
                          [alive](asio::error_code, timer_notification) { FAIL("no executor"); }));
  service.schedule_after(10ms);
  stall(io, 10ms); // posted there
  CHECK(alive.use_count() == 2);
  other.reset();
  CHECK(alive.use_count() == 1);
}

// ---- The end

TEST_CASE_METHOD(one_service, "Shutdown cancels the service's timers and tells those who wait",
                 "[service][shutdown]") {
  receipts told;
  service.async_receive(told.note());
  service.async_receive(told.note());
  service.schedule_after(10ms, [] { FAIL("was shut down"); });
  service.schedule_every(10ms, 10ms, [] { FAIL("was shut down"); });
  bool ran = false;
  wheel.schedule_after(10ms, [&] { ran = true; });
  service.shutdown();
  CHECK(told.empty()); // not inline
  CHECK(service.size() == 0);
  CHECK(wheel.size() == 1);
  settle(io);
  CHECK(told == receipts{receive_aborted, receive_aborted});
  pass(io, 20ms);
  CHECK(ran);
  CHECK(told.size() == 2);
  CHECK(out_of_work(io));

  CHECK(error_of([&] { service.schedule_after(10ms); }) == errc::shut_down);
  CHECK(error_of([&] { service.schedule_every(10ms, 10ms); }) == errc::shut_down);
  CHECK(error_of([&] { service.schedule(service.allocate(), timer_task::one_shot(1s)); }) ==
        errc::shut_down);
  CHECK(wheel.empty());
  CHECK(wheel.size() == 0);
}

TEST_CASE_METHOD(one_service,
                 "Shutdown with a full channel does not wait, and what was fired can be received",
                 "[service][shutdown]") {
  const std::vector<timer_id> ids = one_shots(50);
  const timer_id periodic = service.schedule_every(10ms, 10ms);
  one_shots(10, 1h);
  pass(io, 30ms);
  service.shutdown();
  CHECK(wheel.empty());
  pass(io, 30ms);

  reader late(service);
  settle(io);
  CHECK(late.told.back() == closed);
  CHECK(late.told.firings() == 50 + 3);
  CHECK(std::ranges::count(late.told, periods(periodic, 1)) == 3); // no longer full by then
  for (const timer_id id : ids)
    CHECK(std::ranges::count(late.told, once(id)) == 1);
  CHECK(receive(service, io, 2) == receipts{closed, closed});
}

TEST_CASE_METHOD(one_service, "Shutting down twice does nothing more", "[service][shutdown]") {
  one_shots(1);
  stall(io, 10ms);
  one_shots(3);
  const bool receives_between = GENERATE(false, true);
  service.shutdown();
  if (receives_between)
    CHECK(receive(service, io, 1).firings() == 1);
  service.shutdown();
  settle(io);
  CHECK(wheel.empty());
  CHECK(receive(service, io, 1)[0].error ==
        (receives_between ? kestrel::make_error_code(errc::shut_down) : std::error_code()));
}

TEST_CASE_METHOD(one_service, "A service may be shut down from its own callbacks and receivers",
                 "[service][shutdown]") {
  int ran = 0;
  receipts told;
  SECTION("a callback") {
    service.schedule_after(10ms, [&] {
      ++ran;
      service.shutdown();
    });
    service.schedule_after(10ms, [] { FAIL("was shut down"); });
  }
  SECTION("a periodic callback") {
    service.schedule_every(10ms, 10ms, [&] {
      ++ran;
      service.shutdown();
    });
  }
  SECTION("a receiver") {
    service.async_receive([&](asio::error_code, timer_notification) { service.shutdown(); });
    service.schedule_after(10ms, [&] { ++ran; });
    service.schedule_after(20ms, [] { FAIL("was shut down"); });
    service.schedule_after(10ms, [] {}); // is the one that can be received below
  }
  pass(io, 50ms);
  CHECK(ran == 1);
  CHECK(wheel.empty());
  CHECK(receive(service, io, 1).firings() == 1);
}

TEST_CASE("A service may be destroyed in its own callback, and in its receiver",
          "[service][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  auto service = std::make_unique<manual_service>(wheel);
  int ran = 0;
  receipts told;
  SECTION("a callback") {
    service->async_receive(told.note());
    service->schedule_after(10ms, [&] {
      ++ran;
      service.reset();
    });
    stall(io, 10ms);
    CHECK(told == receipts{receive_aborted});
  }
  SECTION("a receiver") {
    service->async_receive([&](asio::error_code, timer_notification) {
      ++ran;
      service.reset();
    });
    service->schedule_every(10ms, 10ms);
    service->schedule_after(10ms);
    stall(io, 10ms);
  }
  CHECK(ran == 1);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE("A service may be destroyed with firings that nobody received", "[service][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  const auto alive = std::make_shared<int>();
  {
    manual_service service(wheel, {.capacity = 4});
    for (int i = 0; i != 100'000; ++i)
      service.schedule_after(10ms, [alive] {});
    service.schedule_every(10ms, 10ms, [alive] {});
    pass(io, 50ms);
    service.schedule_after(10ms, [alive] {});
  }
  CHECK(alive.use_count() == 1);
  CHECK(wheel.empty());
}

TEST_CASE("The wheel may be destroyed before its service", "[service][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  auto wheel = std::make_unique<manual_wheel>(io);
  manual_service service(*wheel, {.capacity = 4});
  const auto alive = std::make_shared<int>();
  const timer_id fired = service.schedule_after(10ms, [alive] {});
  const timer_id pending = service.schedule_after(20ms, [alive] { FAIL("was destroyed"); });
  receipts told;
  const bool waiting = GENERATE(false, true);
  const bool by_shutdown = GENERATE(false, true);
  if (waiting) {
    service.async_receive(told.note());
    service.async_receive(told.note());
  }
  stall(io, 10ms);
  if (by_shutdown)
    wheel->shutdown();
  else
    wheel.reset();
  CHECK(alive.use_count() == 1);
  CHECK(service.size() == 0);
  CHECK_FALSE(service.cancel(pending));
  CHECK_FALSE(service.postpone(pending, 1s));
  CHECK(service.cancel(std::array{fired, pending}) == 0);
  CHECK(error_of([&] { service.schedule_after(10ms); }) == errc::shut_down);
  settle(io);
  if (waiting) {
    CHECK(told == receipts{once(fired), receive_aborted});
  } else {
    const auto executor = io.get_executor();
    service.async_receive(asio::bind_executor(executor, told.note()));
    service.async_receive(asio::bind_executor(executor, told.note()));
    settle(io);
    CHECK(told == receipts{once(fired), closed});
  }
  service.shutdown();
}

TEST_CASE("The execution context may be destroyed before the wheel and its service",
          "[service][lifetimes]") {
  const at_start clock;
  auto io = std::make_unique<asio::io_context>();
  manual_wheel wheel{*io};
  manual_service service(wheel, {.capacity = 4});
  const auto alive = std::make_shared<int>();
  const timer_id fired = service.schedule_after(10ms, [alive] {});
  stall(*io, 10ms);
  service.schedule_after(20ms, [alive] { FAIL("was destroyed"); });
  SECTION("with nobody waiting") {
    io.reset();
    CHECK(service.size() == 0);
    asio::io_context other;
    receipts told;
    service.async_receive(asio::bind_executor(other.get_executor(), told.note()));
    service.async_receive(asio::bind_executor(other.get_executor(), told.note()));
    other.run();
    CHECK(told == receipts{once(fired), closed});
  }
  SECTION("with receivers waiting") {
    for (int i = 0; i != 3; ++i)
      service.async_receive([alive](asio::error_code, timer_notification) {});
    io.reset();
  }
  SECTION("with receivers waiting elsewhere") {
    asio::io_context other;
    receipts told;
    service.async_receive(asio::bind_executor(other.get_executor(), told.note()));
    service.async_receive(asio::bind_executor(other.get_executor(), told.note()));
    io.reset();
    other.run();
    CHECK(told == receipts{once(fired), receive_aborted});
  }
  CHECK(alive.use_count() == 1);
  CHECK(error_of([&] { service.schedule_after(10ms); }) == errc::shut_down);
}

TEST_CASE("When the wheel is gone, a receiver still runs on its context", "[service][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  auto wheel = std::make_unique<manual_wheel>(io);
  manual_service service(*wheel);
  wheel.reset();
  std::thread::id thread;
  std::atomic<bool> called{false};
  service.async_receive([&](asio::error_code, timer_notification) {
    thread = std::this_thread::get_id();
    called = true;
  });
  while (!called)
    settle(io);
  CHECK(thread == std::this_thread::get_id());
}

// ---- Shutdown while a timer is on its way in

namespace {

/// The clock of a wheel is read when a timer is scheduled: someone else may do something just then.
struct interrupted_clock : manual_clock {
  using time_point = std::chrono::time_point<interrupted_clock, duration>;

  static time_point now() {
    if (interrupt)
      std::exchange(interrupt, nullptr)();
    return time_point(manual_clock::now().time_since_epoch());
  }

  inline static std::function<void()> interrupt;
};

struct interrupted_wait_traits {
  static manual_clock::duration to_wait_duration(const manual_clock::duration&) { return {}; }
  static manual_clock::duration to_wait_duration(const interrupted_clock::time_point&) {
    return {};
  }
};

struct interrupted_traits : kestrel::default_wheel_traits {
  using clock = interrupted_clock;
  using wait_traits = interrupted_wait_traits;
};

} // namespace

TEST_CASE("A timer that is being scheduled while its service is shut down is not left behind",
          "[service][shutdown]") {
  const at_start clock;
  asio::io_context io;
  wheel_with<interrupted_traits> wheel{io};
  timer_service service(wheel);
  const auto schedule = GENERATE(0, 1, 2);
  interrupted_clock::interrupt = [&] { service.shutdown(); };
  error_of([&] {
    std::vector<timer_task> tasks;
    tasks.push_back(timer_task::one_shot(10ms, [] { FAIL("was shut down"); }));
    tasks.push_back(timer_task::periodic(10ms, 10ms, [] { FAIL("was shut down"); }));
    if (schedule == 0)
      service.schedule_after(10ms, [] { FAIL("was shut down"); });
    else if (schedule == 1)
      service.schedule(tasks);
    else
      service.schedule(service.allocate(2), tasks);
  });
  CHECK_FALSE(interrupted_clock::interrupt);
  interrupted_clock::interrupt = nullptr;
  CHECK(service.size() == 0);
  CHECK(wheel.empty());
}

// ---- Threads

namespace {

/// What is left when several threads schedule, postpone and cancel, while two others run what is
/// due, and one shuts the service down after so many firings.
struct storm {
  static constexpr int producers = 3;

  std::uint64_t fired = 0;
  std::uint64_t told = 0;
  std::uint64_t nonsense = 0;  // notifications that cannot be
  std::size_t left_behind = 0; // timers that outlived the shutdown
  int refused = 0;             // producers that were told of it
  std::size_t size_of_service = 0;
  kestrel::timer_wheel_stats stats;
};

struct receiver {
  timer_service& service;
  std::atomic<std::uint64_t>& told;
  std::atomic<std::uint64_t>& nonsense;

  void operator()(asio::error_code ec, timer_notification n) const {
    if (ec)
      return;
    told += n.count;
    if (!n.id || n.count == 0 || (n.is_one_shot() && n.count != 1))
      ++nonsense;
    service.async_receive(receiver(*this));
  }
};

/// Schedules, postpones and cancels at random, until the service will have no more of it.
void produce(timer_service& service, unsigned seed, std::atomic<std::uint64_t>& fired) {
  std::minstd_rand random(seed);
  std::vector<timer_id> own;
  const auto count = [&fired] { ++fired; };
  for (;;) {
    const std::chrono::microseconds delay(random() % 3000);
    const timer_id some = own.empty() ? timer_id() : own[random() % own.size()];
    switch (random() % 8) {
    case 0:
      own.push_back(service.schedule_every(delay, 500us, count));
      break;
    case 1: {
      std::vector<timer_task> tasks;
      tasks.push_back(timer_task::one_shot(delay, count));
      tasks.push_back(timer_task::one_shot(2 * delay, count));
      own.push_back(service.schedule(service.allocate(2), tasks)[0]);
      break;
    }
    case 2:
    case 3:
      service.cancel(some);
      break;
    case 4:
      service.postpone(some, delay);
      break;
    default:
      own.push_back(service.schedule_after(delay, count));
    }
    if (own.size() > 100) {
      service.cancel(own);
      own.clear();
    }
  }
}

storm raise_storm(unsigned seed, std::uint64_t wanted) {
  asio::io_context io;
  kestrel::timer_wheel wheel{io, {.l0_tick = 1ms, .l1_tick = 100ms}};
  timer_service service(wheel, {.capacity = 16});
  std::atomic<std::uint64_t> fired{0}, told{0}, nonsense{0};
  std::atomic<int> refused{0};
  for (int i = 0; i != 3; ++i)
    service.async_receive(receiver{service, told, nonsense});

  std::optional work(asio::make_work_guard(io));
  std::vector<std::thread> runners, producers;
  for (int i = 0; i != 2; ++i)
    runners.emplace_back([&io] { io.run(); });
  for (unsigned p = 0; p != storm::producers; ++p) {
    producers.emplace_back([&, p] {
      if (error_of([&] { produce(service, seed + p, fired); }) == errc::shut_down)
        ++refused;
    });
  }
  while (fired < wanted)
    std::this_thread::sleep_for(1ms);
  service.shutdown();
  for (std::thread& t : producers)
    t.join();

  storm after;
  after.left_behind = wheel.size();
  wheel.shutdown(); // or run() would not return for those
  work.reset();
  for (std::thread& t : runners)
    t.join();
  after.size_of_service = service.size();
  io.restart();
  service.async_receive(receiver{service, told, nonsense});
  io.run();
  after.fired = fired;
  after.told = told;
  after.nonsense = nonsense;
  after.refused = refused;
  after.stats = wheel.stats();
  return after;
}

} // namespace

TEST_CASE("Many threads, and a shutdown among them: each firing is told", "[service][threads]") {
  for (int round = 0; round != 30 / slowdown; ++round) {
    const storm after = raise_storm(100u * static_cast<unsigned>(round), 2000);

    CHECK(after.told == after.fired);
    CHECK(after.stats.fired == after.fired);
    CHECK(after.nonsense == 0);
    CHECK(after.refused == storm::producers);
    CHECK(after.size_of_service == 0);
  }
}

TEST_CASE("Shutdown among many threads leaves no timer behind", "[service][threads]") {
  std::size_t left_behind = 0;
  for (int round = 0; round != 30 / slowdown; ++round)
    left_behind += raise_storm(7919u * static_cast<unsigned>(round), 100).left_behind;
  CHECK(left_behind == 0);
}
