// SPDX-License-Identifier: MIT
//
// timer_service when memory is short, and over millions of timers.

#include <kestrel/timer_service.hpp>

#include "counted_new.hpp"
#include "manual_clock.hpp"

#include <asio/io_context.hpp>

#include <catch.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using kestrel::timer_id;
using kestrel::timer_notification;
using kestrel::timer_task;

using manual_service = kestrel::basic_timer_service<manual_clock>;

namespace {

struct one_service : one_wheel {
  manual_service service{wheel, {.capacity = 4}};
};

/// Of each new fixture's first `operation`, the n-th allocation fails, for every n there is.
template <class Operation>
int fail_each_allocation(std::size_t already, std::size_t added, Operation operation) {
  for (int n = 0;; ++n) {
    one_service s;
    for (std::size_t i = 0; i != already; ++i)
      s.service.schedule_after(1h);
    const auto prepared = operation(s); // what needs memory without being scheduled
    bool failed = false;
    until_failure = n;
    try {
      prepared();
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    until_failure = no_failure;
    CHECK(s.service.size() == already + (failed ? 0 : added));
    CHECK(s.wheel.size() == already + (failed ? 0 : added));
    if (failed) {
      prepared(); // now there is memory
      CHECK(s.service.size() == already + added);
      CHECK(s.wheel.size() == already + added);
    }
    std::size_t told = 0;
    for (std::size_t i = 0; i != added; ++i)
      s.service.async_receive(
          [&](asio::error_code ec, timer_notification) { told += ec ? 0u : 1u; });
    stall(s.io, 1min);
    CHECK(told == added);
    CHECK(s.service.size() == already);
    if (!failed)
      return n;
  }
}

} // namespace

TEST_CASE("Scheduling through a service when memory is short inserts nothing",
          "[service][memory][exceptions]") {
  const auto already = GENERATE(as<std::size_t>(), 0, 1, 7, 100);
  SECTION("a timer") {
    CHECK(fail_each_allocation(already, 1, [](one_service& s) {
            return [&s] { s.service.schedule_after(10ms, [] {}); };
          }) > 0);
  }
  SECTION("a large callable") {
    CHECK(fail_each_allocation(already, 1, [](one_service& s) {
            return [&s, padding = std::array<char, 200>()] {
              s.service.schedule_after(10ms, [padding] { static_cast<void>(padding); });
            };
          }) > 0);
  }
  SECTION("a batch") {
    CHECK(fail_each_allocation(already, 5, [](one_service& s) {
            return [&s] {
              std::vector<timer_task> tasks;
              for (int i = 0; i != 5; ++i)
                tasks.push_back(timer_task::one_shot(10ms));
              s.service.schedule(tasks);
            };
          }) > 5);
  }
  SECTION("a batch in slots") {
    CHECK(fail_each_allocation(already, 5, [](one_service& s) {
            return [&s] {
              std::vector<timer_task> tasks;
              for (int i = 0; i != 5; ++i)
                tasks.push_back(timer_task::one_shot(10ms));
              s.service.schedule(s.service.allocate(5), tasks);
            };
          }) > 5);
  }
}

TEST_CASE_METHOD(one_service, "Postponing through a service when memory is short changes nothing",
                 "[service][memory][exceptions]") {
  const timer_id a = service.schedule_after(1s);
  const timer_id b = service.schedule_after(2s);
  const auto end = manual_clock::now();
  const std::vector<std::pair<timer_id, std::chrono::seconds>> moves{{a, 5s}, {b, 6s}};
  for (int n = 0;; ++n) {
    until_failure = n;
    std::size_t moved = 0;
    try {
      moved = service.postpone(moves);
    } catch (const std::bad_alloc&) {
    }
    until_failure = no_failure;
    if (moved != 0) {
      CHECK(moved == 2);
      break;
    }
    CHECK(wheel.expiry(a) == end + 1s);
    CHECK(wheel.expiry(b) == end + 2s);
  }
  CHECK(wheel.expiry(a) == end + 5s);
  CHECK(wheel.expiry(b) == end + 6s);
}

TEST_CASE_METHOD(one_service, "A receiver when memory is short takes nothing away",
                 "[service][memory][exceptions]") {
  service.schedule_after(10ms);
  stall(io, 10ms);
  std::size_t told = 0;
  until_failure = 0;
  CHECK_THROWS_AS(service.async_receive([&, padding = std::array<char, 500>()](
                                            asio::error_code, timer_notification n) {
    told += n.count + padding.size() - 500;
  }),
                  std::bad_alloc);
  until_failure = no_failure;
  service.async_receive([&](asio::error_code, timer_notification n) { told += n.count; });
  settle(io);
  CHECK(told == 1);
}

TEST_CASE_METHOD(one_service, "A million timers of a service leave memory as it was",
                 "[service][memory]") {
  std::uint64_t told = 0;
  const auto round = [&](int cancelled) {
    for (int i = 0; i != cancelled; ++i)
      service.cancel(service.schedule_after(10ms));
    for (int i = 0; i != 100; ++i)
      service.schedule_after(10ms);
    stall(io, 10ms);
    for (int i = 0; i != 100; ++i)
      service.async_receive([&](asio::error_code, timer_notification n) { told += n.count; });
    settle(io);
  };
  round(1000);
  round(1000);
  const long before = live_blocks;
  for (int i = 0; i != 100; ++i)
    round(10'000);
  CHECK(live_blocks <= before + 10);
  CHECK(told == 102 * 100);
}

TEST_CASE_METHOD(one_service, "However many timers a service has, one more costs the same",
                 "[service][memory]") {
  constexpr std::size_t timers = 100'000;
  wheel.reserve(timers);
  service.schedule_after(1h);
  largest_block = 0;
  for (std::size_t i = 1; i != timers; ++i)
    service.schedule_after(1h);
  CHECK(service.size() == timers);
  CHECK(largest_block < 16'000);
  const long before = allocations;
  service.shutdown();
  CHECK(service.size() == 0);
  CHECK(wheel.empty());
  CHECK(allocations == before);
}

TEST_CASE_METHOD(one_service, "A periodic timer that nobody receives of takes no more memory",
                 "[service][memory][periodic]") {
  service.schedule_every(10ms, 10ms);
  pass(io, 100ms);
  const long before = live_blocks;
  pass(io, 10s);
  CHECK(live_blocks == before);
}

TEST_CASE_METHOD(one_wheel, "Services that were made and dropped leave nothing with their wheel",
                 "[service][memory]") {
  const auto make_and_drop = [&](int n) {
    for (int i = 0; i != n; ++i) {
      manual_service service{wheel, {.capacity = 4}};
      service.schedule_after(1h);
    }
    settle(io);
  };
  make_and_drop(100);
  const long before = live_blocks;
  largest_block = 0;
  make_and_drop(10'000);
  CHECK(live_blocks <= before + 10);
  CHECK(largest_block < 16'000);
  CHECK(wheel.empty());
}
