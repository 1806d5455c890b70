// SPDX-License-Identifier: MIT
//
// cancel() tells the truth: true means that the callback has not started and never will, wherever
// it is on its way; false means that it has, or that there is no such timer.

#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <cstdint>
#include <limits>
#include <vector>

using namespace kestrel_tests;

TEST_CASE_METHOD(one_wheel, "A pending timer is cancelled once and never runs", "[cancel]") {
  bool ran = false;
  const auto delay =
      GENERATE(as<manual_clock::duration>{}, 0ms, 1ms, 15ms, 999ms, 5999ms, 64s, 500s);
  const auto id = wheel.schedule_after(delay, [&] { ran = true; });
  CHECK(wheel.cancel(id));
  CHECK_FALSE(wheel.cancel(id));
  CHECK(wheel.empty());
  CHECK_FALSE(wheel.expiry(id));
  stall(io, delay + 1s);
  CHECK_FALSE(ran);
  CHECK(wheel.stats().cancelled == 1);
}

TEST_CASE_METHOD(one_wheel, "A timer that has run cannot be cancelled", "[cancel]") {
  const auto id = wheel.schedule_after(5ms, [] {});
  stall(io, 10ms);
  CHECK_FALSE(wheel.cancel(id));
  // Nor the next one that gets its place.
  const auto next = wheel.schedule_after(5ms, [] {});
  CHECK(next.index() == id.index());
  CHECK_FALSE(wheel.cancel(id));
  CHECK(wheel.size() == 1);
}

TEST_CASE("Ids that name no timer of this wheel cancel nothing", "[cancel]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel mine{io};
  manual_wheel other{io};
  CHECK_FALSE(mine.cancel({}));
  const auto my_id = mine.schedule_after(5ms, [] {});
  const auto other_id = other.schedule_after(5ms, [] {});
  REQUIRE(my_id.index() == other_id.index());
  CHECK_FALSE(mine.cancel(other_id));
  CHECK_FALSE(mine.postpone(other_id, 1s));
  CHECK_FALSE(mine.expiry(other_id));
  CHECK_FALSE(other.cancel(my_id));
  constexpr auto far_off = std::numeric_limits<std::uint32_t>::max();
  for (const kestrel::timer_id id :
       {kestrel::timer_id(far_off, 1), kestrel::timer_id(far_off, far_off),
        kestrel::timer_id(0, far_off), kestrel::timer_id(1u << 20, 3)}) {
    CHECK_FALSE(mine.cancel(id));
    CHECK_FALSE(mine.postpone(id, 1s));
    CHECK_FALSE(mine.postpone(id, 1s, [] {}));
    CHECK_FALSE(mine.expiry(id));
  }
  CHECK(mine.size() == 1);
  CHECK(other.size() == 1);
  CHECK(mine.cancel(my_id));
}

TEST_CASE_METHOD(one_wheel, "The first of two timers that are due together may cancel the second",
                 "[cancel]") {
  kestrel::timer_id second;
  int successes = 0;
  bool ran = false;
  const auto first = wheel.schedule_after(10ms, [&] {
    successes += wheel.cancel(second);
    successes += wheel.cancel(second);
  });
  second =
      wheel.schedule_after(GENERATE(as<manual_clock::duration>{}, 10ms, 20ms), [&] { ran = true; });
  stall(io, 30ms);
  CHECK(successes == 1);
  CHECK_FALSE(ran);
  CHECK_FALSE(wheel.cancel(first));
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A callback sees itself as started", "[cancel]") {
  int checked = 0;
  wheel.schedule_after(10ms, [&](kestrel::timer_id id) {
    CHECK_FALSE(wheel.cancel(id));
    CHECK_FALSE(wheel.postpone(id, 1s));
    CHECK_FALSE(wheel.expiry(id));
    CHECK(wheel.empty());
    ++checked;
  });
  stall(io, 10ms);
  CHECK(checked == 1);
}

TEST_CASE("A callback that waits in its strand's queue can still be cancelled", "[cancel]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  auto strand = asio::make_strand(other);
  manual_wheel wheel{io};
  bool ran = false;
  const auto id = wheel.schedule_after(10ms, asio::bind_executor(strand, [&] { ran = true; }));
  const auto kept = wheel.schedule_after(10ms, asio::bind_executor(strand, [] {}));
  stall(io, 10ms); // both are due and handed to the strand, whose context does not run yet
  CHECK(wheel.size() == 2);
  CHECK(wheel.expiry(id));
  CHECK(wheel.cancel(id));
  CHECK_FALSE(wheel.cancel(id));
  CHECK(wheel.size() == 1);
  // Its place may be taken by another timer before the strand gets to it.
  bool other_ran = false;
  wheel.schedule_after(1h, [&] { other_ran = true; });
  other.run();
  CHECK_FALSE(ran);
  CHECK_FALSE(other_ran);
  CHECK_FALSE(wheel.cancel(kept));
  CHECK(wheel.stats().fired == 1);
  CHECK(wheel.size() == 1);
}

TEST_CASE("A periodic callback that waits in its strand's queue can still be cancelled",
          "[cancel]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  auto strand = asio::make_strand(other);
  manual_wheel wheel{io};
  int ran = 0;
  const auto id = wheel.schedule_every(10ms, 10ms, asio::bind_executor(strand, [&] { ++ran; }));
  stall(io, 10ms);
  other.run();
  CHECK(ran == 1);
  stall(io, 10ms);
  CHECK(wheel.cancel(id));
  other.restart();
  other.run();
  stall(io, 1s);
  CHECK(ran == 1);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "When the last timer is cancelled, run() returns", "[cancel]") {
  const auto delay = GENERATE(as<manual_clock::duration>{}, 1ms, 3s, 1h);
  const auto first = wheel.schedule_after(delay, [] {});
  const auto second = wheel.schedule_after(delay + 1h, [] {});
  CHECK(wheel.cancel(first));
  CHECK_FALSE(out_of_work(io));
  CHECK(wheel.cancel(second));
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "When the last timer is cancelled while another runs, run() returns",
                 "[cancel]") {
  const auto far_off = wheel.schedule_after(1h, [] {});
  bool withdrawn = false;
  SECTION("from a callback") {
    wheel.schedule_after(10ms, [&] { withdrawn = wheel.cancel(far_off); });
    stall(io, 10ms);
  }
  SECTION("from a periodic callback that ends itself") {
    const bool self_first = GENERATE(true, false);
    wheel.schedule_every(10ms, 10ms, [&, self_first](kestrel::timer_id id) {
      if (self_first)
        wheel.cancel(id);
      withdrawn = wheel.cancel(far_off);
      if (!self_first)
        wheel.cancel(id);
    });
    stall(io, 10ms);
  }
  SECTION("from a callback on a strand") {
    wheel.schedule_after(10ms, asio::bind_executor(asio::make_strand(io),
                                                   [&] { withdrawn = wheel.cancel(far_off); }));
    stall(io, 10ms);
  }
  SECTION("while a callback waits in its strand's queue") {
    asio::io_context other;
    wheel.schedule_after(10ms, asio::bind_executor(asio::make_strand(other), [] {}));
    stall(io, 10ms);
    withdrawn = wheel.cancel(far_off);
    other.run();
  }
  CHECK(withdrawn);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "Timers are cancelled wherever they stand in their slot", "[cancel]") {
  journal ran;
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 100; ++i)
    ids.push_back(wheel.schedule_after(i % 2 ? 55ms : 7s, ran.note(i)));
  std::vector<int> expected;
  for (int i = 0; i != 100; ++i) {
    if (i % 3 == 0 || i > 96)
      CHECK(wheel.cancel(ids[static_cast<std::size_t>(i)]));
    else if (i % 2)
      expected.push_back(i);
  }
  stall(io, 60ms);
  CHECK(ran.labels() == expected);
  for (int i = 0; i <= 96; i += 2) {
    if (i % 3 != 0)
      expected.push_back(i);
  }
  pass(io, 7s);
  CHECK(ran.labels() == expected);
}
