// SPDX-License-Identifier: MIT
//
// explore: runs a small program of several threads in every schedule, from the start each time, and
// tells how many there are, or of the first one in which something went wrong.

#ifndef KESTREL_TESTS_SCHEDULES_EXPLORER_HPP
#define KESTREL_TESTS_SCHEDULES_EXPLORER_HPP

#include "choices.hpp"
#include "turns.hpp"

#include <catch.hpp>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace kestrel_tests {

/// What became of an exploration.
struct explored {
  std::size_t schedules = 0;
  std::string failure;  // empty: none
  std::string schedule; // the one that failed
};

/// The program under one schedule, as the function that is explored sees it.
class exploration {
public:
  exploration(turns& t, choices& c) noexcept : turns_{t}, choices_{c} {}

  /// Runs the programs, each in a thread of its own, until all have ended. Once.
  void together(
      const std::vector<std::function<void()>>& programs,
      const std::function<bool()>& when_idle = [] { return false; }) {
    const std::string wrong = turns_.run(choices_, programs, when_idle);
    schedule_ = choices_.written();
    expect(wrong.empty(), wrong);
    expect(choices_.is_complete(), "the same choices led elsewhere");
  }

  /// Outside of the threads.
  void expect(bool held, std::string what) {
    if (!held && failure_.empty())
      failure_ = std::move(what);
  }

  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  [[nodiscard]] const std::string& schedule() const noexcept { return schedule_; }

private:
  turns& turns_;
  choices& choices_;
  std::string failure_;
  std::string schedule_;
};

using explored_program = std::function<void(exploration&)>;

inline constexpr int default_preemptions = 2;
inline constexpr int more_preemptions = 4; // for programs of two threads

/// All schedules of `who`, or those up to the first that fails.
inline explored explore_all(choices who, const explored_program& program) {
  turns threads;
  explored result;
  do {
    INFO("KESTREL_SCHEDULE=" << who.written()); // in case it crashes
    exploration one(threads, who);
    program(one);
    ++result.schedules;
    if (!one.failure().empty()) {
      result.failure = one.failure();
      result.schedule = one.schedule();
      break;
    }
  } while (who.next());
  return result;
}

inline explored explore_all(const explored_program& program,
                            int preemptions = default_preemptions) {
  return explore_all(choices(preemptions), program);
}

inline explored replay(const std::string& schedule, const explored_program& program) {
  return explore_all(choices(schedule), program);
}

/// What tests do: explores, prints the number of schedules, and fails with the schedule. With
/// `KESTREL_SCHEDULE` in the environment, replays that one, for use with a debugger; with
/// `KESTREL_PREEMPTIONS`, looks further, or less far.
inline void explore(const std::string& name, const explored_program& program,
                    int preemptions = default_preemptions) {
  if (const char* const further = std::getenv("KESTREL_PREEMPTIONS"))
    preemptions = std::atoi(further);
  const char* const schedule = std::getenv("KESTREL_SCHEDULE");
  INFO(name);
  const explored result =
      schedule != nullptr ? replay(schedule, program) : explore_all(program, preemptions);
  std::cout << name << ": " << result.schedules << " schedules" << std::endl;
  INFO("KESTREL_SCHEDULE=" << result.schedule);
  CHECK(result.failure == "");
}

} // namespace kestrel_tests

#endif // KESTREL_TESTS_SCHEDULES_EXPLORER_HPP
