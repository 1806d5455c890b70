// SPDX-License-Identifier: MIT
//
// A backend under audit, with the interface of a backend: tells the ledger what the server asks for
// and what comes back. What is spoiled on purpose is spoiled behind the auditor's back.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_AUDITED_TIMERS_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_AUDITED_TIMERS_HPP

#include "faults.hpp"
#include "ledger.hpp"
#include "timer_counts.hpp"

#include <cstdint>
#include <utility>

namespace demo {

template <class Backend>
struct audited_timers {
  Backend& backend;
  fault_plan& faults;
  ledger& books;

  template <class Executor>
  class timer {
  public:
    using duration = ledger::duration;

    timer(audited_timers& timers, const Executor& executor, timer_kind kind)
        : timer_{timers.backend, executor, timers.faults}, ledger_{timers.books}, kind_{kind} {}

    template <class F>
    void schedule_after(duration delay, F f) {
      ticket_ = ledger_.open(kind_, ledger::clock::now(), delay);
      timer_.schedule_after(delay, callback<F>{ticket_, std::move(f)});
    }

    template <class F>
    void schedule_every(duration initial, duration interval, F f) {
      ticket_ = ledger_.open(kind_, ledger::clock::now(), initial, interval);
      timer_.schedule_every(initial, interval, callback<F>{ticket_, std::move(f)});
    }

    bool cancel() {
      const bool cancelled = timer_.cancel();
      if (cancelled) {
        ledger_.cancelled(ticket_);
      }
      return cancelled;
    }

    bool postpone(duration delay) {
      const auto now = ledger::clock::now();
      const bool postponed = timer_.postpone(delay);
      if (postponed) {
        ledger_.postponed(ticket_, now, delay);
      }
      return postponed;
    }

  private:
    template <class F>
    struct callback {
      ledger::ticket ticket;
      F f;

      void operator()() {
        if (ticket.started()) {
          f();
        }
      }

      void operator()(std::uint64_t missed) {
        if (ticket.started(missed)) {
          f(missed);
        }
      }
    };

    faulty_timer<Backend, Executor> timer_;
    ledger& ledger_;
    ledger::ticket ticket_;
    timer_kind kind_;
  };
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_AUDITED_TIMERS_HPP
