// SPDX-License-Identifier: MIT
//
// Planted faults, the self-test of the audit: `faulty_timer` sits between the auditor and a
// backend and spoils one timer in fifty in the chosen way. A run with a planted fault has to end
// with a bad verdict; if it does not, the good verdict of other runs is worth nothing.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_FAULTS_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_FAULTS_HPP

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

namespace demo {

enum class fault {
  none,
  early,        // fires 25 ms before its deadline
  lost,         // never reaches the backend
  stuck,        // is set an hour too late, but can be cancelled and postponed
  twice,        // runs its callback two times
  after_cancel, // says that it was cancelled, and runs all the same
};

// Decides which timers are spoiled. Shared by all timers of a run, on any thread.
class fault_plan {
public:
  explicit fault_plan(fault planted) : planted_{planted} {}

  // The fault of the timer that is about to be scheduled.
  fault next() {
    if (planted_ == fault::none) {
      return fault::none;
    }
    return count_.fetch_add(1, std::memory_order_relaxed) % 50 == 49 ? planted_ : fault::none;
  }

private:
  fault planted_;
  std::atomic<std::uint64_t> count_{0};
};

// A timer of the backend, spoiled when the plan says so; otherwise it only passes calls on.
template <class Backend, class Executor>
class faulty_timer {
public:
  using duration = std::chrono::steady_clock::duration;

  faulty_timer(Backend& backend, const Executor& executor, fault_plan& plan)
      : timer_{backend, executor}, backend_{backend}, executor_{executor}, plan_{plan} {}

  template <class F>
  void schedule_after(duration delay, F f) {
    fault_ = plan_.next();
    switch (fault_) {
    case fault::none:
      timer_.schedule_after(delay, std::move(f));
      break;
    case fault::early:
    case fault::stuck:
      timer_.schedule_after(spoiled(delay), std::move(f));
      break;
    case fault::lost:
      break;
    case fault::twice:
      timer_.schedule_after(delay, [f = std::move(f)]() mutable {
        f();
        f();
      });
      break;
    case fault::after_cancel: {
      // A timer of its own, which nobody but its own callback holds, so nobody can cancel it.
      auto stray = std::make_shared<timer>(backend_, executor_);
      stray->schedule_after(delay, [stray, f = std::move(f)]() mutable { f(); });
      break;
    }
    }
  }

  template <class F>
  void schedule_every(duration initial, duration interval, F f) {
    fault_ = plan_.next();
    switch (fault_) {
    case fault::early:
    case fault::stuck:
      timer_.schedule_every(spoiled(initial), interval, std::move(f));
      break;
    case fault::lost:
      break;
    case fault::twice:
      timer_.schedule_every(initial, interval, [f = std::move(f)](std::uint64_t missed) mutable {
        f(missed);
        f(missed);
      });
      break;
    case fault::none:
    case fault::after_cancel: // a periodic timer that cannot be cancelled would never end
      timer_.schedule_every(initial, interval, std::move(f));
      break;
    }
  }

  bool cancel() {
    const bool cancelled = timer_.cancel();
    return cancelled || fault_ == fault::after_cancel;
  }

  bool postpone(duration delay) { return timer_.postpone(spoiled(delay)); }

private:
  using timer = typename Backend::template timer<Executor>;

  duration spoiled(duration delay) const {
    return fault_ == fault::early   ? delay - std::chrono::milliseconds{25}
           : fault_ == fault::stuck ? delay + std::chrono::hours{1}
                                    : delay;
  }

  timer timer_;
  Backend& backend_;
  Executor executor_;
  fault_plan& plan_;
  fault fault_ = fault::none;
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_FAULTS_HPP
