// SPDX-License-Identifier: MIT
//
// Memory: steady state allocates nothing, memory follows the number of live timers and not that of
// operations, and an allocation that fails changes nothing.

#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

// ---- Every allocation of this program is counted, and may be made to fail
// -------------------------

namespace {

constexpr long no_failure = -1;
std::atomic<long> allocations{0};
std::atomic<long> live_blocks{0};
thread_local long until_failure = no_failure; // how many more of this thread's succeed

void* counted(std::size_t size, std::size_t alignment) {
  if (until_failure == 0) {
    until_failure = no_failure;
    throw std::bad_alloc();
  }
  if (until_failure != no_failure)
    --until_failure;
  void* const p =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p == nullptr)
    throw std::bad_alloc();
  ++allocations;
  ++live_blocks;
  return p;
}

void give_back(void* p) noexcept {
  if (p != nullptr)
    --live_blocks;
  std::free(p);
}

} // namespace

void* operator new(std::size_t size) { return counted(size, 1); }
void* operator new[](std::size_t size) { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { give_back(p); }
void operator delete[](void* p) noexcept { give_back(p); }
void operator delete(void* p, std::size_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }

using namespace kestrel_tests;

namespace {

/// Moves the clock a tick each time all there was to do is done, from inside run(), for as long as
/// it takes to warm up and for as long again, and tells what was allocated in the second half. One
/// call of run(), as in a program: Asio keeps memory for handlers until run() returns.
class clockwork {
public:
  explicit clockwork(asio::io_context& io) : io_{io} {}

  long allocated_in(manual_clock::duration each_half) {
    half_ = manual_clock::now() + each_half;
    end_ = half_ + each_half;
    turn();
    io_.restart();
    io_.run();
    return allocated_;
  }

private:
  void turn() {
    if (before_ < 0 && manual_clock::now() >= half_)
      before_ = allocations;
    if (manual_clock::now() >= end_) {
      allocated_ = allocations - before_;
      io_.stop();
      return;
    }
    if (++turns_ % 4 == 0) // some turns for what follows from the last tick
      manual_clock::advance(tick);
    asio::post(io_, [this] { turn(); });
  }

  asio::io_context& io_;
  manual_clock::time_point half_;
  manual_clock::time_point end_;
  long before_ = -1;
  long allocated_ = -1;
  int turns_ = 0;
};

} // namespace

TEST_CASE("In steady state, nothing is allocated inside run()", "[memory]") {
  const at_start clock;
  asio::io_context io;
  const auto strand = asio::make_strand(io);
  manual_wheel wheel{io};
  wheel.reserve(2000);
  long fired = 0;
  std::vector<kestrel::timer_id> ids(100);

  SECTION("one-shot timers that schedule the next") {
    struct again {
      manual_wheel& wheel;
      long& fired;
      void operator()() const {
        ++fired;
        wheel.schedule_after(manual_clock::duration(fired % 977 * 1'000'000), *this);
      }
    };
    for (int i = 0; i != 100; ++i)
      wheel.schedule_after(i * 1ms, again{wheel, fired});
  }
  SECTION("periodic timers") {
    for (int i = 0; i != 100; ++i)
      wheel.schedule_every(i * 1ms, (i + 1) * 7ms, [&fired] { ++fired; });
  }
  SECTION("callbacks on a strand") {
    for (int i = 0; i != 100; ++i)
      wheel.schedule_every(i * 1ms, (i + 1) * 7ms,
                           asio::bind_executor(strand, [&fired] { ++fired; }));
  }
  SECTION("idle timeouts that are reset") {
    for (auto& id : ids)
      id = wheel.schedule_after(30s, [] {});
    wheel.schedule_every(1ms, 10ms, [&] {
      ++fired;
      for (const auto id : ids)
        wheel.postpone(id, 30s);
      wheel.postpone(ids[static_cast<std::size_t>(fired) % ids.size()], 20s);
    });
  }
  SECTION("timeouts that are cancelled and armed again") {
    wheel.schedule_every(1ms, 10ms, [&] {
      ++fired;
      for (std::size_t i = 0; i != ids.size(); ++i) {
        wheel.cancel(ids[i]);
        ids[i] =
            wheel.schedule_after(manual_clock::duration(i * 300'000'000), [&fired] { ++fired; });
      }
    });
  }
  SECTION("each earlier than the one before") {
    wheel.schedule_every(1ms, 10ms, [&] {
      ++fired;
      for (std::size_t i = 0; i != ids.size(); ++i) {
        wheel.cancel(ids[i]);
        ids[i] = wheel.schedule_after(manual_clock::duration((200 - i) * 10'000'000), [] {});
      }
    });
  }

  CHECK(clockwork(io).allocated_in(70s) == 0);
  CHECK(fired > 2000);
}

TEST_CASE("In steady state, nothing is allocated outside run()", "[memory]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  wheel.reserve(2000);
  const auto first = wheel.schedule_after(10ms, [] {}); // so that the driver is armed
  std::vector<kestrel::timer_id> ids;
  ids.reserve(1000);
  long allocated = -1;
  bool all = true;
  std::thread([&] {
    const long before = allocations;
    for (int round = 0; round != 100; ++round) {
      for (int i = 0; i != 1000; ++i)
        ids.push_back(wheel.schedule_after((i + 1) * 37ms, [&all] { all = false; }));
      for (const auto id : ids)
        all = wheel.postpone(id, 7s) && all;
      for (const auto id : ids)
        all = wheel.postpone(id, 3s) && all;
      for (const auto id : ids)
        all = wheel.postpone(id, 3s, [&all] { all = false; }) && all;
      for (const auto id : ids)
        all = wheel.cancel(id) && all;
      ids.clear();
    }
    allocated = allocations - before;
  }).join();
  CHECK(allocated == 0);
  CHECK(all);
  CHECK(wheel.size() == 1);
  CHECK(wheel.cancel(first));
}

TEST_CASE("A million timers scheduled and cancelled leave memory as it was", "[memory]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  if (GENERATE(true, false))
    wheel.schedule_after(20s, [] {}); // else the wheel gets empty each time
  for (int i = 0; i != 1000; ++i)
    wheel.cancel(wheel.schedule_after((i % 100 + 1) * 77ms, [] {}));
  settle(io);
  const auto memory = wheel.stats().memory;
  const long blocks = live_blocks;
  for (int i = 0; i != 1'000'000; ++i) {
    if (!wheel.cancel(wheel.schedule_after((i % 100 + 1) * 77ms, [] {})))
      FAIL("was pending");
  }
  CHECK(wheel.stats().memory == memory);
  CHECK(live_blocks < blocks + 100);
  settle(io);
  CHECK(wheel.stats().scheduled >= 1'000'000);
}

TEST_CASE("Resetting a timer a million times leaves memory as it was", "[memory]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  const auto id = wheel.schedule_after(1s, [] {});
  wheel.schedule_after(10ms, [] {});
  const auto memory = wheel.stats().memory;
  const long blocks = live_blocks;
  for (int i = 0; i != 1'000'000; ++i) {
    if (!wheel.postpone(id, (i % 1000 + 1) * 77ms))
      FAIL("was pending");
  }
  // Each reset to earlier leaves an entry behind until there are some.
  CHECK(wheel.stats().memory <= memory + 64 * 1024);
  CHECK(live_blocks < blocks + 100);
}

TEST_CASE("reserve() makes room, so that the first timers allocate nothing either", "[memory]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  wheel.schedule_after(1ms, [] {}); // arms the driver, at the earliest deadline of all
  wheel.reserve(10'000);
  const auto memory = wheel.stats().memory;
  CHECK(wheel.stats().capacity >= 10'000);
  const long before = allocations;
  for (int i = 1; i != 10'000; ++i)
    wheel.schedule_after((i + 1) * 1ms, [] {});
  CHECK(allocations == before);
  CHECK(wheel.stats().memory == memory);
}

TEST_CASE("Destroying a wheel gives all its memory back", "[memory]") {
  const at_start clock;
  asio::io_context io;
  {
    manual_wheel first{io}; // makes the services of the context
    first.schedule_after(1s, [] {});
  }
  settle(io);
  const long blocks = live_blocks;
  {
    manual_wheel wheel{io};
    for (int i = 0; i != 10'000; ++i)
      wheel.schedule_after(i * 7ms, [big = std::array<char, 100>{}] { static_cast<void>(big); });
    stall(io, 30s);
  }
  settle(io);
  CHECK(live_blocks <= blocks);
}

namespace {

/// The allocations of `operation` fail, the first, then the second, ... until there is no further
/// one. It returns how many did.
template <class Operation, class Check>
int fail_each_allocation(Operation operation, Check check_unchanged) {
  for (int n = 0;; ++n) {
    until_failure = n;
    try {
      operation();
      until_failure = no_failure;
      return n;
    } catch (const std::bad_alloc&) {
      until_failure = no_failure;
      check_unchanged();
    }
  }
}

} // namespace

TEST_CASE("Scheduling when memory is short changes nothing", "[memory][exceptions]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  journal ran;
  const int filled = GENERATE(0, 1, 100, 1000);
  for (int i = 0; i != filled; ++i)
    wheel.schedule_after(1h, [] {});
  const auto unchanged = [&] {
    CHECK(wheel.size() == static_cast<std::size_t>(filled));
    CHECK(wheel.stats().scheduled == static_cast<std::uint64_t>(filled));
  };
  int failures = 0;
  SECTION("a small callable") {
    failures = fail_each_allocation([&] { wheel.schedule_after(15ms, ran.note(1)); }, unchanged);
  }
  SECTION("a large callable") {
    failures = fail_each_allocation(
        [&] {
          wheel.schedule_after(15ms, [note = ran.note(1), big = std::array<char, 100>{}] {
            static_cast<void>(big);
            note();
          });
        },
        unchanged);
    CHECK(failures > 0);
  }
  SECTION("a periodic one") {
    failures =
        fail_each_allocation([&] { wheel.schedule_every(15ms, 10h, ran.note(1)); }, unchanged);
  }
  CHECK((failures > 0 || filled > 0));
  CHECK(wheel.size() == static_cast<std::size_t>(filled) + 1);
  pass(io, 30ms);
  CHECK(ran == journal{{1, 20ms}});
}

TEST_CASE("Postponing when memory is short changes nothing", "[memory][exceptions]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  journal ran;
  std::vector<kestrel::timer_id> ids;
  const int filled = GENERATE(0, 1, 500);
  for (int i = 0; i != filled; ++i)
    ids.push_back(wheel.schedule_after(2h, [] {}));
  const auto id = wheel.schedule_after(3s, ran.note(1));
  bool postponed = true;
  const auto unchanged = [&] {
    CHECK(wheel.expiry(id) == manual_clock::start + 3s);
    CHECK(wheel.stats().postponed == 0);
  };
  SECTION("keeping the callback") {
    fail_each_allocation([&] { postponed = wheel.postpone(id, 15ms); }, unchanged);
    pass(io, 4s);
    CHECK(ran == journal{{1, 20ms}});
  }
  SECTION("replacing it") {
    const int failures = fail_each_allocation(
        [&] {
          postponed = wheel.postpone(id, 15ms, [note = ran.note(2), big = std::array<char, 100>{}] {
            static_cast<void>(big);
            note();
          });
        },
        unchanged);
    CHECK(failures > 0);
    pass(io, 4s);
    CHECK(ran == journal{{2, 20ms}});
  }
  SECTION("and failing for good") {
    int thrown = 0;
    until_failure = 0;
    try {
      wheel.postpone(id, 15ms, [big = std::array<char, 100>{}] { static_cast<void>(big); });
    } catch (const std::bad_alloc&) {
      ++thrown;
    }
    until_failure = no_failure;
    CHECK(thrown == 1);
    pass(io, 4s);
    CHECK(ran == journal{{1, 3s}});
  }
  CHECK(postponed);
}

TEST_CASE("When memory is short while timers fire, the rest runs on the next run()",
          "[memory][exceptions]") {
  // Not a strand: Asio's own stops for good when it cannot post itself.
  const bool bound = GENERATE(false, true);
  int failures = 0;
  for (int n = 0; n != 20; ++n) {
    const at_start clock;
    asio::io_context io;
    manual_wheel wheel{io};
    int ran = 0;
    for (int i = 0; i != 1000; ++i) {
      if (bound)
        wheel.schedule_after(10ms, asio::bind_executor(io, [&ran] { ++ran; }));
      else
        wheel.schedule_after(10ms, [&ran] { ++ran; });
    }
    wheel.schedule_after(1s, [&ran] { ++ran; });
    manual_clock::advance(10ms);
    until_failure = no_failure;
    // Armed inside run(), past what settle() itself allocates.
    asio::post(io, [n] { until_failure = n; });
    try {
      settle(io);
    } catch (const std::bad_alloc&) {
      ++failures;
    }
    until_failure = no_failure;
    settle(io);
    CHECK(ran == 1000);
    stall(io, 1s);
    CHECK(ran == 1001);
    CHECK(wheel.empty());
  }
  CHECK(failures > 0);
}

TEST_CASE("Making a wheel when memory is short leaks nothing", "[memory][exceptions]") {
  const at_start clock;
  asio::io_context io;
  { const manual_wheel first{io}; }
  const long blocks = live_blocks;
  int failures = 0;
  for (int n = 0;; ++n) {
    until_failure = n;
    try {
      const manual_wheel wheel{io};
      until_failure = no_failure;
      break;
    } catch (const std::bad_alloc&) {
      until_failure = no_failure;
      ++failures;
    }
    CHECK(live_blocks == blocks);
  }
  CHECK(failures > 3);
}
