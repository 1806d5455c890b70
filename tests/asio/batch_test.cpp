// SPDX-License-Identifier: MIT
//
// Batches: many timers scheduled, cancelled or postponed at once do as they would one by one, and
// what is refused has changed nothing.

#include "error_of.hpp"
#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <ranges>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using kestrel::errc;
using kestrel::timer_id;
using kestrel::timer_slot;
using kestrel::timer_task;

namespace {

using batch_handle = manual_wheel::batch_handle_type;
using handle = manual_wheel::handle_type;

static_assert(std::ranges::random_access_range<batch_handle>);
static_assert(std::ranges::sized_range<batch_handle>);
static_assert(std::ranges::common_range<const batch_handle>);
static_assert(std::same_as<std::ranges::range_value_t<batch_handle>, handle>);
static_assert(std::copyable<batch_handle> && std::default_initializable<batch_handle>);
static_assert(std::same_as<kestrel::timer_wheel::batch_handle_type, kestrel::batch_handle>);

template <class Tasks>
concept batch_of_tasks = requires(manual_wheel& wheel, Tasks&& tasks) {
  wheel.schedule(std::forward<Tasks>(tasks));
};

static_assert(batch_of_tasks<std::vector<timer_task>> && batch_of_tasks<std::vector<timer_task>&>);
static_assert(!batch_of_tasks<const std::vector<timer_task>&>);
static_assert(!batch_of_tasks<std::span<const timer_task>>);
static_assert(!batch_of_tasks<std::vector<timer_slot>>);

/// n tasks that note their number, counted from `first`, all after one delay.
std::vector<timer_task> noting_tasks(journal& ran, int n, manual_clock::duration delay = 10ms,
                                     int first = 0) {
  std::vector<timer_task> tasks;
  for (int i = 0; i != n; ++i)
    tasks.push_back(timer_task::one_shot(delay, ran.note(first + i)));
  return tasks;
}

std::vector<int> numbers(int n, int first = 0) {
  std::vector<int> result;
  for (int i = 0; i != n; ++i)
    result.push_back(first + i);
  return result;
}

/// Looks, when it is destroyed, whether a wheel's lock is held, and uses the wheel.
struct careful {
  manual_wheel* wheel;
  int* destroyed;

  careful(manual_wheel& w, int& d) : wheel{&w}, destroyed{&d} {}
  careful(careful&& other) noexcept
      : wheel{std::exchange(other.wheel, nullptr)}, destroyed{other.destroyed} {}
  careful& operator=(careful&&) = delete;
  ~careful() {
    if (wheel == nullptr)
      return;
    *destroyed += checked_mutex::held() == 0 ? 1 : 1000;
    wheel->cancel(wheel->schedule_after(1s, [] {}));
  }
  void operator()() const {}
};

} // namespace

// ---- Scheduling

TEST_CASE_METHOD(one_wheel, "The i-th task runs in the i-th slot, and the i-th handle is its",
                 "[batch]") {
  journal ran;
  auto slots = wheel.allocate(5);
  std::swap(slots[1], slots[4]);
  std::vector<timer_id> ids;
  for (const timer_slot& slot : slots)
    ids.push_back(slot.id());
  std::vector<timer_task> tasks;
  for (int i = 0; i != 5; ++i)
    tasks.push_back(
        timer_task::one_shot((i + 1) * 10ms, [&, i, id = ids[std::size_t(i)]](timer_id told) {
          ran.note(told == id ? i : -1)();
        }));
  const auto batch = wheel.schedule(slots, tasks);
  CHECK(batch.size() == 5);
  CHECK(batch.ids() == ids);
  CHECK(wheel.size() == 5);
  for (std::size_t i = 0; i != 5; ++i) {
    CHECK(batch[i].id() == ids[i]);
    CHECK(batch[i].expiry() == manual_clock::start + (static_cast<int>(i) + 1) * 10ms);
    CHECK_FALSE(slots[i]);
  }
  pass(io, 50ms);
  CHECK(ran == journal{{0, 10ms}, {1, 20ms}, {2, 30ms}, {3, 40ms}, {4, 50ms}});
  CHECK(wheel.empty());
  CHECK(wheel.stats().scheduled == 5);
}

TEST_CASE_METHOD(one_wheel, "Tasks are scheduled together without slots", "[batch]") {
  journal ran;
  std::vector<timer_task> tasks;
  tasks.push_back(timer_task::one_shot(30ms, ran.note(0)));
  tasks.push_back(timer_task::periodic(10ms, 20ms, ran.note(1)));
  tasks.push_back(timer_task::one_shot(0s, ran.note(2)));
  tasks.push_back(timer_task::one_shot(10ms));
  tasks.push_back(timer_task::one_shot(70s, ran.note(4)));
  auto batch = wheel.schedule(tasks);
  REQUIRE(batch.size() == 5);
  CHECK(batch[0].expiry() == manual_clock::start + 30ms);
  CHECK(batch[1].expiry() == manual_clock::start + 10ms);
  CHECK(batch[4].expiry() == manual_clock::start + 70s);
  CHECK(ran.empty());
  settle(io);
  pass(io, 30ms);
  CHECK(ran == journal{{2, 0ms}, {1, 10ms}, {0, 30ms}, {1, 30ms}});
  CHECK(batch[1].cancel());
  stall(io, 70s);
  CHECK(ran.labels().back() == 4);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "Tasks come in any range whose elements can be taken from", "[batch]") {
  journal ran;
  std::size_t n = 0;
  SECTION("a temporary vector") { n = wheel.schedule(noting_tasks(ran, 3)).size(); }
  SECTION("an array") {
    std::array tasks{timer_task::one_shot(10ms, ran.note(0)),
                     timer_task::one_shot(10ms, ran.note(1)),
                     timer_task::one_shot(10ms, ran.note(2))};
    n = wheel.schedule(tasks).size();
  }
  SECTION("lists") {
    std::list<timer_slot> slots;
    std::list<timer_task> tasks;
    for (int i = 0; i != 3; ++i) {
      slots.push_back(wheel.allocate());
      tasks.push_back(timer_task::one_shot(10ms, ran.note(i)));
    }
    n = wheel.schedule(slots, tasks).size();
  }
  SECTION("spans, which leave the rest alone") {
    auto tasks = noting_tasks(ran, 5);
    auto slots = wheel.allocate(4);
    n = wheel.schedule(std::span(slots).first(3), std::span(tasks).first(3)).size();
    CHECK(slots[3]);
    CHECK(wheel.size() == 3);
  }
  SECTION("views") {
    auto tasks = noting_tasks(ran, 5);
    n = wheel.schedule(tasks | std::views::take(3)).size();
  }
  CHECK(n == 3);
  stall(io, 10ms);
  CHECK(ran.labels() == std::vector{0, 1, 2});
}

TEST_CASE_METHOD(one_wheel,
                 "A batch keeps its order within a tick, between what came before and after",
                 "[batch][order]") {
  journal ran;
  const auto delay = GENERATE(as<manual_clock::duration>{}, 10ms, 7s, 70s);
  wheel.schedule_after(delay, ran.note(0));
  wheel.schedule(noting_tasks(ran, 1000, delay, 1));
  wheel.schedule_after(delay, ran.note(1001));
  stall(io, delay);
  CHECK(ran.labels() == numbers(1002));
}

TEST_CASE_METHOD(one_wheel, "An empty batch is no work", "[batch]") {
  std::vector<timer_slot> slots;
  std::vector<timer_task> tasks;
  const bool busy = GENERATE(false, true);
  timer_id other;
  if (busy)
    other = wheel.schedule_after(10ms, [] {});
  for (auto batch : {wheel.schedule(tasks), wheel.schedule(slots, tasks), batch_handle()}) {
    CHECK(batch.empty());
    CHECK(batch.size() == 0);
    CHECK(batch.ids().empty());
    CHECK(batch.begin() == batch.end());
    CHECK(batch.cancel_all() == 0);
    CHECK(batch.postpone_all(1s) == 0);
    CHECK(batch.postpone_each(std::vector<manual_clock::duration>()) == 0);
    CHECK(error_of([&] { batch.postpone_each(std::vector{1s}); }) == errc::batch_length_mismatch);
  }
  CHECK(wheel.cancel(std::vector<timer_id>()) == 0);
  CHECK(wheel.postpone(std::vector<std::pair<timer_id, std::chrono::seconds>>()) == 0);
  CHECK(wheel.cancel(other) == busy);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
  // The wheel still wakes for what comes.
  journal ran;
  wheel.schedule(noting_tasks(ran, 1));
  stall(io, 10ms);
  CHECK(ran.labels() == std::vector{0});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A batch of one", "[batch]") {
  journal ran;
  auto slots = wheel.allocate(1);
  auto tasks = noting_tasks(ran, 1);
  auto batch = wheel.schedule(slots, tasks);
  CHECK(batch.size() == 1);
  SECTION("fires") {
    stall(io, 10ms);
    CHECK(ran == journal{{0, 10ms}});
    CHECK(batch.cancel_all() == 0);
  }
  SECTION("is cancelled") { CHECK(batch.cancel_all() == 1); }
  SECTION("is postponed") {
    CHECK(batch.postpone_all(1s) == 1);
    CHECK(batch[0].expiry() == manual_clock::start + 1s);
    CHECK((*batch.begin()).cancel());
  }
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A batch may begin before everything else on the wheel",
                 "[batch][wakeups]") {
  journal ran;
  wheel.schedule_after(10h, ran.note(-1));
  stall(io, 1h);
  std::vector<timer_task> tasks;
  for (int i = 5; i != 0; --i) // the last is the earliest
    tasks.push_back(timer_task::one_shot(i * 10ms, ran.note(i)));
  wheel.schedule(tasks);
  pass(io, 100ms);
  CHECK(ran.labels() == numbers(5, 1));
}

TEST_CASE_METHOD(one_wheel, "Ten thousand timers of one batch all fire, once each and on time",
                 "[batch]") {
  constexpr int n = 10'000;
  std::vector<int> fired(n);
  int wrong = 0;
  std::vector<timer_task> tasks;
  std::mt19937_64 random(1);
  for (int i = 0; i != n; ++i) {
    const manual_clock::duration delay(static_cast<std::int64_t>(random() % 10'000'000'000));
    tasks.push_back(timer_task::one_shot(delay, [&, i, delay] {
      ++fired[static_cast<std::size_t>(i)];
      wrong += manual_clock::now() != tick_after(manual_clock::start + delay, manual_clock::start);
    }));
  }
  auto slots = wheel.allocate(n);
  const auto batch = GENERATE(true, false) ? wheel.schedule(slots, tasks) : wheel.schedule(tasks);
  CHECK(batch.size() == n);
  CHECK(wheel.size() == n);
  pass(io, 10s);
  CHECK(std::ranges::count(fired, 1) == n);
  CHECK(wrong == 0);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A batch takes callables that can only be moved, and on strands",
                 "[batch]") {
  const auto strand = asio::make_strand(io);
  int sum = 0;
  const auto alive = std::make_shared<int>(100);
  std::vector<timer_task> tasks;
  for (int i = 0; i != 5; ++i)
    tasks.push_back(timer_task::one_shot(
        10ms, [&sum, p = std::make_unique<int>(i), alive] { sum += *p + *alive; }));
  tasks.push_back(timer_task::one_shot(10ms, asio::bind_executor(strand, [&sum, strand, alive] {
                                         sum += strand.running_in_this_thread() ? 1000 : 0;
                                       })));
  wheel.schedule(tasks);
  CHECK(alive.use_count() == 7); // none was copied
  stall(io, 10ms);
  CHECK(sum == 1510);
  CHECK(alive.use_count() == 1);
}

TEST_CASE("A batch is scheduled from inside a callback, and by one of another batch",
          "[batch][reentrancy]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  journal ran;
  std::vector<timer_task> tasks;
  batch_handle inner;
  tasks.push_back(
      timer_task::one_shot(10ms, [&] { inner = wheel.schedule(noting_tasks(ran, 300)); }));
  tasks.push_back(timer_task::one_shot(10ms, ran.note(-1)));
  auto outer = wheel.schedule(tasks);
  SECTION("and runs") {
    pass(io, 20ms);
    auto expected = numbers(300);
    expected.insert(expected.begin(), -1);
    CHECK(ran.labels() == expected);
  }
  SECTION("and is cancelled by a sibling") {
    CHECK(outer[1].postpone(10ms, [&] { CHECK(inner.cancel_all() == 300); }));
    pass(io, 10ms);
    wheel.postpone(std::vector{std::pair(outer.ids()[1], 0ms)});
    pass(io, 50ms);
    CHECK(ran.empty());
  }
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "One of a batch may cancel the others that are due with it",
                 "[batch][reentrancy]") {
  batch_handle batch;
  int ran = 0;
  std::size_t withdrawn = 99;
  std::vector<timer_task> tasks;
  for (int i = 0; i != 300; ++i)
    tasks.push_back(timer_task::one_shot(10ms, [&] {
      if (++ran == 140) // of a later round of callbacks
        withdrawn = batch.cancel_all();
    }));
  batch = wheel.schedule(tasks);
  stall(io, 10ms);
  CHECK(ran == 140);
  CHECK(withdrawn == 160);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

// ---- What is refused

TEST_CASE_METHOD(one_wheel, "A batch that is refused has changed nothing", "[batch]") {
  journal ran;
  manual_wheel other{io};
  const bool busy = GENERATE(false, true);
  timer_id running;
  if (busy)
    running = wheel.schedule_after(1h, [] {});
  auto slots = wheel.allocate(4);
  auto tasks = noting_tasks(ran, 4);
  auto spare = wheel.allocate();
  errc expected = errc::invalid_slot;
  const std::size_t middle = GENERATE(as<std::size_t>{}, 0, 2, 3);
  SECTION("for a task without a slot") {
    expected = errc::batch_length_mismatch;
    spare = std::move(slots[middle]);
    slots.erase(slots.begin() + static_cast<std::ptrdiff_t>(middle));
  }
  SECTION("for a slot without a task") {
    expected = errc::batch_length_mismatch;
    slots.push_back(std::move(spare));
  }
  SECTION("for slots without any task") {
    expected = errc::batch_length_mismatch;
    CHECK(error_of([&] { wheel.schedule(slots, std::vector<timer_task>()); }) == expected);
    slots.push_back(std::move(spare));
  }
  SECTION("for a slot of another wheel") { slots[middle] = other.allocate(); }
  SECTION("for an empty slot") { slots[middle] = timer_slot(); }
  SECTION("for a used slot") {
    wheel.cancel(wheel.schedule(std::move(slots[middle]), timer_task::one_shot(1s)).id());
  }
  SECTION("for a used task") {
    expected = errc::invalid_callback;
    wheel.schedule(std::move(tasks[middle])).cancel();
  }
  std::vector<timer_id> ids;
  for (const timer_slot& slot : slots)
    ids.push_back(slot.id());
  const auto before = wheel.stats();

  CHECK(error_of([&] { wheel.schedule(slots, tasks); }) == expected);
  if (expected == errc::batch_length_mismatch)
    CHECK(message_of([&] {
            wheel.schedule(slots, tasks);
          }).find("slots = " + std::to_string(slots.size()) + ", tasks = 4") != std::string::npos);
  else
    CHECK(message_of([&] {
            wheel.schedule(slots, tasks);
          }).find((expected == errc::invalid_slot ? "slot " : "task ") + std::to_string(middle)) ==
          0);

  CHECK(wheel.size() == (busy ? 1u : 0u));
  CHECK(other.empty());
  CHECK(wheel.stats().scheduled == before.scheduled);
  CHECK(out_of_work(io) != busy);
  REQUIRE(slots.size() == ids.size());
  for (std::size_t i = 0; i != slots.size(); ++i)
    CHECK(slots[i].id() == ids[i]);
  CHECK(wheel.cancel(ids) == 0);
  // Slots and tasks are still good, one by one.
  std::size_t scheduled = 0;
  for (timer_slot& slot : slots) {
    if (scheduled == tasks.size())
      break;
    if (expected == errc::invalid_slot && &slot == &slots[middle])
      continue;
    if (expected == errc::invalid_callback && scheduled == middle)
      tasks[middle] = timer_task::one_shot(10ms, ran.note(static_cast<int>(middle)));
    wheel.schedule(std::move(slot), std::move(tasks[scheduled++]));
  }
  stall(io, 10ms);
  CHECK(ran.labels() == numbers(static_cast<int>(scheduled)));
  CHECK(wheel.cancel(running) == busy);
}

TEST_CASE_METHOD(one_wheel, "A batch that names one slot or task twice is refused", "[batch]") {
  journal ran;
  auto slots = wheel.allocate(3);
  auto tasks = noting_tasks(ran, 3);
  const auto id = slots[1].id();
  const auto twice = [](auto& elements) { // 0, 1, 2, 1
    return std::views::iota(std::size_t{0}, std::size_t{4}) |
           std::views::transform([&elements](std::size_t i) -> auto& {
             return elements[i == 3 ? 1 : i];
           });
  };
  std::string said;
  SECTION("a task") {
    CHECK(error_of([&] { wheel.schedule(twice(tasks)); }) == errc::invalid_callback);
    said = message_of([&] { wheel.schedule(twice(tasks)); });
    CHECK(said.find("task 3") == 0);
  }
  SECTION("a task, with slots") {
    slots.push_back(wheel.allocate());
    CHECK(error_of([&] { wheel.schedule(slots, twice(tasks)); }) == errc::invalid_callback);
    slots.pop_back();
  }
  SECTION("a slot") {
    auto four = noting_tasks(ran, 4);
    CHECK(error_of([&] { wheel.schedule(twice(slots), four); }) == errc::invalid_slot);
    said = message_of([&] { wheel.schedule(twice(slots), four); });
    CHECK(said.find("slot 3") == 0);
  }
  SECTION("a task, filled again and again") {
    std::optional<timer_task> task;
    const auto filled = std::views::iota(0, 3) | std::views::transform([&](int i) -> timer_task& {
                          return task.emplace(timer_task::one_shot(10ms, ran.note(i)));
                        });
    CHECK(message_of([&] { wheel.schedule(filled); }).find("task 1") == 0);
  }
  SECTION("or whose range throws on the way") {
    const auto throwing = [](auto& elements) {
      return elements | std::views::transform([&elements](auto& element) -> auto& {
               if (&element == &elements[2])
                 throw std::runtime_error("no more");
               return element;
             });
    };
    CHECK_THROWS_AS(wheel.schedule(throwing(tasks)), std::runtime_error);
    CHECK_THROWS_AS(wheel.schedule(throwing(slots), tasks), std::runtime_error);
  }
  SECTION("an empty slot, which is refused for that") {
    auto four = noting_tasks(ran, 4);
    const auto empty = std::views::iota(0, 4) | std::views::transform([&](int) -> timer_slot& {
                         static timer_slot none;
                         return none;
                       });
    CHECK(message_of([&] { wheel.schedule(empty, four); }).find("slot 0") == 0);
  }
  CHECK(wheel.empty());
  CHECK(wheel.stats().scheduled == 0);
  CHECK(out_of_work(io));
  CHECK(slots[1].id() == id);
  CHECK(wheel.schedule(slots, tasks).ids()[1] == id);
  stall(io, 10ms);
  CHECK(ran.labels() == numbers(3));
}

TEST_CASE_METHOD(one_wheel, "Tasks and slots may be made as a batch goes through its range",
                 "[batch]") {
  journal ran;
  int destroyed = 0;
  const auto made = [&](int n) {
    return std::views::iota(0, n) |
           std::views::transform([&](int i) { return timer_task::one_shot(10ms, ran.note(i)); });
  };
  const auto made_slots = [&](int n) {
    return std::views::iota(0, n) | std::views::transform([&](int) { return wheel.allocate(); });
  };
  int scheduled = 3;
  SECTION("tasks") { CHECK(wheel.schedule(made(3)).size() == 3); }
  SECTION("slots and tasks") { CHECK(wheel.schedule(made_slots(3), made(3)).size() == 3); }
  SECTION("tasks that are moved from") {
    auto tasks = noting_tasks(ran, 3);
    CHECK(wheel
              .schedule(std::ranges::subrange(std::make_move_iterator(tasks.begin()),
                                              std::make_move_iterator(tasks.end())))
              .size() == 3);
  }
  SECTION("nothing is left of a batch that is refused") {
    scheduled = 0;
    auto slots = wheel.allocate(2);
    const auto before = wheel.stats();
    const auto careful_tasks = std::views::iota(0, 3) | std::views::transform([&](int) {
                                 return timer_task::one_shot(10ms, careful(wheel, destroyed));
                               });
    CHECK(error_of([&] { wheel.schedule(slots, careful_tasks); }) == errc::batch_length_mismatch);
    CHECK(destroyed == 3); // outside the lock
    CHECK(error_of([&] { wheel.schedule(made_slots(4), made(3)); }) == errc::batch_length_mismatch);
    CHECK(wheel.stats().capacity == before.capacity);
    CHECK(slots[0]);
    CHECK(slots[1]);
  }
  stall(io, 10ms);
  CHECK(ran.labels() == numbers(scheduled));
  CHECK(checked_mutex::take_violations() == 0);
}

TEST_CASE("A batch is refused after shutdown, and its slots and tasks are unharmed",
          "[batch][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  manual_wheel wheel{*io};
  journal ran;
  auto earlier = wheel.schedule(noting_tasks(ran, 3));
  auto slots = wheel.allocate(3);
  auto tasks = noting_tasks(ran, 3);
  if (GENERATE(true, false))
    wheel.shutdown();
  else
    io.reset();
  CHECK(error_of([&] { wheel.schedule(slots, tasks); }) == errc::shut_down);
  CHECK(error_of([&] { wheel.schedule(tasks); }) == errc::shut_down);
  CHECK(earlier.cancel_all() == 0);
  CHECK(earlier.postpone_all(1s) == 0);
  CHECK(wheel.cancel(earlier.ids()) == 0);
  CHECK(std::ranges::all_of(slots, [](const timer_slot& s) { return bool(s); }));
  asio::io_context other_io;
  manual_wheel other{other_io};
  other.schedule(tasks);
  stall(other_io, 10ms);
  CHECK(ran.labels() == numbers(3));
}

TEST_CASE("A batch handle may outlive its wheel", "[batch][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  std::optional<manual_wheel> wheel(std::in_place, *io);
  journal ran;
  auto batch = wheel->schedule(noting_tasks(ran, 3));
  if (GENERATE(true, false))
    wheel.reset();
  if (GENERATE(true, false))
    io.reset();
  if (!wheel || !io) {
    CHECK(batch.size() == 3);
    CHECK(batch.cancel_all() == 0);
    CHECK(batch.postpone_all(1s) == 0);
    CHECK_FALSE(batch[1].cancel());
    CHECK_FALSE(batch[2].expiry());
    CHECK(error_of([&] { batch.postpone_each(std::vector{1s}); }) == errc::batch_length_mismatch);
  }
  const auto copy = batch;
  wheel.reset();
  CHECK(copy.ids() == batch.ids());
  CHECK_FALSE(copy[0].expiry());
}

// ---- Cancelling

TEST_CASE_METHOD(one_wheel, "Cancelling a range counts the timers that were pending", "[batch]") {
  journal ran;
  manual_wheel other{io};
  const auto first = wheel.schedule_after(10ms, ran.note(1));
  const auto second = wheel.schedule_every(10ms, 10ms, ran.note(2));
  const auto far_off = wheel.schedule_after(70s, ran.note(3));
  const auto kept = wheel.schedule_after(10ms, ran.note(4));
  const auto stale = wheel.schedule_after(10ms, ran.note(5));
  const auto theirs = other.schedule_after(10ms, ran.note(6));
  const auto slot = wheel.allocate();
  wheel.cancel(stale);
  std::vector ids{first,  stale,   second, second,    timer_id(),
                  theirs, far_off, first,  slot.id(), second};
  SECTION("a vector") { CHECK(wheel.cancel(ids) == 3); }
  SECTION("a temporary list") {
    CHECK(wheel.cancel(std::list<timer_id>(ids.begin(), ids.end())) == 3);
  }
  SECTION("a view") {
    CHECK(wheel.cancel(std::views::iota(std::size_t{0}, ids.size()) |
                       std::views::transform([&](std::size_t i) { return ids[i]; })) == 3);
  }
  SECTION("a view that ends with a sentinel") {
    ids.emplace_back(timer_id::from_value(~std::uint64_t{0}));
    ids.emplace_back(kept);
    CHECK(wheel.cancel(ids | std::views::take_while([&](timer_id id) { return id != ids[10]; })) ==
          3);
  }
  SECTION("a view that cannot be iterated while const") {
    CHECK(wheel.cancel(ids | std::views::filter([](timer_id id) { return bool(id); })) == 3);
  }
  SECTION("a span") { CHECK(wheel.cancel(std::span(ids)) == 3); }
  SECTION("a list in braces") {
    CHECK(wheel.cancel({first, stale, second, second, theirs}) == 2);
    CHECK(wheel.cancel({far_off}) == 1);
    CHECK(wheel.cancel({}) == 0);
  }
  CHECK(wheel.size() == 1);
  CHECK(wheel.stats().cancelled == 4);
  CHECK(wheel.cancel(ids) == (ids.back() == kept ? 1u : 0u));
  CHECK(other.size() == 1);
  stall(io, 100s);
  CHECK(ran.labels() == (ids.back() == kept ? std::vector{6} : std::vector{4, 6}));
}

TEST_CASE_METHOD(one_wheel, "Cancelling all lets run() return", "[batch]") {
  journal ran;
  auto batch = wheel.schedule(noting_tasks(ran, 500, 1h));
  CHECK_FALSE(out_of_work(io));
  CHECK(batch.cancel_all() == 500);
  CHECK(batch.cancel_all() == 0);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "Callables of a batch are destroyed outside the lock", "[batch]") {
  int destroyed = 0;
  std::vector<timer_task> tasks;
  for (int i = 0; i != 10; ++i)
    tasks.push_back(timer_task::one_shot(10ms, careful(wheel, destroyed)));
  auto slots = wheel.allocate(10);
  auto batch = wheel.schedule(slots, tasks);
  tasks.clear();
  CHECK(destroyed == 0);
  int expected = 10;
  SECTION("when it is cancelled") { CHECK(batch.cancel_all() == 10); }
  SECTION("when some are") { CHECK(wheel.cancel(batch.ids() | std::views::take(5)) == 5); }
  SECTION("when they are replaced") {
    std::vector<std::pair<std::chrono::milliseconds, std::function<void()>>> moves(10);
    std::ranges::fill(moves, std::pair(20ms, [] {}));
    CHECK(batch.postpone_each(moves) == 10);
    CHECK(destroyed == 10);
  }
  SECTION("when they come too late to replace anything") {
    CHECK(batch.cancel_all() == 10);
    for (auto h : batch)
      CHECK_FALSE(h.postpone(1ms, careful(wheel, destroyed)));
    expected = 20;
  }
  SECTION("when they fire") {}
  stall(io, 10ms);
  CHECK(destroyed == expected);
  CHECK(checked_mutex::take_violations() == 0);
}

// ---- Postponing

TEST_CASE_METHOD(one_wheel, "Postponing a range moves each timer by its own delay", "[batch]") {
  journal ran;
  manual_wheel other{io};
  const auto first = wheel.schedule_after(10ms, ran.note(1));
  const auto second = wheel.schedule_every(10ms, 20ms, ran.note(2));
  const auto third = wheel.schedule_after(1h, ran.note(3));
  const auto stale = wheel.schedule_after(10ms, ran.note(4));
  const auto theirs = other.schedule_after(10ms, ran.note(5));
  wheel.cancel(stale);
  SECTION("and keeps the callbacks") {
    const std::vector<std::pair<timer_id, manual_clock::duration>> moves{
        {first, 50ms}, {stale, 1ms},  {second, 20ms}, {timer_id(), 1ms},
        {theirs, 1ms}, {third, 30ms}, {first, 50ms}};
    CHECK(wheel.postpone(moves) == 4); // the last move of a timer counts
    CHECK(wheel.expiry(first) == manual_clock::start + 50ms);
    pass(io, 50ms);
    CHECK(ran.labels() == std::vector{5, 2, 3, 2, 1});
  }
  SECTION("and keeps the callbacks, of a list in braces") {
    CHECK(wheel.postpone({{first, 50ms}, {stale, 1s}, {second, 0.02s}, {third, 29'999us}}) == 3);
    CHECK(wheel.postpone({{first, std::chrono::hours::max()}}) == 1);
    CHECK(wheel.expiry(first) > manual_clock::start + 1h); // saturates
    CHECK(wheel.postpone({{first, 50ms}}) == 1);
    CHECK(wheel.postpone({}) == 0);
    pass(io, 50ms);
    CHECK(ran.labels() == std::vector{5, 2, 3, 2, 1});
  }
  SECTION("and keeps the callbacks, of structures that a view makes pairs of") {
    struct session {
      timer_id idle;
      std::chrono::milliseconds timeout;
    };
    const std::vector<session> sessions{{first, 50ms}, {second, 20ms}, {third, 30ms}};
    CHECK(wheel.postpone(sessions | std::views::transform([](const session& s) {
                           return std::pair(s.idle, s.timeout);
                         })) == 3);
    pass(io, 50ms);
    CHECK(ran.labels() == std::vector{5, 2, 3, 2, 1});
  }
  SECTION("and replaces callbacks, but for those that are not given") {
    using callback = std::optional<std::function<void()>>;
    std::vector<std::tuple<timer_id, std::chrono::milliseconds, callback>> moves{
        {first, 20ms, std::nullopt}, {second, 30ms, ran.note(12)}, {third, 40ms, std::nullopt}};
    const bool moved = GENERATE(false, true);
    CHECK((moved ? wheel.postpone(std::move(moves)) : wheel.postpone(moves)) == 3);
    pass(io, 40ms);
    CHECK(ran == journal{{5, 10ms}, {1, 20ms}, {12, 30ms}, {3, 40ms}});
  }
  SECTION("and replaces the callbacks") {
    const auto f = [&](int label) { return std::function<void()>(ran.note(label)); };
    const std::vector<std::tuple<timer_id, std::chrono::milliseconds, std::function<void()>>> moves{
        {first, 20ms, f(11)}, {stale, 1ms, f(14)},  {second, 30ms, f(12)},
        {theirs, 1ms, f(15)}, {third, 40ms, f(13)}, {first, 60ms, f(21)}};
    CHECK(wheel.postpone(moves) == 4);
    pass(io, 60ms);
    CHECK(ran == journal{{5, 10ms}, {12, 30ms}, {13, 40ms}, {12, 50ms}, {21, 60ms}});
  }
  SECTION("and moves callbacks that can only be moved") {
    auto move_only = [&](int label) {
      return [note = ran.note(label), p = std::make_unique<int>()]() mutable { note(); };
    };
    std::vector<std::tuple<timer_id, std::chrono::milliseconds, decltype(move_only(0))>> moves;
    moves.emplace_back(first, 20ms, move_only(11));
    moves.emplace_back(third, 30ms, move_only(13));
    CHECK(wheel.postpone(std::ranges::subrange(std::make_move_iterator(moves.begin()),
                                               std::make_move_iterator(moves.end()))) == 2);
    CHECK(wheel.cancel(second));
    pass(io, 50ms);
    CHECK(ran == journal{{5, 10ms}, {11, 20ms}, {13, 30ms}});
  }
  CHECK(wheel.size() == (wheel.expiry(second) ? 1u : 0u));
}

TEST_CASE_METHOD(one_wheel, "Postponing a range is all or nothing when a part of it is refused",
                 "[batch]") {
  journal ran;
  auto batch = wheel.schedule(noting_tasks(ran, 3));
  using seconds = std::chrono::duration<double>;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::pair<timer_id, seconds>> moves{{batch.ids()[0], seconds(1)},
                                                        {batch.ids()[1], seconds(nan)}};
  CHECK(error_of([&] { wheel.postpone(moves); }) == errc::invalid_delay);
  CHECK(error_of([&] { batch.postpone_all(seconds(nan)); }) == errc::invalid_delay);
  CHECK(error_of([&] {
          batch.postpone_each(std::vector{seconds(1), seconds(2), seconds(nan)});
        }) == errc::invalid_delay);
  const std::vector<std::tuple<timer_id, std::chrono::seconds, std::function<void()>>> empty{
      {batch.ids()[0], 1s, [] {}}, {batch.ids()[1], 1s, nullptr}};
  CHECK(error_of([&] { wheel.postpone(empty); }) == errc::invalid_callback);
  std::ostringstream which;
  which << "callback of timer " << batch.ids()[1];
  CHECK(message_of([&] { wheel.postpone(empty); }).find(which.str()) == 0);
  const std::vector<std::pair<std::chrono::seconds, std::optional<std::function<void()>>>>
      given_but_empty(3, {1s, std::function<void()>()});
  CHECK(error_of([&] { batch.postpone_each(given_but_empty); }) == errc::invalid_callback);
  struct throws_when_copied {
    throws_when_copied() = default;
    throws_when_copied(const throws_when_copied&) { throw std::runtime_error("copied"); }
    void operator()() const {}
  };
  const std::array<throws_when_copied, 3> callbacks;
  CHECK_THROWS_AS(batch.postpone_each(std::array{1s, 1s, 1s}, callbacks), std::runtime_error);
  CHECK(wheel.stats().postponed == 0);
  stall(io, 10ms);
  CHECK(ran.labels() == numbers(3));
}

TEST_CASE_METHOD(one_wheel, "All timers of a batch are postponed together", "[batch]") {
  journal ran;
  auto batch = wheel.schedule(noting_tasks(ran, 300));
  const auto to = GENERATE(as<manual_clock::duration>{}, -1s, 5ms, 30ms, 7s, 100s);
  CHECK(batch[7].cancel());
  CHECK(batch.postpone_all(to) == 299);
  auto expected = numbers(300);
  expected.erase(expected.begin() + 7);
  if (to > 0s) {
    CHECK(batch[0].expiry() == manual_clock::start + to);
    CHECK(batch[299].expiry() == manual_clock::start + to);
    stall(io,
          tick_after(manual_clock::start + to, manual_clock::start) - manual_clock::now() - 1ns);
    CHECK(ran.empty());
    stall(io, 1ns);
  } else {
    settle(io);
  }
  auto labels = ran.labels(); // postponed timers may come after their tick-mates
  std::ranges::sort(labels);
  CHECK(labels == expected);
  CHECK(batch.postpone_all(1s) == 0);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "Each timer of a batch is postponed by its own delay", "[batch]") {
  journal ran;
  auto batch = wheel.schedule(noting_tasks(ran, 4, 5ms));
  SECTION("durations") {
    CHECK(batch.postpone_each(std::vector{40ms, 10ms, 30ms, 20ms}) == 4);
    pass(io, 50ms);
    CHECK(ran == journal{{1, 10ms}, {3, 20ms}, {2, 30ms}, {0, 40ms}});
  }
  SECTION("durations in braces") {
    CHECK(batch.postpone_each({40ms, 10ms, 0.03s, 20'000us}) == 4);
    pass(io, 50ms);
    CHECK(ran == journal{{1, 10ms}, {3, 20ms}, {2, 30ms}, {0, 40ms}});
  }
  SECTION("durations, and callbacks for some") {
    std::vector<std::optional<std::function<void()>>> callbacks(4);
    callbacks[1] = ran.note(11);
    SECTION("in a range of their own") {
      CHECK(batch.postpone_each({40ms, 10ms, 30ms, 20ms}, callbacks) == 4);
    }
    SECTION("in pairs") {
      std::vector<std::pair<std::chrono::milliseconds, std::optional<std::function<void()>>>> moves;
      for (std::size_t i = 0; i != 4; ++i)
        moves.emplace_back(std::array{40ms, 10ms, 30ms, 20ms}[i], callbacks[i]);
      CHECK(batch.postpone_each(moves) == 4);
    }
    pass(io, 50ms);
    CHECK(ran == journal{{11, 10ms}, {3, 20ms}, {2, 30ms}, {0, 40ms}});
  }
  SECTION("a view of durations") {
    CHECK(batch.postpone_each(std::views::iota(1, 5) |
                              std::views::transform([](int i) { return i * 10ms; })) == 4);
    pass(io, 50ms);
    CHECK(ran == journal{{0, 10ms}, {1, 20ms}, {2, 30ms}, {3, 40ms}});
  }
  SECTION("pairs of a duration and a callback") {
    std::vector<std::pair<std::chrono::milliseconds, std::function<void()>>> moves;
    for (int i = 0; i != 4; ++i)
      moves.emplace_back((4 - i) * 10ms, ran.note(10 + i));
    CHECK(batch.postpone_each(moves) == 4);
    pass(io, 50ms);
    CHECK(ran == journal{{13, 10ms}, {12, 20ms}, {11, 30ms}, {10, 40ms}});
  }
  SECTION("a range of durations and one of callbacks") {
    std::vector<std::function<void()>> callbacks;
    for (int i = 0; i != 4; ++i)
      callbacks.emplace_back(ran.note(10 + i));
    CHECK(batch[2].cancel());
    CHECK(batch.postpone_each(std::array{40ms, 10ms, 30ms, 20ms}, callbacks) == 3);
    pass(io, 50ms);
    CHECK(ran == journal{{11, 10ms}, {13, 20ms}, {10, 40ms}});
  }
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel,
                 "Delays and callbacks must be as many as the timers, or nothing changes",
                 "[batch]") {
  journal ran;
  auto batch = wheel.schedule(noting_tasks(ran, 3));
  const std::vector<std::chrono::seconds> delays(4, 1s);
  const std::vector<std::function<void()>> callbacks(4, [] { FAIL("was refused"); });
  std::vector<std::pair<std::chrono::seconds, std::function<void()>>> pairs;
  for (std::size_t i = 0; i != 4; ++i)
    pairs.emplace_back(delays[i], callbacks[i]);
  const auto refuses = [](auto f) { return error_of(f) == errc::batch_length_mismatch; };
  for (const std::size_t n : {0u, 1u, 2u, 4u}) {
    const auto d = std::span(delays).first(n);
    const auto c = std::span(callbacks).first(n);
    CHECK(refuses([&] { batch.postpone_each(d); }));
    CHECK(refuses([&] { batch.postpone_each(std::span(pairs).first(n)); }));
    CHECK(refuses([&] { batch.postpone_each(d, c); }));
    CHECK(refuses([&] { batch.postpone_each(std::span(delays).first(3), c); }));
    CHECK(refuses([&] { batch.postpone_each(d, std::span(callbacks).first(3)); }));
  }
  const auto says = [](auto f, const char* lengths) {
    return message_of(f).find(lengths) != std::string::npos;
  };
  const auto d2 = std::span(delays).first(2);
  const auto d3 = std::span(delays).first(3);
  const auto c2 = std::span(callbacks).first(2);
  CHECK(says([&] { batch.postpone_each(d2); }, "delays = 2, timers = 3"));
  CHECK(says([&] { batch.postpone_each({1s, 2s}); }, "delays = 2, timers = 3"));
  CHECK(says([&] { batch.postpone_each(delays); }, "delays > 3, timers = 3"));
  CHECK(says([&] { batch.postpone_each(d2, c2); }, "delays = 2, timers = 3"));
  CHECK(says([&] { batch.postpone_each(d3, c2); }, "callbacks = 2, timers = 3"));
  CHECK(says([&] { batch.postpone_each(d3, callbacks); }, "callbacks > 3, timers = 3"));
  const auto endless = std::views::iota(1) | std::views::transform([](int s) { return s * 1s; });
  CHECK(says([&] { batch.postpone_each(endless); }, "delays > 3, timers = 3"));
  for (const handle& h : batch)
    CHECK(h.expiry() == manual_clock::start + 10ms);
  CHECK(wheel.stats().postponed == 0);
  stall(io, 10ms);
  CHECK(ran.labels() == numbers(3));
}

TEST_CASE("A batch that waits in a strand's queue is cancelled and postponed truthfully",
          "[batch]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  manual_wheel wheel{io};
  journal ran;
  std::vector<timer_task> tasks;
  for (int i = 0; i != 5; ++i)
    tasks.push_back(
        timer_task::one_shot(10ms, asio::bind_executor(asio::make_strand(other), ran.note(i))));
  auto batch = wheel.schedule(tasks);
  stall(io, 10ms);
  SECTION("cancelled") {
    CHECK(batch.cancel_all() == 5);
    settle(other);
    CHECK(ran.empty());
  }
  SECTION("postponed") {
    CHECK(batch.postpone_all(20ms) == 5);
    settle(other);
    CHECK(ran.empty());
    stall(io, 20ms);
    settle(other);
    CHECK(ran.size() == 5);
  }
  SECTION("one has run, the rest is cancelled") {
    other.poll_one();
    const auto before = ran.size();
    CHECK(batch.cancel_all() == 5 - before);
    settle(other);
    CHECK(ran.size() == before);
  }
  CHECK(wheel.empty());
  settle(io);
  CHECK(out_of_work(io));
}

// ---- What the class comments show

TEST_CASE("The examples of slots, tasks and batches do what they say", "[batch][examples]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  int ticks = 0;
  std::ostringstream out;
  struct {
    bool open = true;
    void close() { open = false; }
  } connection;
  {
    kestrel::timer_slot slot = wheel.allocate();
    auto task = kestrel::timer_task::periodic(1ms, 1ms, [&, id = slot.id()] {
      if (++ticks == 3)
        wheel.cancel(id);
    });
    wheel.schedule(std::move(slot), task);
  }
  {
    auto task = kestrel::timer_task::one_shot(1ms, [&] { connection.close(); });
    kestrel::timer_handle timer = wheel.schedule(task);
    CHECK(timer.expiry());
  }
  std::vector<kestrel::timer_task> tasks;
  for (int i = 0; i != 3; ++i)
    tasks.push_back(kestrel::timer_task::one_shot(30s, [&out, i] { out << i; }));
  kestrel::batch_handle batch = wheel.schedule(tasks);
  CHECK(batch.postpone_each({40s, 50s, 60s}) == 3);
  CHECK(batch[1].cancel());
  CHECK(batch.cancel_all() == 2);
  io.run();
  CHECK(ticks == 3);
  CHECK_FALSE(connection.open);
  CHECK(out.str().empty());
}

// ---- The handle as a range

TEST_CASE_METHOD(one_wheel, "A batch handle is a range of handles, in the order of the tasks",
                 "[batch]") {
  journal ran;
  std::vector<timer_task> tasks;
  for (int i = 0; i != 10; ++i)
    tasks.push_back(timer_task::one_shot((10 - i) * 10ms, ran.note(i)));
  const auto batch = wheel.schedule(tasks);
  const auto ids = batch.ids();
  std::vector<timer_id> seen;
  for (const handle& h : batch)
    seen.push_back(h.id());
  CHECK(seen == ids);
  CHECK(std::ranges::equal(batch, ids, {}, &handle::id));
  CHECK(std::ranges::distance(batch) == 10);
  CHECK(std::ranges::find(batch, ids[6], &handle::id) - batch.begin() == 6);
  CHECK(std::ranges::all_of(batch, [](const handle& h) { return h.expiry().has_value(); }));
  const auto by_expiry = [](const handle& a, const handle& b) { return a.expiry() < b.expiry(); };
  CHECK((*std::ranges::min_element(batch, by_expiry)).id() == ids[9]);
  CHECK(std::ranges::is_sorted(batch | std::views::reverse, by_expiry));

  auto i = batch.begin();
  CHECK(i[3].id() == ids[3]);
  CHECK((*(i + 4)).id() == ids[4]);
  CHECK((*(4 + i)).id() == ids[4]);
  CHECK(i->id() == ids[0]);
  CHECK(std::find(batch.begin(), batch.end(), batch[2])->expiry() == batch[2].expiry());
  CHECK((*i++).id() == ids[0]);
  CHECK((*i).id() == ids[1]);
  CHECK((*++i).id() == ids[2]);
  CHECK((*i--).id() == ids[2]);
  CHECK((*--i).id() == ids[0]);
  i += 5;
  i -= 2;
  CHECK(i - batch.begin() == 3);
  CHECK(batch.end() - i == 7);
  CHECK((*(batch.end() - 1)).id() == ids[9]);
  CHECK(batch.begin() < i);
  CHECK(batch.end() > i);
  CHECK(i == batch.begin() + 3);

  for (handle h : batch | std::views::drop(5))
    CHECK(h.cancel());
  CHECK(wheel.size() == 5);
  pass(io, 200ms);
  CHECK(ran.labels() == std::vector{4, 3, 2, 1, 0});
}

TEST_CASE_METHOD(one_wheel, "However the handles of a batch are named in a loop, they can be used",
                 "[batch]") {
  std::vector<timer_task> tasks;
  for (int i = 0; i != 4; ++i)
    tasks.push_back(timer_task::one_shot(10ms));
  const auto batch = wheel.schedule(tasks);
  int told = 0;
  const auto count = [&](asio::error_code ec, kestrel::completion) { told += ec ? 0 : 1; };
  for (auto h : batch)
    h.async_wait(count);
  for (auto& h : batch)
    h.async_wait(count);
  for (const auto& h : batch)
    h.async_wait(count);
  for (auto&& h : batch)
    h.async_wait(count);
  const std::vector<handle> copies(batch.begin(), batch.end());
  CHECK(std::ranges::equal(copies, batch));
  stall(io, 10ms);
  CHECK(told == 16);
}

// ---- As one by one

TEST_CASE("A batch does what its timers would do one by one", "[batch][differential]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel one_by_one{io};
  manual_wheel batched{io};
  std::mt19937_64 random(GENERATE(1u, 2u, 3u));
  struct pair {
    timer_id single;
    timer_id of_batch;
  };
  std::vector<pair> timers;
  journal singly;
  journal together;
  int next_label = 0;
  const auto draw = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const auto random_delay = [&] {
    static constexpr std::array<std::int64_t, 5> scales{1, 20'000'000, 600'000'000, 8'000'000'000,
                                                        90'000'000'000};
    return manual_clock::duration(
        static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(scales[draw(5)])));
  };
  // One of the last, most of which are pending.
  const auto pick = [&] {
    return timers.empty()
               ? pair{}
               : timers[timers.size() - 1 - draw(std::min<std::size_t>(timers.size(), 30))];
  };
  std::size_t work = 0;

  for (int step = 0; step != 3000; ++step) {
    const std::size_t n = draw(6);
    switch (draw(5)) {
    case 0: {
      std::vector<timer_task> tasks;
      std::vector<timer_id> ids;
      const bool periodic = draw(8) == 0;
      for (std::size_t i = 0; i != n; ++i) {
        const int label = next_label++;
        const auto delay = random_delay();
        const auto interval = 500ms + random_delay();
        if (periodic) {
          ids.push_back(one_by_one.schedule_every(delay, interval, singly.note(label)));
          tasks.push_back(timer_task::periodic(delay, interval, together.note(label)));
        } else {
          ids.push_back(one_by_one.schedule_after(delay, singly.note(label)));
          tasks.push_back(timer_task::one_shot(delay, together.note(label)));
        }
      }
      batch_handle batch;
      if (draw(2) == 0) {
        batch = batched.schedule(tasks);
      } else {
        auto slots = batched.allocate(n);
        batch = batched.schedule(slots, tasks);
      }
      for (std::size_t i = 0; i != n; ++i)
        timers.push_back({ids[i], batch.ids()[i]});
      break;
    }
    case 1: {
      std::vector<timer_id> ids;
      std::size_t withdrawn = 0;
      for (std::size_t i = 0; i != n; ++i) {
        const pair p = pick();
        ids.push_back(p.of_batch);
        withdrawn += one_by_one.cancel(p.single);
      }
      work += withdrawn;
      REQUIRE(batched.cancel(ids) == withdrawn);
      break;
    }
    case 2: {
      std::vector<std::pair<timer_id, manual_clock::duration>> moves;
      std::size_t moved = 0;
      for (std::size_t i = 0; i != n; ++i) {
        const pair p = pick();
        moves.emplace_back(p.of_batch, random_delay());
        moved += one_by_one.postpone(p.single, moves.back().second);
      }
      work += moved;
      REQUIRE(batched.postpone(moves) == moved);
      break;
    }
    case 3: {
      std::vector<std::tuple<timer_id, manual_clock::duration, std::function<void()>>> moves;
      std::size_t moved = 0;
      for (std::size_t i = 0; i != n; ++i) {
        const pair p = pick();
        const int label = next_label++;
        const auto delay = random_delay();
        moves.emplace_back(p.of_batch, delay, together.note(label));
        moved += one_by_one.postpone(p.single, delay, singly.note(label));
      }
      work += moved;
      REQUIRE(batched.postpone(moves) == moved);
      break;
    }
    case 4:
      stall(io, draw(10) == 0 ? random_delay() : manual_clock::duration(10ms));
      break;
    }
    REQUIRE(batched.size() == one_by_one.size());
    const pair p = pick();
    REQUIRE(batched.expiry(p.of_batch) == one_by_one.expiry(p.single));
    REQUIRE(together.size() == singly.size());
  }
  REQUIRE(together == singly);
  CHECK(work > 1000);
  CHECK(singly.size() > 500);
  CHECK(batched.stats().fired == one_by_one.stats().fired);
  CHECK(batched.stats().scheduled == one_by_one.stats().scheduled);
  CHECK(batched.stats().cancelled == one_by_one.stats().cancelled);
  CHECK(batched.stats().postponed == one_by_one.stats().postponed);
}
