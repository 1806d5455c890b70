// SPDX-License-Identifier: MIT
//
// Memory: steady state allocates nothing, memory follows the number of live timers and not that of
// operations, and an allocation that fails changes nothing.

#include "counted_new.hpp"
#include "manual_clock.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#endif

#include <catch.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <optional>
#include <ranges>
#include <thread>
#include <utility>
#include <vector>

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

TEST_CASE_METHOD(one_wheel, "In steady state, nothing is allocated inside run()", "[memory]") {
  const auto strand = asio::make_strand(io);
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

TEST_CASE_METHOD(one_wheel, "In steady state, nothing is allocated outside run()", "[memory]") {
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

TEST_CASE_METHOD(one_wheel, "A million timers scheduled and cancelled leave memory as it was",
                 "[memory]") {
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

TEST_CASE_METHOD(one_wheel, "After a burst of timers, shrink_to_fit gives the memory back",
                 "[memory]") {
  int fired = 0;
  wheel.schedule_after(30s, [&] { ++fired; });
  wheel.shrink_to_fit();
  settle(io);
  const auto memory = wheel.stats().memory;

  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 100'000; ++i)
    ids.push_back(wheel.schedule_after((i % 100 + 1) * 77ms, [] {}));
  CHECK(wheel.stats().memory > memory + 5'000'000);
  SECTION("once they were cancelled") { wheel.cancel(ids); }
  SECTION("once they have fired") {
    stall(io, 20s);
    CHECK(wheel.size() == 1);
  }
  wheel.shrink_to_fit();
  CHECK(wheel.stats().memory <= memory);
  for (const kestrel::timer_id id : ids)
    REQUIRE(!wheel.cancel(id));
  stall(io, 31s);
  CHECK(fired == 1);
  wheel.shutdown();
  CHECK_NOTHROW(wheel.shrink_to_fit());
}

TEST_CASE_METHOD(one_wheel, "Resetting a timer a million times leaves memory as it was",
                 "[memory]") {
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

TEST_CASE_METHOD(one_wheel,
                 "reserve() makes room, so that the first timers allocate nothing either",
                 "[memory]") {
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

TEST_CASE_METHOD(one_wheel, "After reserve(), postponing all timers at once takes no memory",
                 "[memory]") {
  const int n = 3'000;
  wheel.reserve(n);
  const auto memory = wheel.stats().memory;
  std::vector<std::pair<kestrel::timer_id, manual_clock::duration>> moves;
  for (int i = 0; i != n; ++i)
    moves.emplace_back(wheel.schedule_after(1h, [] {}), 1h - 20s);
  for (int i = 0; i != n; ++i) {
    if (i % 10 != 0) // the others keep their slot from being emptied
      wheel.postpone(moves[static_cast<std::size_t>(i)].first, 1h - 10s);
  }
  CHECK(wheel.postpone(moves) == n);
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

struct short_of_memory {
  explicit short_of_memory(int filled) {
    for (int i = 0; i != filled; ++i)
      wheel.schedule_after(2h, [] {});
    id = wheel.schedule_after(1h, ran.note(0));
    if (filled == 0) // nothing is armed, and the next timer is the first there is
      wheel.cancel(id);
    settle(io);
  }

  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  journal ran;
  kestrel::timer_id id;
};

/// A callable that does not fit inline.
struct large {
  journal* ran;
  std::array<char, 100> padding{};
  void operator()() const { ran->note(1)(); }
};

/// Of each new fixture's first `operation`, the n-th allocation fails, for every n there is. It
/// returns how many there are.
template <class Fixture, class Operation, class Check, class Done>
int fail_each_allocation(int filled, Operation operation, Check check_unchanged, Done check_done) {
  for (int n = 0;; ++n) {
    Fixture s(filled);
    bool failed = false;
    until_failure = n;
    try {
      operation(s);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    until_failure = no_failure;
    if (failed) {
      check_unchanged(s);
      operation(s); // now there is memory
    }
    check_done(s);
    if (!failed)
      return n;
  }
}

} // namespace

TEST_CASE("Scheduling when memory is short changes nothing", "[memory][exceptions]") {
  const int filled = GENERATE(0, 1, 7, 100, 1000);
  const auto live = static_cast<std::size_t>(filled == 0 ? 0 : filled + 1);
  const auto unchanged = [&](short_of_memory& s) {
    CHECK(s.wheel.size() == live);
    CHECK(s.wheel.stats().scheduled == static_cast<std::uint64_t>(filled) + 1);
    CHECK(out_of_work(s.io) == (live == 0));
  };
  const auto done = [&](short_of_memory& s) {
    CHECK(s.wheel.size() == live + 1);
    pass(s.io, 30ms);
    CHECK(s.ran == journal{{1, 20ms}});
  };
  SECTION("a small callable") {
    fail_each_allocation<short_of_memory>(
        filled, [](short_of_memory& s) { s.wheel.schedule_after(15ms, s.ran.note(1)); }, unchanged,
        done);
  }
  SECTION("a large callable") {
    CHECK(fail_each_allocation<short_of_memory>(
              filled, [](short_of_memory& s) { s.wheel.schedule_after(15ms, large{&s.ran}); },
              unchanged, done) > 0);
  }
  SECTION("a periodic one") {
    fail_each_allocation<short_of_memory>(
        filled, [](short_of_memory& s) { s.wheel.schedule_every(15ms, 10h, s.ran.note(1)); },
        unchanged, done);
  }
}

TEST_CASE("The first timer of a context when memory is short", "[memory][exceptions]") {
  int failures = 0;
  for (int n = 0;; ++n) {
    const at_start clock;
    asio::io_context io;
    manual_wheel wheel{io};
    journal ran;
    const auto f = ran.note(1);
    bool failed = false;
    until_failure = n;
    try {
      wheel.schedule_after(15ms, f);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    until_failure = no_failure;
    if (!failed)
      break;
    ++failures;
    CHECK(wheel.empty());
    CHECK(wheel.stats().scheduled == 0);
    CHECK(out_of_work(io));
    wheel.schedule_after(15ms, f);
    pass(io, 30ms);
    CHECK(ran == journal{{1, 20ms}});
  }
  CHECK(failures > 1); // the wheel's memory, and Asio's for its timers
}

TEST_CASE("Postponing when memory is short changes nothing", "[memory][exceptions]") {
  const int filled = GENERATE(1, 7, 500);
  const auto unchanged = [](short_of_memory& s) {
    CHECK(s.wheel.expiry(s.id) == manual_clock::start + 1h);
    CHECK(s.wheel.stats().postponed == 0);
  };
  const auto runs = [](int label) {
    return [label](short_of_memory& s) {
      CHECK(s.wheel.stats().postponed == 1);
      pass(s.io, 4s);
      CHECK(s.ran == journal{{label, 20ms}});
    };
  };
  SECTION("keeping the callback") {
    fail_each_allocation<short_of_memory>(
        filled, [](short_of_memory& s) { s.wheel.postpone(s.id, 15ms); }, unchanged, runs(0));
  }
  SECTION("replacing it") {
    CHECK(fail_each_allocation<short_of_memory>(
              filled, [](short_of_memory& s) { s.wheel.postpone(s.id, 15ms, large{&s.ran}); },
              unchanged, runs(1)) > 0);
  }
  SECTION("and failing for good") {
    short_of_memory s(filled);
    bool failed = false;
    until_failure = 0;
    try {
      s.wheel.postpone(s.id, 15ms, large{&s.ran});
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    until_failure = no_failure;
    CHECK(failed);
    stall(s.io, 1h);
    CHECK(s.ran == journal{{0, 1h}});
  }
}

TEST_CASE("A callback that waits on its own executor is not lost when postponing it fails",
          "[memory][exceptions]") {
  using timer = asio::basic_waitable_timer<manual_clock, manual_wait_traits>;
  int failures = 0;
  for (int others = 0; others != 16; ++others) { // one of them fills Asio's queue of timers
    const at_start clock;
    asio::io_context io;
    asio::io_context own;
    manual_wheel wheel{io};
    journal ran;
    const auto id = wheel.schedule_after(10ms, asio::bind_executor(own, ran.note(1)));
    stall(io, 10ms);
    std::vector<timer> queued;
    for (int i = 0; i != others; ++i) {
      queued.emplace_back(io, manual_clock::now() + 1h);
      queued.back().async_wait([](asio::error_code) {});
    }
    bool failed = false;
    until_failure = 0;
    try {
      wheel.postpone(id, 1h);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    until_failure = no_failure;
    own.run();
    if (failed) {
      ++failures;
      CHECK(ran == journal{{1, 10ms}});
      CHECK(wheel.empty());
    } else {
      CHECK(ran.empty());
      CHECK(wheel.expiry(id) == manual_clock::now() + 1h);
    }
  }
  CHECK(failures > 0);
}

namespace {

/// Beside the timer of the fixture, slots and tasks that were made while there was memory.
struct short_of_memory_for_batch : short_of_memory {
  explicit short_of_memory_for_batch(int filled) : short_of_memory(filled) {
    for (int i = 0; i != count; ++i)
      tasks.push_back(kestrel::timer_task::one_shot(15ms, ran.note(i)));
    slots = wheel.allocate(count);
    for (const kestrel::timer_slot& slot : slots)
      ids.push_back(slot.id());
  }

  static constexpr int count = 50;
  std::vector<kestrel::timer_task> tasks;
  std::vector<kestrel::timer_slot> slots;
  std::vector<kestrel::timer_id> ids;
};

} // namespace

TEST_CASE("Scheduling a batch when memory is short changes neither wheel nor slots nor tasks",
          "[memory][exceptions][batch]") {
  const int filled = GENERATE(0, 1, 100, 480); // the last fills a page of the wheel with the slots
  const auto live = static_cast<std::size_t>(filled == 0 ? 0 : filled + 1);
  const auto unchanged = [&](short_of_memory_for_batch& s) {
    CHECK(s.wheel.size() == live);
    CHECK(s.wheel.stats().scheduled == static_cast<std::uint64_t>(filled) + 1);
    CHECK(out_of_work(s.io) == (live == 0));
    bool same = s.slots.size() == s.ids.size();
    for (std::size_t i = 0; same && i != s.slots.size(); ++i)
      same = s.slots[i].id() == s.ids[i] && !s.wheel.expiry(s.ids[i]);
    CHECK(same);
  };
  const auto done = [&](short_of_memory_for_batch& s) {
    CHECK(s.wheel.size() == live + s.count);
    pass(s.io, 30ms);
    CHECK(s.ran.size() == s.count);
    bool in_order = true;
    for (std::size_t i = 0; i != s.ran.size(); ++i)
      in_order = in_order && s.ran[i] == event{static_cast<int>(i), 20ms};
    CHECK(in_order);
  };
  SECTION("in slots") {
    const int failures = fail_each_allocation<short_of_memory_for_batch>(
        filled,
        [](auto& s) {
          const auto batch = s.wheel.schedule(s.slots, s.tasks);
          until_failure = no_failure;
          CHECK(batch.ids() == s.ids);
          CHECK_FALSE(s.slots.front());
        },
        unchanged, done);
    CHECK(failures > short_of_memory_for_batch::count);
  }
  SECTION("without slots") {
    const int failures = fail_each_allocation<short_of_memory_for_batch>(
        filled, [](auto& s) { s.wheel.schedule(s.tasks); }, unchanged, done);
    CHECK(failures > short_of_memory_for_batch::count);
  }
  SECTION("one by one") {
    fail_each_allocation<short_of_memory_for_batch>(
        filled,
        [](auto& s) {
          for (std::size_t i = 0; i != s.slots.size(); ++i) {
            if (i != 0)
              until_failure = no_failure; // it is about the first
            s.wheel.schedule(std::move(s.slots[i]), std::move(s.tasks[i]));
          }
        },
        unchanged, done);
  }
}

TEST_CASE_METHOD(one_wheel, "A batch that fails again and again uses no slots up",
                 "[memory][exceptions][batch]") {
  for (int i = 0; i != 460; ++i)
    wheel.schedule_after(1h, [] {});
  CHECK(wheel.stats().capacity == 512);
  std::vector<kestrel::timer_task> tasks;
  for (int i = 0; i != 20; ++i)
    tasks.push_back(kestrel::timer_task::one_shot(1h));
  for (int n = 0; wheel.size() == 460; ++n) {
    for (int repeated = 0; repeated != 30 && wheel.size() == 460; ++repeated) {
      until_failure = n;
      try {
        wheel.schedule(tasks);
      } catch (const std::bad_alloc&) {
      }
      until_failure = no_failure;
    }
  }
  CHECK(wheel.size() == 480);
  CHECK(wheel.stats().capacity == 512);
}

TEST_CASE("Allocating slots when memory is short allocates none", "[memory][exceptions][slots]") {
  const int filled = GENERATE(0, 40);
  std::vector<kestrel::timer_slot> slots;
  const int failures = fail_each_allocation<short_of_memory>(
      filled, [&](short_of_memory& s) { slots = s.wheel.allocate(2000); },
      [&](short_of_memory&) { CHECK(slots.empty()); },
      [&](short_of_memory& s) {
        CHECK(slots.size() == 2000);
        CHECK(s.wheel.stats().capacity == 2048); // what came of the first try was given back
        slots.clear();
        CHECK(out_of_work(s.io) == s.wheel.empty());
      });
  CHECK(failures > 2);
}

TEST_CASE("Postponing or cancelling a batch when memory is short changes nothing",
          "[memory][exceptions][batch]") {
  const int filled = GENERATE(1, 100, 480);
  const auto delay = GENERATE(as<manual_clock::duration>{}, 5ms, 4s);
  manual_wheel::batch_handle_type batch;
  const auto prepared = [&](short_of_memory_for_batch& s) -> manual_wheel::batch_handle_type& {
    if (s.slots.front()) {
      const long n = std::exchange(until_failure, no_failure);
      batch = s.wheel.schedule(s.slots, s.tasks);
      until_failure = n;
    }
    return batch;
  };
  const auto unchanged = [](short_of_memory_for_batch& s) {
    bool same = true;
    for (const auto id : s.ids)
      same = same && s.wheel.expiry(id) == manual_clock::start + 15ms;
    CHECK(same);
    CHECK(s.wheel.stats().postponed == 0);
  };
  const auto done = [&](short_of_memory_for_batch& s) {
    CHECK(s.wheel.stats().postponed == s.count);
    stall(s.io, tick_after(manual_clock::start + delay, manual_clock::start) - manual_clock::start);
    CHECK(s.ran.size() == s.count);
  };
  int failures = 0;
  SECTION("postponing all") {
    failures = fail_each_allocation<short_of_memory_for_batch>(
        filled, [&](auto& s) { prepared(s).postpone_all(delay); }, unchanged, done);
  }
  SECTION("replacing the callbacks") {
    failures = fail_each_allocation<short_of_memory_for_batch>(
        filled,
        [&](auto& s) {
          prepared(s).postpone_each(std::views::iota(0, s.count) | std::views::transform([&](int) {
                                      return std::pair(delay, large{&s.ran});
                                    }));
        },
        unchanged, done);
    CHECK(failures > short_of_memory_for_batch::count);
  }
  SECTION("by their ids") {
    failures = fail_each_allocation<short_of_memory_for_batch>(
        filled,
        [&](auto& s) {
          prepared(s);
          s.wheel.postpone(s.ids | std::views::transform(
                                       [&](kestrel::timer_id id) { return std::pair(id, delay); }));
        },
        unchanged, done);
  }
  SECTION("cancelling") {
    failures = fail_each_allocation<short_of_memory_for_batch>(
        filled, [&](auto& s) { prepared(s).cancel_all(); }, unchanged,
        [&](auto& s) { CHECK(s.wheel.size() == static_cast<std::size_t>(filled) + 1); });
  }
  CHECK(failures > 0);
}

TEST_CASE("When memory is short while timers fire, the rest runs on the next run()",
          "[memory][exceptions]") {
  // Not a strand: Asio's own stops for good when it cannot post itself.
  const bool bound = GENERATE(false, true);
  const bool for_good = GENERATE(false, true);
  const bool throwing = GENERATE(false, true);
  int failures = 0;
  for (int n = 0; n != 20; ++n) {
    const at_start clock;
    asio::io_context io;
    manual_wheel wheel{io};
    int ran = 0;
    const auto f = [&ran, throwing] {
      if (++ran % 100 == 1 && throwing)
        throw std::bad_alloc();
    };
    for (int i = 0; i != 1000; ++i) {
      if (bound)
        wheel.schedule_after(10ms, asio::bind_executor(io, f));
      else
        wheel.schedule_after(10ms, f);
    }
    wheel.schedule_after(1s, [&ran] { ++ran; });
    manual_clock::advance(10ms);
    // From inside run(), past what settle() itself allocates.
    asio::post(io, [n, for_good] {
      fail_for_good = for_good;
      until_failure = n;
    });
    for (int round = 0; round != 12; ++round) {
      try {
        settle(io);
      } catch (const std::bad_alloc&) {
        ++failures;
      }
      fail_for_good = false;
      until_failure = no_failure;
    }
    CHECK(ran == 1000);
    stall(io, 1s);
    CHECK(ran == 1001);
    CHECK(wheel.empty());
  }
  CHECK(failures > 0);
}

TEST_CASE("Destroying a wheel with timers pending allocates nothing", "[memory]") {
  const at_start clock;
  asio::io_context io;
  std::optional<manual_wheel> wheel(std::in_place, io);
  wheel->schedule_after(10ms, [] {});
  stall(io, 10ms);
  for (int i = 0; i != 1000; ++i) {
    wheel->schedule_after(i * 1s, [] {});
    wheel->schedule_every(10ms, 10ms,
                          [padding = std::array<char, 200>()] { static_cast<void>(padding); });
    static_cast<void>(wheel->schedule(kestrel::timer_task::one_shot(1h)));
  }
  const bool by_shutdown = GENERATE(false, true);
  const long before = allocations;
  if (by_shutdown)
    wheel->shutdown();
  else
    wheel.reset();
  const long after = allocations;
  CHECK(after == before);
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

TEST_CASE("A wait that cannot begin for want of memory throws, or is told so, and never both",
          "[memory][exceptions]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  wheel.schedule_after(1h, [] {});
  int told = 0;
  int failures = 0;
  for (int n = 0; n != 10; ++n) {
    told = 0;
    bool failed = false;
    asio::error_code error;
    const std::size_t before = wheel.size();
    until_failure = n;
    try {
      wheel.async_wait_after(1s, [&, padding = std::array<char, 100>()](asio::error_code ec) {
        static_cast<void>(padding);
        error = ec;
        ++told;
      });
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    until_failure = no_failure;
    settle(io);
    failures += failed || told != 0;
    CHECK(failed + told <= 1);
    if (failed || told != 0)
      CHECK(wheel.size() == before);
    if (told != 0)
      CHECK(error == std::errc::not_enough_memory);
    pass(io, 1s, 1s);
    pass(io, 20ms);
    CHECK(failed + told == 1);
    CHECK(wheel.size() == 1);
  }
  CHECK(failures > 0);
}

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE_METHOD(one_wheel, "A periodic coroutine with a slot fires in the same memory for ever",
                 "[memory][periodic][coroutines]") {
  asio::cancellation_signal signal;
  int ran = 0;
  const auto id = wheel.schedule_every(
      10ms, 10ms, asio::bind_cancellation_slot(signal.slot(), [&]() -> asio::awaitable<void> {
        ++ran;
        co_return;
      }));
  pass(io, 10s);
  const long before = live_blocks;
  largest_block = 0;
  pass(io, 100s);
  CHECK(ran == 11'000);
  CHECK(live_blocks <= before + 10);
  CHECK(largest_block < 16'000);
  CHECK(wheel.cancel(id));
}
#endif
