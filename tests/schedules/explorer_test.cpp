// SPDX-License-Identifier: MIT
//
// The explorer itself: it goes through exactly the schedules there are, and finds what is planted.

#include "explored_mutex.hpp"
#include "explorer.hpp"

#include <catch.hpp>

#include <mutex>
#include <set>
#include <stdexcept>
#include <string>

using namespace kestrel_tests;

namespace {

/// A thread that notes its letter before and between its points.
std::function<void()> steps(std::string& trace, char letter, int points) {
  return [&trace, letter, points] {
    const auto note = [&] {
      const blind unseen;
      trace += letter;
    };
    note();
    for (int i = 0; i != points; ++i) {
      turns::point();
      note();
    }
  };
}

/// How often two threads of `points` points each are scheduled; no two schedules are the same.
std::size_t schedules_of(int points, int preemptions) {
  std::set<std::string> traces;
  const explored all = explore_all(
      [&](exploration& e) {
        std::string trace;
        e.together({steps(trace, 'a', points), steps(trace, 'b', points)});
        e.expect(traces.insert(trace).second, "the same schedule twice");
      },
      preemptions);
  CHECK(all.failure == "");
  CHECK(traces.size() == all.schedules);
  return all.schedules;
}

} // namespace

TEST_CASE("All interleavings of two threads are explored, and each once", "[explorer]") {
  // Of two threads with n steps each there are (2n choose n).
  CHECK(schedules_of(0, 99) == 2);
  CHECK(schedules_of(1, 99) == 6);
  CHECK(schedules_of(2, 99) == 20);
  CHECK(schedules_of(4, 99) == 252);
}

TEST_CASE("Preemptions are bounded", "[explorer]") {
  CHECK(schedules_of(4, 0) == 2);
  // Whichever begins is interrupted once at any of its four points; the other runs to its end.
  CHECK(schedules_of(4, 1) == 2 + 2 * 4);
  // Again, and the other is interrupted at any of its own.
  CHECK(schedules_of(4, 2) == 2 + 2 * 4 + 2 * 4 * 4);
}

TEST_CASE("Three threads are explored, too", "[explorer]") {
  std::set<std::string> traces;
  const explored all = explore_all(
      [&](exploration& e) {
        std::string trace;
        e.together({steps(trace, 'a', 1), steps(trace, 'b', 1), steps(trace, 'c', 1)});
        traces.insert(trace);
      },
      99);
  CHECK(all.schedules == 90); // 6! / (2! 2! 2!)
  CHECK(traces.size() == 90);
}

TEST_CASE("A lock lets one thread in at a time", "[explorer]") {
  const explored all = explore_all([](exploration& e) {
    explored_mutex mutex;
    int inside = 0;
    int most = 0;
    const auto enter = [&] {
      const std::lock_guard lock(mutex);
      most = std::max(most, ++inside);
      turns::point();
      --inside;
    };
    e.together({enter, enter, enter});
    e.expect(most == 1, "two at once");
  });
  CHECK(all.failure == "");
  CHECK(all.schedules > 20);
}

TEST_CASE("A planted race is found, and its schedule shows it again", "[explorer]") {
  const auto racy = [](exploration& e) {
    explored_mutex mutex;
    int counter = 0;
    const auto increment = [&] {
      mutex.lock();
      const int seen = counter;
      mutex.unlock();
      mutex.lock();
      counter = seen + 1;
      mutex.unlock();
    };
    e.together({increment, increment});
    e.expect(counter == 2, "one was lost");
  };
  CHECK(explore_all(racy, 0).failure == ""); // it takes a preemption
  const explored found = explore_all(racy, 1);
  CHECK(found.failure == "one was lost");
  CHECK(found.schedules > 1);
  CHECK(replay(found.schedule, racy).failure == "one was lost");
  CHECK(replay("", racy).failure == "");
}

TEST_CASE("A planted deadlock is found, and its threads are unwound", "[explorer]") {
  if (thread_sanitizer)
    return; // which finds it as well, and says so
  const auto program = [](exploration& e) {
    explored_mutex a;
    explored_mutex b;
    const auto both = [](explored_mutex& first, explored_mutex& second) {
      const std::lock_guard lock(first);
      const std::lock_guard other(second);
    };
    e.together({[&] { both(a, b); }, [&] { both(b, a); }});
  };
  CHECK(explore_all(program, 0).failure == "");
  const explored found = explore_all(program, 1);
  CHECK(found.failure == "deadlock");
  CHECK(replay(found.schedule, program).failure == "deadlock");
  CHECK(replay("", program).failure == "");
}

TEST_CASE("A thread that locks what it holds is a deadlock", "[explorer]") {
  const explored found = explore_all([](exploration& e) {
    explored_mutex mutex;
    e.together({[&] {
      const std::lock_guard lock(mutex);
      const std::lock_guard again(mutex);
    }});
  });
  CHECK(found.failure == "deadlock");
}

TEST_CASE("A thread waits for what another one does, or for idleness", "[explorer]") {
  const auto waits = [](bool becomes_idle) {
    return explore_all([=](exploration& e) {
      bool ready = false;
      bool slept = false;
      e.together({[&] {
                    turns::wait([&] { return ready; });
                    turns::wait([&] { return slept; });
                  },
                  [&] { ready = true; }},
                 [&] { return !std::exchange(slept, becomes_idle) && becomes_idle; });
    });
  };
  CHECK(waits(true).failure == "");
  CHECK(waits(false).failure == "deadlock");
}

TEST_CASE("What a thread throws is a failure", "[explorer]") {
  const explored found =
      explore_all([](exploration& e) { e.together({[] { throw std::runtime_error("this"); }}); });
  CHECK(found.failure == "a thread threw: this");
}

TEST_CASE("A program that does something else each time cannot be explored", "[explorer]") {
  int round = 0;
  const explored found = explore_all([&](exploration& e) {
    std::string trace;
    e.together({steps(trace, 'a', 3), steps(trace, 'b', round++ % 2 == 0 ? 3 : 0)});
  });
  CHECK(found.failure == "the same choices led elsewhere");
}
