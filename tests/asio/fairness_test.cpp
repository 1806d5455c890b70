// SPDX-License-Identifier: MIT
//
// However many timers are due at once, other handlers of the same context get their turn in
// between.

#include "manual_clock.hpp"
#include "sanitizers.hpp"

#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#if defined(ASIO_HAS_LOCAL_SOCKETS)
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#endif

#include <catch.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

using namespace kestrel_tests;

namespace {

/// A chain of posted handlers that looks how far a counter got between two of its turns.
struct bystander {
  asio::io_context& io;
  const int& counter;
  int goal;
  int last = 0;
  int most = 0;
  int turns = 0;

  void operator()() {
    most = std::max(most, counter - last);
    last = counter;
    ++turns;
    if (counter != goal)
      asio::post(io, [this] { (*this)(); });
  }
};

} // namespace

TEST_CASE("A hundred thousand timers that are due at once give way to other handlers",
          "[fairness]") {
  const at_start clock;
  constexpr int count = 100'000;
  asio::io_context io;
  manual_wheel wheel{io};
  int ran = 0;
  const auto f = [&ran] { ++ran; };
  const int kind = GENERATE(0, 1, 2, 3);
  for (int i = 0; i != count; ++i) {
    if (kind == 0)
      wheel.schedule_after(10ms, f); // one slot
    else if (kind == 1)
      wheel.schedule_after(manual_clock::duration(std::int64_t{i} * 100'000),
                           f); // many slots, both levels
    else if (kind == 2)
      wheel.schedule_after(7s, f); // one slot of the second level
    else
      wheel.schedule_every(10ms, 10h, f);
  }
  manual_clock::advance(10s);
  bystander other{io, ran, count};
  other();
  settle(io);
  CHECK(ran == count);
  CHECK(other.turns > count / 1000);
  CHECK(other.most <= 256);
}

TEST_CASE_METHOD(one_wheel, "Callbacks that take long give way after fewer of them", "[fairness]") {
  constexpr int count = 1000;
  const auto [each, most] = GENERATE(table<std::chrono::microseconds, int>({
      {1us, 128}, // the first look after 0.1 ms
      {50us, 4},
      {101us, 1},
      {2ms, 1},
  }));
  int ran = 0;
  for (int i = 0; i != count; ++i) {
    wheel.schedule_after(10ms, [&ran, length = each] {
      manual_clock::advance(length);
      ++ran;
    });
  }
  manual_clock::advance(10ms);
  bystander other{io, ran, count};
  other();
  settle(io);
  CHECK(ran == count);
  CHECK(other.most == most);
}

TEST_CASE("Looking at timers that were postponed gives way to other handlers", "[fairness]") {
  const at_start clock;
  constexpr int count = 100'000;
  asio::io_context io;
  manual_wheel wheel{io};
  for (int i = 0; i != count; ++i)
    wheel.postpone(wheel.schedule_after(10ms, [] {}), 10h);
  manual_clock::advance(10ms);
  asio::post(io, [] {});
  const int goal = 1;
  int done = 0;
  wheel.schedule_after(0ms, [&done] { ++done; }); // due at once, behind all those
  bystander other{io, done, goal};
  other();
  settle(io);
  CHECK(done == 1);
  CHECK(other.turns >= 10);
  CHECK(wheel.size() == count);
}

TEST_CASE_METHOD(one_wheel, "Handlers that were queued first run before the second batch",
                 "[fairness]") {
  int ran = 0;
  int seen = -1;
  for (int i = 0; i != 10'000; ++i) {
    wheel.schedule_after(10ms, [&] {
      if (++ran == 1)
        asio::post(io, [&] { seen = ran; });
    });
  }
  stall(io, 10ms);
  CHECK(ran == 10'000);
  CHECK(seen > 0);
  CHECK(seen <= 512);
}

#if defined(ASIO_HAS_LOCAL_SOCKETS)

namespace {

/// Two sockets that send one byte to and fro on one context, and how far a counter got between two
/// of its arrivals.
struct echoes {
  using socket = asio::local::stream_protocol::socket;

  echoes(asio::io_context& io, const int& c, int g)
      : ends{socket(io), socket(io)}, counter{c}, goal{g} {
    asio::local::connect_pair(ends[0], ends[1]);
    send(0);
    receive(0);
    receive(1);
  }

  void send(std::size_t end) {
    ends[end].async_send(asio::buffer(&sent, 1), [](asio::error_code, std::size_t) {});
  }

  void receive(std::size_t end) {
    ends[end].async_receive(asio::buffer(&received[end], 1),
                            [this, end](asio::error_code ec, std::size_t) {
                              if (ec)
                                return;
                              most = std::max(most, counter - last);
                              last = counter;
                              ++arrivals;
                              if (counter == goal) {
                                for (socket& s : ends)
                                  s.cancel();
                                return;
                              }
                              send(end);
                              receive(end);
                            });
  }

  std::array<socket, 2> ends;
  const int& counter;
  int goal;
  char sent = 'x';
  std::array<char, 2> received{};
  int last = 0;
  int most = 0;
  int arrivals = 0;
};

} // namespace

// A byte that was sent arrives after the next look at the sockets, which Asio takes once it has run
// all handlers that were queued; so each of the two ways may have a batch before and one after it.
TEST_CASE("While a million timers are due at once, sockets are served every few batches",
          "[fairness]") {
  const at_start clock;
  constexpr int count = thread_sanitizer || address_sanitizer ? 100'000 : 1'000'000;
  asio::io_context io;
  manual_wheel wheel{io};
  wheel.reserve(static_cast<std::size_t>(count));
  int ran = 0;
  const auto due_on = GENERATE(as<manual_clock::duration>{}, 10ms, 7s); // either level
  for (int i = 0; i != count; ++i)
    wheel.schedule_after(due_on, [&ran] { ++ran; });
  echoes e(io, ran, count);
  manual_clock::advance(due_on);
  settle(io);
  CHECK(ran == count);
  CHECK(e.arrivals >= count / 512);
  CHECK(e.most <= 512);
}

#endif
