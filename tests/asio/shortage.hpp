// SPDX-License-Identifier: MIT
//
// What the tests of failing allocations share: each allocation of an operation fails in turn, and
// it is as if the operation had not been tried, in what is pending, when it fires, what it calls
// and what is destroyed.

#ifndef KESTREL_TESTS_SHORTAGE_HPP
#define KESTREL_TESTS_SHORTAGE_HPP

#include "counted_new.hpp"
#include "timer_kinds.hpp"

#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>

#include <catch.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

namespace kestrel_tests {

/// The n-th allocation of `f` fails, from 0 on, and no other. Tells whether there are so many, and
/// whether `bad_alloc` came of it.
struct shortage {
  bool failed = false;
  bool thrown = false;

  template <class F>
  shortage(int n, F&& f) {
    until_failure = n;
    try {
      f();
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    failed = std::exchange(until_failure, no_failure) == no_failure;
  }
};

/// For what is not meant in the midst of it.
template <class F>
void with_memory(F&& f) {
  const long n = std::exchange(until_failure, no_failure);
  f();
  until_failure = n;
}

/// What there is to see of a scene without moving its clock.
struct view {
  std::size_t size;
  std::uint64_t scheduled, cancelled, postponed, fired;
  std::vector<std::optional<manual_clock::time_point>> expiries;
  long callables;
  bool out_of_work;

  friend bool operator==(const view&, const view&) = default;
  friend std::ostream& operator<<(std::ostream& out, const view& v) {
    return out << v.size << " pending; scheduled " << v.scheduled << ", cancelled " << v.cancelled
               << ", postponed " << v.postponed << ", fired " << v.fired << "; " << v.callables
               << " callables; out of work " << v.out_of_work;
  }
};

/// What comes of it later: what ran when, and how many callables are left then.
struct outcome {
  journal ran;
  std::size_t left;
  long callables;

  friend bool operator==(const outcome&, const outcome&) = default;
  friend std::ostream& operator<<(std::ostream& out, const outcome& o) {
    for (const event& e : o.ran)
      out << e << "; ";
    return out << o.left << " left; " << o.callables << " callables";
  }
};

/// A wheel with some timers, among them one of each sort that operations are tried on. Its arena
/// and its chains are full after some numbers of timers, among those in `sizes`.
struct scene {
  static constexpr std::array sizes{0, 505};

  explicit scene(int others) {
    for (int i = 0; i != others; ++i)
      wheel.schedule_after(2h, [] {});
    if (others == 0)
      return; // the first timer there is
    one_shot = wheel.schedule_after(1s, note(1));
    periodic = wheel.schedule_every(300ms, 400ms, note(2));
    ids = {one_shot, periodic};
    settle(io);
  }

  struct note_of {
    void operator()() const {
      s->ran.push_back({label, manual_clock::now() - manual_clock::start});
    }

    scene* s;
    std::shared_ptr<int> owned;
    int label;
  };

  note_of note(int label) { return {this, token, label}; }

  [[nodiscard]] view look() {
    const kestrel::timer_wheel_stats stats = wheel.stats();
    view v{wheel.size(),   stats.scheduled, stats.cancelled, stats.postponed, stats.fired, {}, 0,
           out_of_work(io)};
    for (const kestrel::timer_id id : ids)
      v.expiries.push_back(wheel.expiry(id));
    v.callables = token.use_count();
    return v;
  }

  [[nodiscard]] outcome finish() {
    pass(io, 2s, 250ms);
    return {ran, wheel.size(), token.use_count()};
  }

  const at_start clock;
  std::shared_ptr<int> token = std::make_shared<int>(0);
  asio::cancellation_signal signal;
  asio::io_context io;
  manual_wheel wheel{io};
  journal ran;
  kestrel::timer_id one_shot;
  kestrel::timer_id periodic;
  std::vector<kestrel::timer_id> ids;
};

/// Each allocation of `operation(scene)` fails in turn, always in a new scene, until there are no
/// more of them. What it throws, it throws without having changed anything; what it does not throw,
/// it got over. Returns how many there are.
template <class Scene = scene, class Operation>
int whichever_allocation_fails(Operation operation) {
  const int others = GENERATE(from_range(scene::sizes));
  CAPTURE(others);
  const auto outcome_of = [&](auto&& what) {
    Scene s(others);
    what(s);
    return s.finish();
  };
  const outcome without = outcome_of([](Scene&) {});
  const outcome with = outcome_of(operation);
  for (int n = 0;; ++n) {
    CAPTURE(n);
    for (const bool again : {true, false}) {
      const long blocks = live_blocks;
      {
        Scene s(others);
        const view before = s.look();
        const shortage memory(n, [&] { operation(s); });
        if (memory.thrown) {
          CHECK(s.look() == before);
          if (again)
            operation(s);
        }
        CHECK(s.finish() == (memory.thrown && !again ? without : with));
        if (!memory.failed)
          return n;
      }
      CHECK(live_blocks == blocks);
    }
  }
}
// ---- Callables: trivial, with a destructor, large, and with each of the associators

struct trivial {
  static auto of(scene& s, int label) { return s.ran.note(label); }
};

struct owning {
  static auto of(scene& s, int label) { return s.note(label); }
};

struct bulky {
  static auto of(scene& s, int label) {
    return [note = s.note(label), padding = std::array<char, 200>()]() mutable {
      static_cast<void>(padding);
      note();
    };
  }
};

struct with_allocator {
  static auto of(scene& s, int label) {
    return asio::bind_allocator(std::allocator<int>(), bulky::of(s, label));
  }
};

struct with_executor {
  static auto of(scene& s, int label) {
    return asio::bind_executor(s.io.get_executor(), s.note(label));
  }
};

struct with_slot {
  static auto of(scene& s, int label) {
    return asio::bind_cancellation_slot(s.signal.slot(), s.note(label));
  }
};

/// Some of a kind, of both sorts.
template <class Callable>
std::vector<kestrel::timer_task> tasks_of(scene& s) {
  std::vector<kestrel::timer_task> tasks;
  for (int i = 0; i != 6; ++i)
    tasks.push_back(kestrel::timer_task::one_shot((i + 1) * 100ms, Callable::of(s, 10 + i)));
  tasks.push_back(kestrel::timer_task::periodic(10ms, 300ms, Callable::of(s, 30)));
  return tasks;
}

} // namespace kestrel_tests

#define KESTREL_TESTS_CALLABLES                                                                    \
  kestrel_tests::trivial, kestrel_tests::owning, kestrel_tests::bulky,                             \
      kestrel_tests::with_allocator, kestrel_tests::with_executor, kestrel_tests::with_slot

#endif // KESTREL_TESTS_SHORTAGE_HPP
