// SPDX-License-Identifier: MIT
//
// The auditor: an independent account of every timer, kept by steady_clock and not by the word of
// the library under test. It knows when each timer was due at the earliest, and finds those that
// fired early, were lost, ran twice or ran after a cancel that had succeeded. It also measures how
// late they were. Any thread may use it; each server thread writes to a shard of its own.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_LEDGER_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_LEDGER_HPP

#include "lateness.hpp"
#include "timer_counts.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace demo {

// The account of all timers of a run.
//
// A record is reused when its timer is over, but only after 65,536 others have ended, and under a
// new serial number: a callback that turns up again later is still recognised as a stray.
class ledger {
public:
  using clock = std::chrono::steady_clock;
  using duration = clock::duration;
  using time_point = clock::time_point;

private:
  struct record;

public:
  // Names one timer in the books. Small, because every callback carries one.
  class ticket {
  public:
    ticket() = default;

    // To be called when the callback starts. Of a periodic timer, `missed` says how many periods
    // are skipped between this one and the next. False if the callback had no business to start,
    // and the finding is on record; it had better do nothing.
    bool started(std::uint64_t missed = 0) const {
      return record_->book->start(*record_, serial_, missed);
    }

  private:
    friend class ledger;
    ticket(record& r, std::uint64_t serial) : record_{&r}, serial_{serial} {}

    record* record_ = nullptr;
    std::uint64_t serial_ = 0;
  };

  explicit ledger(unsigned threads) : shards_(threads) {}

  ledger(const ledger&) = delete;
  ledger& operator=(const ledger&) = delete;

  // Gives the calling thread a shard, 0 to threads - 1.
  static void use_shard(unsigned index) { this_shard = index; }

  // A timer is about to be scheduled. `now` has to be read before the backend is called, so that
  // now + delay is the earliest moment at which the timer may fire. An interval makes it periodic.
  ticket open(timer_kind kind, time_point now, duration delay, duration interval = {}) {
    shard& books = my_shard();
    record& r = books.take(*this);
    const std::uint64_t serial = (r.life.load(std::memory_order_relaxed) >> state_bits) + 1;
    r.kind = kind;
    r.due = now + delay;
    r.interval = interval;
    r.last_run = time_point::min();
    r.life.store(word(serial, state::armed), std::memory_order_release);
    books.count(kind, &shard_counts::scheduled);
    return {r, serial};
  }

  // The backend has said that the timer was cancelled.
  void cancelled(const ticket& t) {
    record& r = *t.record_;
    std::uint64_t expected = word(t.serial_, state::armed);
    shard& books = my_shard();
    if (!r.life.compare_exchange_strong(expected, word(t.serial_, state::cancelled))) {
      add(books.after_cancel); // it had run: the cancel was not true
      return;
    }
    if (overdue(r)) {
      add(books.lost);
    }
    books.count(r.kind, &shard_counts::cancelled);
    books.give_back(r);
  }

  // The backend has said that the timer was postponed; `now` was read before.
  void postponed(const ticket& t, time_point now, duration delay) {
    record& r = *t.record_;
    shard& books = my_shard();
    if (overdue(r)) {
      add(books.lost);
    }
    r.due = now + delay;
    books.count(r.kind, &shard_counts::postponed);
  }

  // The server has dealt with everything that was due by `t`, or so it should have.
  void reached(time_point t) {
    const auto ticks = t.time_since_epoch().count();
    if (reached_.load(std::memory_order_relaxed) < ticks) {
      reached_.store(ticks, std::memory_order_relaxed);
    }
  }

  // To be called when the io_context has run out of work: what is still waiting now is lost.
  void close() {
    for (shard& books : shards_) {
      for (record& r : books.records) {
        const std::uint64_t life = r.life.load(std::memory_order_acquire);
        if ((life & state_mask) == static_cast<std::uint64_t>(state::armed)) {
          add(books.lost);
          r.life.store(word(life >> state_bits, state::finished), std::memory_order_relaxed);
        }
      }
    }
  }

  timer_counts_by_kind counts() const {
    timer_counts_by_kind sum{};
    for (const shard& books : shards_) {
      for (std::size_t k = 0; k != timer_kind_count; ++k) {
        sum[k].scheduled += get(books.counts[k].scheduled);
        sum[k].postponed += get(books.counts[k].postponed);
        sum[k].cancelled += get(books.counts[k].cancelled);
        sum[k].fired += get(books.counts[k].fired);
      }
    }
    return sum;
  }

  findings found() const {
    findings sum;
    for (const shard& books : shards_) {
      sum.early += get(books.early);
      sum.lost += get(books.lost);
      sum.twice += get(books.twice);
      sum.after_cancel += get(books.after_cancel);
      sum.periods_skipped += get(books.periods_skipped);
    }
    return sum;
  }

  lateness_summary lateness() const {
    lateness_summary sum;
    for (const shard& books : shards_) {
      books.lateness.add_to(sum);
    }
    return sum;
  }

private:
  using counter = std::atomic<std::uint64_t>;

  enum class state : std::uint64_t { unused, armed, finished, cancelled };
  static constexpr unsigned state_bits = 2;
  static constexpr std::uint64_t state_mask = 3;

  static std::uint64_t word(std::uint64_t serial, state s) {
    return serial << state_bits | static_cast<std::uint64_t>(s);
  }

  // All calls for one timer come from its connection's executor, one at a time. The word with
  // serial and state is atomic all the same, because a backend that breaks this rule is to be found
  // out.
  struct record {
    explicit record(ledger& owner) : book{&owner} {}

    std::atomic<std::uint64_t> life{0}; // serial, state
    time_point due;                     // not before this
    duration interval{};                // zero: fires once
    time_point last_run;                // of a periodic timer
    ledger* book;
    timer_kind kind{};
  };

  struct shard_counts {
    counter scheduled{0};
    counter postponed{0};
    counter cancelled{0};
    counter fired{0};
  };

  // Counters have one writer, so that an addition needs no locked instruction; the progress line
  // reads them meanwhile.
  static void add(counter& c, std::uint64_t n = 1) {
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  static std::uint64_t get(const counter& c) { return c.load(std::memory_order_relaxed); }

  struct alignas(64) shard {
    void count(timer_kind kind, counter shard_counts::*which) {
      add(counts[static_cast<std::size_t>(kind)].*which);
    }

    record& take(ledger& owner) {
      if (ended.size() <= quarantine) {
        return records.emplace_back(owner);
      }
      record& r = *ended.front();
      ended.pop_front();
      return r;
    }

    void give_back(record& r) { ended.push_back(&r); }

    std::array<shard_counts, timer_kind_count> counts;
    counter early{0};
    counter lost{0};
    counter twice{0};
    counter after_cancel{0};
    counter periods_skipped{0};
    lateness_recorder lateness;
    std::deque<record> records;
    std::deque<record*> ended;
  };

  static constexpr std::size_t quarantine = 65'536;
  static constexpr duration lost_after = std::chrono::seconds{1};

  static inline thread_local unsigned this_shard = 0;

  shard& my_shard() { return shards_[this_shard]; }

  // Lost, and not merely late because the whole server is.
  bool overdue(const record& r) const {
    return r.due.time_since_epoch() + lost_after <
           duration{reached_.load(std::memory_order_relaxed)};
  }

  bool start(record& r, std::uint64_t serial, std::uint64_t missed) {
    const time_point now = clock::now();
    shard& books = my_shard();
    const bool periodic = r.interval > duration::zero();
    std::uint64_t expected = word(serial, state::armed);
    if (!r.life.compare_exchange_strong(expected,
                                        word(serial, periodic ? state::armed : state::finished))) {
      add(expected == word(serial, state::cancelled) ? books.after_cancel : books.twice);
      return false;
    }
    if (now < r.due) {
      if (periodic && now < r.last_run + r.interval / 2) {
        add(books.twice);
        return false;
      }
      add(books.early);
    } else {
      books.lateness.record(now - r.due);
      reached(r.due);
    }
    books.count(r.kind, &shard_counts::fired);
    if (periodic) {
      next_period(r, books, now, missed);
    } else {
      books.give_back(r);
    }
    return true;
  }

  // Run number k is due at first + k * interval. The backend may skip periods, but only such as
  // have passed.
  static void next_period(record& r, shard& books, time_point now, std::uint64_t missed) {
    r.last_run = now;
    const auto skipped = static_cast<duration::rep>(missed) * r.interval;
    if (missed != 0 && r.due + skipped > now) {
      add(books.lost);
    }
    add(books.periods_skipped, missed);
    r.due += skipped + r.interval;
  }

  std::vector<shard> shards_;
  std::atomic<duration::rep> reached_{0}; // the server has got on to this time
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_LEDGER_HPP
