// SPDX-License-Identifier: MIT
//
// timer_wheel on a clock that the fuzzer moves, against an oracle: operations from outside, from
// inside callbacks, handlers and destructors, owners, exceptions, memory that runs out, stalls, a
// clock that steps back, handlers that run one at a time, and every end of a wheel and of its
// context.

#include "asio/manual_clock.hpp"
#include "byte_reader.hpp"
#include "failing_new.hpp"
#include "fuzz_target.hpp"
#include "timer_oracle.hpp"

#include <kestrel/timer_wheel.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace kestrel_tests;
using kestrel::completion;
using kestrel::missed_periods;
using kestrel::timer_id;
using kestrel::timer_task;
using std::chrono::nanoseconds;
using ns = timer_oracle::ns;
using state = timer_oracle::state;

struct thrown_by_callback {};
struct thrown_by_move {};

/// Where callables report to.
class stage {
public:
  virtual void runs(std::size_t callable, timer_id id, std::uint64_t missed) = 0;
  virtual void destroyed(std::size_t callable) noexcept = 0;

  bool moves_throw = false;

protected:
  ~stage() = default;
};

/// A callable that the wheel may copy byte by byte.
struct plain_callable {
  void operator()(timer_id id, std::uint64_t missed) const { on->runs(number, id, missed); }

  stage* on;
  std::size_t number;
};

/// One whose destruction is noticed.
template <std::size_t Size, bool MayThrow>
class callable {
public:
  callable(stage& on, std::size_t number) : on_{&on}, number_{number} {}
  callable(callable&& other) noexcept(!MayThrow) : on_{other.on_}, number_{other.number_} {
    if constexpr (MayThrow) {
      if (on_ != nullptr && on_->moves_throw) {
        on_ = nullptr;
        throw thrown_by_move{};
      }
    }
    other.on_ = nullptr;
  }
  callable& operator=(callable&&) = delete;
  ~callable() {
    if (on_ != nullptr)
      on_->destroyed(number_);
  }

  void operator()(timer_id id, std::uint64_t missed) { on_->runs(number_, id, missed); }

private:
  stage* on_;
  std::size_t number_;
  [[maybe_unused]] std::array<std::byte, Size> size_{};
};

template <class Traits>
class wheel_run final : stage {
  using wheel_type = kestrel::basic_timer_wheel<asio::any_io_executor, Traits>;
  using handle_type = typename wheel_type::handle_type;
  using scoped_type = kestrel::basic_scoped_timer<typename wheel_type::clock_type>;
  using timer = timer_oracle::timer;

  static constexpr std::size_t none = timer_oracle::none;

  struct record {
    std::size_t timer = none;
    bool noticed = false; // when it is destroyed
    bool acts = false;    // then
    bool alive = false;
    std::size_t signal = none;
  };

  /// Who is told what becomes of a timer, by a handle, one wait at a time.
  struct reader {
    std::size_t timer;
    handle_type handle;
    bool watches; // it came before the timer was gone
    std::uint64_t told = 0;
    bool told_of_cancellation = false;
    bool waits = false;
    bool cut = false; // its wait was cancelled
    std::unique_ptr<asio::cancellation_signal> signal = nullptr;
  };

  /// Who cancels a timer at its own end.
  struct owner {
    scoped_type timer;
    std::size_t of;
  };

  /// What a timer becomes that the wheel has been asked to move.
  struct change {
    std::size_t timer;
    std::size_t callable;
    std::size_t by; // none: it keeps its callable
    bool own_executor;
    ns deadline;
  };

  /// async_wait_after.
  struct pause {
    ns deadline;
    bool over = false;
    bool cut = false;
    std::unique_ptr<asio::cancellation_signal> signal = nullptr;
  };

public:
  explicit wheel_run(byte_reader& in) : in_{in} {
    manual_clock::set(start(in_.number(1)));
    checked_mutex::take_violations();
    ending_with_ = in_.number(1);
    begin();
  }

  wheel_run(const wheel_run&) = delete;
  wheel_run& operator=(const wheel_run&) = delete;

  ~wheel_run() {
    ending_ = true;
    owners_.clear();
    readers_.clear();
    slots_.clear();
    wheel_.reset();
    strand_.reset();
    io_.reset();
  }

  void run() {
    for (; !in_.done(); ++step_) {
      operation(in_.number(1), false);
      compare();
    }
    end_well();
    check(failure_.empty(), failure_.c_str());
  }

  [[nodiscard]] std::size_t step() const { return step_; }

private:
  static void check(bool condition, const char* what) { timer_oracle::check(condition, what); }

  static constexpr ns end_of_time = timer_oracle::latest - (ns{1} << 40);

  static manual_clock::time_point start(std::uint64_t which) {
    switch (which % 8) {
    case 1:
      return time_at(0);
    case 2:
      return time_at(end_of_time - (ns{1} << 44)); // hours before it
    default:
      return manual_clock::start;
    }
  }

  static ns now() { return manual_clock::now().time_since_epoch().count(); }

  // ---- The wheel

  void begin() {
    if (io_ == nullptr) {
      io_ = std::make_unique<asio::io_context>(1);
      strand_.emplace(io_->get_executor());
    }
    make_wheel(in_.number(1));
    ++wheels_;
    is_shut_down_ = false;
    io_was_lost_ = false;
    has_stepped_back_ = false;
    was_limited_ = false;
    limit_ = std::numeric_limits<std::size_t>::max();
  }

  void make_wheel(std::uint64_t geometry) {
    using namespace std::chrono_literals;
    if constexpr (std::constructible_from<typename Traits::geometry, kestrel::wheel_config>) {
      const std::array<kestrel::wheel_config, 8> configs{
          kestrel::wheel_config{10ms, 8, 40ms, 4}, // the smallest are the most interesting
          kestrel::wheel_config{1ms, 4, 2ms, 4},
          kestrel::wheel_config{1ms, 4, 4ms, 2},
          kestrel::wheel_config{},
          kestrel::wheel_config::network_timeouts(),
          kestrel::wheel_config::heartbeats(),
          kestrel::wheel_config{7ns, 16, 35ns, 8},
          kestrel::wheel_config{1ms, 1, 1ms, 1}};
      const kestrel::wheel_config& c = configs[geometry % configs.size()];
      set_geometry(c.l0_tick.count(), c.l1_tick.count(), static_cast<ns>(c.l1_slots));
      if ((geometry & 64) != 0) {
        has_used_strand_ = true;
        wheel_ = std::make_unique<wheel_type>(asio::any_io_executor(asio::make_strand(*io_)), c);
      } else {
        wheel_ = std::make_unique<wheel_type>(*io_, c);
      }
    } else {
      const typename Traits::geometry g;
      const auto tick = static_cast<ns>(g.granularity());
      set_geometry(tick, static_cast<ns>(g.l1_ticks()) * tick, static_cast<ns>(g.l1_slots()));
      wheel_ = std::make_unique<wheel_type>(io_->get_executor());
    }
  }

  void set_geometry(ns tick, ns l1_tick, ns l1_slots) {
    owners_.clear();
    oracle_.emplace(now(), tick);
    l1_tick_ = l1_tick;
    turn_ = l1_tick * l1_slots;
    callables_.clear();
    signals_.clear();
    readers_.clear();
    pauses_.clear();
    batches_.clear();
  }

  /// Nothing is pending any more. Called before what ends it, since destructors may act.
  void end_timers() {
    if (!oracle_->has_ended())
      oracle_->ended();
    is_shut_down_ = true;
  }

  void check_all_destroyed() {
    if (depth_ != 0)
      return; // others of a batch that was cancelled may still wait for their turn
    for (const record& c : callables_)
      check(!c.alive || is_running(c), "the end of the wheel destroys every callable");
  }

  [[nodiscard]] bool is_running(const record& c) const {
    return running_ != none && &callables_[running_] == &c;
  }

  // ---- Operations

  void operation(std::uint64_t which, bool inside) {
    which %= 32;
    if (wheel_ == nullptr && (which < 22 || which == 30))
      return;
    switch (which) {
    case 0:
    case 1:
    case 2:
    case 3:
      return schedule_after();
    case 4:
      return schedule_at();
    case 5:
    case 6:
      return schedule_every();
    case 7:
    case 8:
      return cancel();
    case 9:
    case 10:
      return postpone();
    case 11:
      return postpone_at();
    case 12:
      return replace();
    case 13:
      return schedule_task();
    case 14:
      return two_steps();
    case 15:
      return schedule_batch();
    case 16:
      return cancel_batch();
    case 17:
      return postpone_batch();
    case 18:
      return wait();
    case 19:
      return wait_after();
    case 20:
      return emit();
    case 21:
      return try_wait();
    case 22:
      return rare(inside);
    case 23: // a slow callback, or a loop that was busy with others
      return pass(distance());
    case 24:
      memory_is_short_ = in_.number(1) % 4 == 1;
      moves_throw = in_.number(1) % 4 == 1;
      return;
    case 26: // from inside, too
      return step_back();
    case 29:
      return own();
    case 30:
      return replace_batch();
    default:
      if (inside)
        return;
    }
    switch (which) {
    case 25:
      return poll_some();
    case 27: { // many small steps
      for (std::uint64_t n = in_.number(1) % 16; n != 0; --n) {
        pass(oracle_->tick());
        settle();
      }
      return;
    }
    case 28: // to the deadline of a timer, or beside it
      if (const timer* t = any_timer(); t != nullptr && t->is == state::pending) {
        const ns beside = static_cast<ns>(in_.number(1) % 5) - 2;
        if (t->deadline - now() < (ns{1} << 58))
          pass(t->deadline - now() + beside * (in_.number(1) % 2 == 0 ? 1 : oracle_->tick()));
      }
      return settle();
    default:
      pass(distance());
      return settle();
    }
  }

  void rare(bool inside) {
    const std::uint64_t what = in_.number(1);
    switch (what % 8) {
    case 0:
      if (wheel_ != nullptr) {
        const std::size_t n = in_.number(1) * 4;
        if (n % 16 == 4)
          attempt([&] { wheel_->shrink_to_fit(); });
        else
          attempt([&] { wheel_->reserve(n); });
      }
      return;
    case 1:
      if (wheel_ == nullptr || what < 128)
        return;
      end_timers();
      wheel_->shutdown();
      return check_all_destroyed();
    case 2:
      if (wheel_ == nullptr || what < 128)
        return;
      end_timers();
      wheel_.reset();
      return check_all_destroyed();
    case 3:
      if (inside || what < 192)
        return;
      end_timers();
      strand_.reset();
      io_.reset();
      io_was_lost_ = true;
      return check_all_destroyed();
    case 4:
      if (inside || (wheel_ != nullptr && !is_shut_down_))
        return;
      settle();
      slots_of_old_wheels_ = std::move(slots_);
      slots_.clear();
      wheel_.reset();
      return begin();
    case 5:
      if (!slots_.empty())
        slots_.pop_back();
      slots_of_old_wheels_.clear();
      return;
    case 6:
      return foreign_ids();
    default:
      if (wheel_ != nullptr && what >= 128) {
        limit_ = what < 192 ? in_.number(1) % 32 : std::numeric_limits<std::size_t>::max();
        was_limited_ = true;
        wheel_->limit(limit_);
        return check(wheel_->limit() == (is_shut_down_ ? 0 : limit_), "the limit is what was set");
      }
      if (!inside)
        settle();
    }
  }

  void foreign_ids() {
    if (wheel_ == nullptr)
      return;
    check(!wheel_->cancel(timer_id{}), "the default id names nothing");
    check(!wheel_->postpone(timer_id{}, nanoseconds(1)), "the default id names nothing");
    for (const kestrel::timer_slot& s : slots_)
      check(!wheel_->cancel(s.id()), "a slot that is set aside is no timer");
  }

  // -- Numbers

  ns distance() {
    const std::uint64_t kind = in_.number(1);
    const ns tick = oracle_->tick();
    ns d = 0;
    switch (kind % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
      d = static_cast<ns>(in_.below(12)) * tick;
      break;
    case 4:
    case 5:
      d = static_cast<ns>(in_.number(1)) * tick;
      break;
    case 6:
    case 7:
      d = static_cast<ns>(in_.below(20)) * l1_tick_ + static_cast<ns>(in_.below(3)) * tick;
      break;
    case 8:
    case 9:
      d = static_cast<ns>(in_.below(4)) * turn_ + static_cast<ns>(in_.below(3)) * tick;
      break;
    case 10:
    case 11: // to the tick in which the next level-1 slot begins, or beside it
      d = l1_tick_ - (now() - oracle_->epoch()) % l1_tick_ +
          (static_cast<ns>(in_.below(3)) - 1) * tick;
      break;
    case 12: // less than a tick
      d = static_cast<ns>(in_.number(1)) * std::max<ns>(tick / 256, 1);
      break;
    case 13:
      d = static_cast<ns>(in_.number(2)) * tick;
      break;
    case 14:
      d = std::int64_t{1} << (in_.number(1) % 58);
      break;
    default:
      d = static_cast<ns>(in_.number(1) * in_.number(1)) * tick;
    }
    if ((kind & 0x80) != 0)
      d += static_cast<ns>(in_.number(1) % 5) - 2;
    else if ((kind & 0x40) != 0)
      d += static_cast<ns>(in_.below(static_cast<std::uint64_t>(std::min<ns>(tick, 60'000))));
    return std::max<ns>(d, 0);
  }

  ns delay() {
    const std::uint64_t kind = in_.number(1);
    if (kind >= 16)
      return distance();
    switch (kind) {
    case 1:
      return -distance();
    case 2:
      return timer_oracle::latest;
    case 3:
      return std::numeric_limits<ns>::min();
    case 4:
      return std::bit_cast<ns>(in_.number(8));
    default:
      return 0;
    }
  }

  ns around_now() {
    switch (in_.number(1) % 8) {
    case 1:
      return now();
    case 2:
      return now() - std::min(distance(), now());
    case 3:
      return std::bit_cast<ns>(in_.number(8));
    default:
      return timer_oracle::add(now(), distance());
    }
  }

  // -- Time

  /// Not so long that timers which catch up would fire for hours.
  void pass(ns d) {
    for (const timer& t : oracle_->timers()) {
      if (t.is != state::gone && t.periodic() && t.policy == missed_periods::catch_up)
        d = std::min(d, 20 * t.interval);
    }
    manual_clock::advance(nanoseconds(std::clamp<ns>(d, 0, end_of_time - now())));
    oracle_->time_is(now());
  }

  void step_back() {
    const ns d = std::min(distance(), now() - oracle_->epoch());
    manual_clock::advance(nanoseconds(-d));
    oracle_->time_is(now());
    has_stepped_back_ = true;
  }

  /// Runs some handlers that are ready. There may be too little memory for some.
  void poll_some() {
    if (io_ == nullptr)
      return;
    const std::uint64_t how = in_.number(1);
    // A strand that finds no memory for its own handler never runs again.
    const bool failing = how >= 192 && !has_used_strand_;
    const std::size_t n = how % 4;
    oracle_->looks_anew();
    try {
      is_failing_ = failing;
      const memory_for run(failing ? in_.number(1) % 8 : no_failure);
      io_->restart();
      for (std::size_t i = 0; i <= n; ++i)
        io_->poll_one();
    } catch (const thrown_by_callback&) {
    } catch (const std::bad_alloc&) {
      check(failing, "there was memory");
      oracle_->lose_order(); // what could not be sent is filed again, behind others
    }
    is_failing_ = false;
  }

  /// Runs handlers until there are none left to run at this time.
  void settle() {
    if (io_ == nullptr)
      return;
    for (;;) {
      oracle_->looks_anew();
      try {
        io_->restart();
        if (io_->poll() == 0)
          break;
      } catch (const thrown_by_callback&) {
      }
    }
    if (wheel_ == nullptr)
      return;
    if (!is_shut_down_) {
      oracle_->settled(now());
      for (const record& c : callables_)
        check(!c.alive || is_kept(c), "a callable lives no longer than its timer");
      for (const pause& p : pauses_) {
        check(p.over || !p.cut, "a wait that is cut short ends");
        check(p.over || now() < oracle_->latest_seen() || now() < oracle_->tick_after(p.deadline),
              "a wait is at most one tick late");
      }
      if (oracle_->pending() == 0 && !someone_waits())
        check(io_->stopped(), "an empty wheel keeps no context running");
    }
    compare_exactly();
  }

  [[nodiscard]] bool is_kept(const record& c) const {
    if (c.timer == none)
      return false;
    const timer& t = oracle_timers()[c.timer];
    return t.is != state::gone && &callables_[t.callable] == &c;
  }

  [[nodiscard]] const std::deque<timer>& oracle_timers() const {
    return const_cast<timer_oracle&>(*oracle_).timers();
  }

  [[nodiscard]] bool someone_waits() const {
    for (const reader& r : readers_) {
      if (r.waits)
        return true;
    }
    return pauses_under_way() != 0;
  }

  [[nodiscard]] std::size_t pauses_under_way() const {
    std::size_t n = 0;
    for (const pause& p : pauses_)
      n += p.over ? 0u : 1u;
    return n;
  }

  // -- Callables

  /// Makes a callable of some kind, and gives it to `use`, with its number and whether it has an
  /// executor of its own.
  template <class Use>
  void with_callable(Use&& use) {
    const std::uint64_t kind = in_.number(1);
    const std::size_t number = callables_.size();
    record& c = callables_.emplace_back();
    c.noticed = kind % 8 != 0;
    c.alive = c.noticed;
    c.acts = kind >= 200;
    using small_one = callable<8, false>;
    stage& here = *this;
    switch (kind % 8) {
    case 0:
      return use(plain_callable{this, number}, number, false);
    case 1:
    case 2:
      return use(small_one(here, number), number, false);
    case 3:
      return use(callable<300, false>(here, number), number, false);
    case 4:
      return use(callable<8, true>(here, number), number, false);
    case 5:
      if (strand_ && !is_failing_) {
        has_used_strand_ = true;
        return use(asio::bind_executor(*strand_, small_one(here, number)), number, true);
      }
      return use(small_one(here, number), number, false);
    default:
      c.signal = signals_.size();
      return use(
          asio::bind_cancellation_slot(signals_.emplace_back().slot(), small_one(here, number)),
          number, false);
    }
  }

  struct task {
    timer_task description;
    std::size_t callable;
    bool own_executor;
    missed_periods policy;
  };

  /// Making one may fail as well, and then there is none.
  std::optional<task> make_task() {
    std::optional<task> made;
    const nanoseconds d(delay());
    const nanoseconds interval(in_.number(1) % 3 == 1 ? interval_of() : 0);
    const missed_periods policy = any_policy(interval.count());
    with_callable([&](auto&& f, std::size_t number, bool own) {
      try {
        made.emplace(task{interval.count() != 0
                              ? timer_task::periodic(d, interval, std::move(f), policy)
                              : timer_task::one_shot(d, std::move(f)),
                          number, own, policy});
      } catch (const thrown_by_move&) {
      }
    });
    return made;
  }

  ns interval_of() { return std::max<ns>(distance(), 1); }

  missed_periods any_policy(ns interval) {
    switch (in_.number(1) % 3) {
    case 1:
      return interval >= oracle_->tick() / 2 ? missed_periods::catch_up : missed_periods::skip;
    case 2:
      return missed_periods::delay;
    default:
      return missed_periods::skip;
    }
  }

  /// Runs an operation that may fail, and that schedules `added` timers. If it fails, nothing has
  /// changed.
  template <class Operation>
  bool attempt(Operation&& operation, std::size_t added = 0,
               kestrel::errc expected = kestrel::errc::shut_down) {
    const std::size_t budget = memory_is_short_ ? in_.number(1) % 4 : no_failure;
    const std::size_t size = wheel_->size();
    const auto before = wheel_->stats();
    try {
      const memory_for the_operation(budget);
      operation();
      check(added == 0 || size + added <= limit_, "no more timers are pending than may be");
      return true;
    } catch (const std::bad_alloc&) {
      check(memory_is_short_, "there was memory");
    } catch (const thrown_by_move&) {
    } catch (const std::system_error& e) {
      if (e.code() == kestrel::errc::too_many_timers)
        check(added != 0 && size + added > limit_, "there was room");
      else
        check(e.code() == expected && (is_shut_down_ || expected != kestrel::errc::shut_down),
              "the error that was to come");
    }
    const auto after = wheel_->stats();
    check(wheel_->size() == size && before.scheduled == after.scheduled &&
              before.cancelled == after.cancelled && before.postponed == after.postponed,
          "what fails changes nothing");
    return false;
  }

  void begins(timer_id id, std::size_t number, bool own, ns deadline, ns interval = 0,
              missed_periods policy = missed_periods::skip) {
    check(!is_shut_down_, "nothing is scheduled after shutdown");
    callables_[number].timer = oracle_->scheduled(id, number, own, deadline, interval, policy);
  }

  void begins(timer_id id, const task& as) {
    const auto interval = as.description.interval();
    const ns deadline =
        oracle_->deadline_after(now(), as.description.delay().count(), interval.has_value());
    begins(id, as.callable, as.own_executor, deadline, interval ? interval->count() : 0, as.policy);
  }

  // -- Scheduling

  void schedule_after() {
    const ns d = delay();
    with_callable([&](auto&& f, std::size_t number, bool own) {
      timer_id id;
      if (attempt([&] { id = wheel_->schedule_after(nanoseconds(d), std::move(f)); }, 1))
        begins(id, number, own, oracle_->deadline_after(now(), d, false));
    });
  }

  void schedule_at() {
    const ns deadline = around_now();
    with_callable([&](auto&& f, std::size_t number, bool own) {
      timer_id id;
      if (attempt([&] { id = wheel_->schedule_at(time_at(deadline), std::move(f)); }, 1))
        begins(id, number, own, deadline);
    });
  }

  void schedule_every() {
    const ns d = delay();
    const ns interval = interval_of();
    const missed_periods policy = any_policy(interval);
    with_callable([&](auto&& f, std::size_t number, bool own) {
      timer_id id;
      if (attempt(
              [&] {
                id = wheel_->schedule_every(nanoseconds(d), nanoseconds(interval), std::move(f),
                                            policy);
              },
              1))
        begins(id, number, own, oracle_->deadline_after(now(), d, true), interval, policy);
    });
  }

  void schedule_task() {
    if (std::optional<task> t = make_task()) {
      handle_type handle;
      if (attempt([&] { handle = wheel_->schedule(t->description); }, 1)) {
        begins(handle.id(), *t);
        read(handle, callables_[t->callable].timer);
      } else {
        check_kept(*t);
      }
    }
  }

  void check_kept(const task& t) {
    const record& c = callables_[t.callable];
    check(c.alive == c.noticed, "a task that was not scheduled keeps its callable");
  }

  void read(handle_type handle, std::size_t of) {
    if (readers_.size() < 64)
      readers_.push_back({of, std::move(handle), true});
  }

  /// Sets slots aside, and uses them.
  void two_steps() {
    if (slots_.empty() || in_.number(1) % 2 == 0) {
      const std::size_t n = in_.number(1) % 4;
      attempt([&] {
        for (kestrel::timer_slot& s : wheel_->allocate(n))
          slots_.push_back(std::move(s));
      });
      return;
    }
    std::optional<task> t = make_task();
    if (!t)
      return;
    kestrel::timer_slot slot = std::move(slots_.back());
    slots_.pop_back();
    const timer_id id = slot.id();
    if (attempt([&] { static_cast<void>(wheel_->schedule(std::move(slot), t->description)); }, 1)) {
      check(!slot, "a slot that was used is empty");
      begins(id, *t);
    } else {
      check(slot.id() == id, "a slot that was not used is what it was");
      check_kept(*t);
    }
    if (!slots_of_old_wheels_.empty() && !is_shut_down_) {
      if (std::optional<task> other = make_task()) {
        const bool ok = attempt(
            [&] {
              static_cast<void>(
                  wheel_->schedule(std::move(slots_of_old_wheels_.back()), other->description));
            },
            0, kestrel::errc::invalid_slot);
        check(!ok, "a slot of another wheel is refused");
        check_kept(*other);
      }
    }
  }

  void schedule_batch() {
    std::vector<timer_task> tasks;
    std::vector<task> made;
    for (std::uint64_t n = in_.number(1) % 5; n != 0; --n) {
      if (std::optional<task> t = make_task()) {
        tasks.push_back(std::move(t->description));
        made.push_back(
            {timer_task::one_shot(nanoseconds(0)), t->callable, t->own_executor, t->policy});
      }
    }
    std::vector<kestrel::timer_slot> slots;
    const bool in_slots = in_.number(1) % 2 == 1 && slots_.size() >= tasks.size();
    for (std::size_t i = 0; in_slots && i != tasks.size(); ++i) {
      slots.push_back(std::move(slots_.back()));
      slots_.pop_back();
    }
    typename wheel_type::batch_handle_type batch;
    const auto schedule = [&] {
      batch = in_slots ? wheel_->schedule(slots, tasks) : wheel_->schedule(tasks);
    };
    if (!attempt(schedule, tasks.size())) {
      for (const task& t : made)
        check_kept(t);
      return;
    }
    check(batch.size() == made.size(), "a batch has as many timers as tasks");
    for (std::size_t i = 0; i != made.size(); ++i) {
      made[i].description = std::move(tasks[i]);
      begins(batch.ids()[i], made[i]);
      read(batch[i], callables_[made[i].callable].timer);
    }
    batches_.push_back(std::move(batch));
  }

  // -- Cancelling and postponing

  timer* any_timer() {
    auto& timers = oracle_->timers();
    if (timers.empty())
      return nullptr;
    const std::uint64_t pick = in_.number(1);
    const std::size_t range = pick >= 192 ? timers.size() : std::min<std::size_t>(timers.size(), 8);
    return &timers[timers.size() - 1 - pick % range];
  }

  void cancel() {
    if (timer* t = any_timer()) {
      const timer_id id = t->id;
      const bool expected = oracle_->cancels(*t);
      const bool is = in_.number(1) % 2 == 1 ? wheel_->handle(id).cancel() : wheel_->cancel(id);
      check(is == expected, "cancel tells the truth");
    }
  }

  void cancel_batch() {
    std::vector<timer_id> ids;
    if (!batches_.empty() && in_.number(1) % 2 == 1) {
      const auto batch = batches_.back();
      batches_.pop_back();
      const std::size_t expected = cancels(batch.ids());
      check(batch.cancel_all() == expected, "cancel_all tells the truth");
      return;
    }
    for (std::uint64_t n = in_.number(1) % 5; n != 0; --n) {
      if (const timer* t = any_timer())
        ids.push_back(t->id);
    }
    ids.push_back(timer_id());
    const std::size_t expected = cancels(ids);
    check(wheel_->cancel(ids) == expected, "cancelling several tells the truth");
  }

  std::size_t cancels(const std::vector<timer_id>& ids) {
    std::size_t n = 0;
    for (const timer_id id : ids) {
      for (timer& t : oracle_->timers())
        n += t.id == id && oracle_->cancels(t) ? 1u : 0u;
    }
    return n;
  }

  void postpone() {
    if (timer* t = any_timer()) {
      const nanoseconds d(delay());
      bool is = false;
      const bool by_handle = in_.number(1) % 2 == 1;
      if (!attempt([&] {
            is = by_handle ? wheel_->handle(t->id).postpone(d) : wheel_->postpone(t->id, d);
          }))
        return;
      check(is == (t->is != state::gone), "postpone tells the truth");
      if (is)
        oracle_->postponed(*t, oracle_->deadline_after(now(), d.count(), t->periodic()));
    }
  }

  void postpone_at() {
    if (timer* t = any_timer()) {
      ns deadline = around_now();
      if (t->periodic() && t->policy == missed_periods::catch_up)
        deadline = std::max(deadline, now() - std::min(now(), t->interval));
      bool is = false;
      if (!attempt([&] { is = wheel_->postpone_at(t->id, time_at(deadline)); }))
        return;
      check(is == (t->is != state::gone), "postpone_at tells the truth");
      if (is)
        oracle_->postponed(*t, deadline);
    }
  }

  void replace() {
    timer* const t = any_timer();
    if (t == nullptr)
      return;
    const ns d = delay();
    const bool absolute = in_.number(1) % 2 == 1;
    with_callable([&](auto&& f, std::size_t number, bool own) {
      const bool expected = t->is != state::gone;
      const ns deadline = absolute ? now() + 1 : oracle_->deadline_after(now(), d, t->periodic());
      // What the old callable's destructor does comes after the replacement.
      std::vector<change> outer = std::exchange(changes_, {});
      if (expected)
        changes_.push_back({callables_[t->callable].timer, t->callable, number, own, deadline});
      bool is = false;
      if (attempt([&] {
            is = absolute ? wheel_->postpone_at(t->id, time_at(deadline), std::move(f))
                          : wheel_->postpone(t->id, nanoseconds(d), std::move(f));
          })) {
        check(is == expected, "postpone with another callback tells the truth");
        changed();
      }
      changes_ = std::move(outer);
    });
  }

  /// Moves several timers at once and replaces the callables of some.
  void replace_batch() {
    using small_one = callable<8, false>;
    stage& here = *this;
    const bool of_batch = !batches_.empty() && in_.number(1) % 2 == 1;
    std::vector<timer_id> ids;
    if (of_batch) {
      ids = batches_.back().ids();
    } else {
      for (std::uint64_t n = in_.number(1) % 5; n != 0; --n) {
        const timer* const t = any_timer();
        if (t != nullptr && std::find(ids.begin(), ids.end(), t->id) == ids.end())
          ids.push_back(t->id);
      }
    }

    std::vector<nanoseconds> delays;
    std::vector<std::optional<small_one>> callbacks(ids.size());
    std::vector<change> changes;
    for (std::size_t i = 0; i != ids.size(); ++i) {
      delays.emplace_back(delay());
      std::size_t by = none;
      if (const std::uint64_t kind = in_.number(1); kind % 4 != 0) {
        by = callables_.size();
        record& c = callables_.emplace_back();
        c.noticed = c.alive = true;
        c.acts = kind >= 200;
        callbacks[i].emplace(here, by);
      }
      const timer& t = timer_called(ids[i]);
      if (t.is == state::gone)
        continue;
      const bool own = by == none && t.own_executor;
      changes.push_back({callables_[t.callable].timer, t.callable, by, own,
                         oracle_->deadline_after(now(), delays[i].count(), t.periodic())});
    }

    const std::size_t expected = changes.size();
    std::vector<change> outer = std::exchange(changes_, std::move(changes));
    std::size_t n = 0;
    const auto ask = [&] {
      if (of_batch) {
        const auto batch = batches_.back(); // destructors may change the list
        n = batch.postpone_each(delays, std::move(callbacks));
        return;
      }
      std::vector<std::tuple<timer_id, nanoseconds, std::optional<small_one>>> moves;
      for (std::size_t i = 0; i != ids.size(); ++i)
        moves.emplace_back(ids[i], delays[i], std::move(callbacks[i]));
      n = wheel_->postpone(std::move(moves));
    };
    if (attempt(ask)) {
      check(n == expected, "postponing several with other callbacks tells the truth");
      changed();
    }
    changes_ = std::move(outer);
  }

  timer& timer_called(timer_id id) {
    auto& timers = oracle_->timers();
    return *std::find_if(timers.begin(), timers.end(), [&](const timer& t) { return t.id == id; });
  }

  /// All of it at once, and before any of the old callables is destroyed.
  void changed() {
    for (const change& c : std::exchange(changes_, {})) {
      timer& t = oracle_->timers()[c.timer];
      if (c.by != none) {
        callables_[c.by].timer = c.timer;
        oracle_->replaced(t, c.by, c.own_executor);
      }
      oracle_->postponed(t, c.deadline);
    }
  }

  /// Owners come and go, and hand their timers on.
  void own() {
    const std::uint64_t what = in_.number(1) % 8;
    if (what < 3 || owners_.empty()) {
      const timer* const t = wheel_ != nullptr ? any_timer() : nullptr;
      if (t == nullptr || owners_.size() == 16)
        return;
      const std::size_t of = callables_[t->callable].timer;
      owners_.push_back({what == 0 ? scoped_type(*wheel_, t->id) : wheel_->handle(t->id), of});
      return check(owners_.back().timer.id() == t->id, "an owner knows its timer");
    }
    // What destructors do may change the list.
    owner one = next_owner();
    const timer_id id = one.timer.id();
    timer& t = oracle_->timers()[one.of];
    switch (what) {
    case 3: {
      const handle_type left_alone = one.timer.release();
      check(left_alone.id() == id && !one.timer, "who releases a timer owns none");
      return;
    }
    case 4: {
      const bool expected = oracle_->cancels(t);
      check(one.timer.cancel() == expected, "an owner's cancel tells the truth");
      return;
    }
    case 5: {
      const nanoseconds d(delay());
      bool is = false;
      if (wheel_ != nullptr && attempt([&] { is = one.timer.postpone(d); })) {
        check(is == (t.is != state::gone), "an owner's postpone tells the truth");
        if (is)
          oracle_->postponed(t, oracle_->deadline_after(now(), d.count(), t.periodic()));
      }
      owners_.push_back(std::move(one));
      return;
    }
    case 6:
      if (!owners_.empty()) {
        owner other = next_owner();
        oracle_->cancels(t);
        one.timer = std::move(other.timer);
        check(!other.timer, "who is moved from owns no timer");
        one.of = other.of;
        owners_.push_back(std::move(one));
        return check(wheel_ == nullptr || !wheel_->expiry(id),
                     "who owns another cancels the first");
      }
      [[fallthrough]];
    default:
      oracle_->cancels(t);
      one = {};
      check(wheel_ == nullptr || !wheel_->expiry(id), "an owner's end cancels its timer");
    }
  }

  owner next_owner() {
    owner next = std::move(owners_.back());
    owners_.pop_back();
    return next;
  }

  void postpone_batch() {
    const nanoseconds d(delay());
    if (!batches_.empty() && in_.number(1) % 2 == 1) {
      const auto& batch = batches_.back();
      std::size_t n = 0;
      if (attempt([&] { n = batch.postpone_all(d); }))
        check(n == postpones(batch.ids(), std::vector(batch.size(), d)),
              "postpone_all tells the truth");
      return;
    }
    std::vector<std::pair<timer_id, nanoseconds>> moves;
    std::vector<timer_id> ids;
    std::vector<nanoseconds> delays;
    for (std::uint64_t n = in_.number(1) % 5; n != 0; --n) {
      if (const timer* t = any_timer()) {
        ids.push_back(t->id);
        delays.emplace_back(delay());
        moves.emplace_back(ids.back(), delays.back());
      }
    }
    std::size_t n = 0;
    if (attempt([&] { n = wheel_->postpone(moves); }))
      check(n == postpones(ids, delays), "postponing several tells the truth");
  }

  std::size_t postpones(const std::vector<timer_id>& ids, const std::vector<nanoseconds>& delays) {
    std::size_t n = 0;
    for (std::size_t i = 0; i != ids.size(); ++i) {
      for (timer& t : oracle_->timers()) {
        if (t.id != ids[i] || t.is == state::gone)
          continue;
        oracle_->postponed(t, oracle_->deadline_after(now(), delays[i].count(), t.periodic()));
        ++n;
      }
    }
    return n;
  }

  /// Has a callable's cancellation slot cancel its timer, or cuts a wait short.
  void emit() {
    const auto type = std::array{asio::cancellation_type::terminal,
                                 asio::cancellation_type::partial, asio::cancellation_type::total,
                                 asio::cancellation_type::none}[in_.number(1) % 4];
    const bool none_at_all = type == asio::cancellation_type::none;
    const std::uint64_t pick = in_.number(1);
    if (pick < 64 && !readers_.empty()) {
      reader& r = readers_[readers_.size() - 1 - pick % readers_.size()];
      r.cut = r.cut || (r.waits && !none_at_all);
      if (r.signal != nullptr)
        r.signal->emit(type);
      return;
    }
    if (pick < 128 && !pauses_.empty()) {
      pause& p = pauses_[pauses_.size() - 1 - pick % pauses_.size()];
      p.cut = p.cut || !none_at_all;
      p.signal->emit(type);
      return;
    }
    if (signals_.empty())
      return;
    const std::size_t signal = signals_.size() - 1 - pick % signals_.size();
    for (std::size_t number = 0; number != callables_.size(); ++number) {
      const record& c = callables_[number];
      if (c.signal != signal || c.timer == none || none_at_all)
        continue;
      timer& t = oracle_->timers()[c.timer];
      if (t.callable == number)
        oracle_->cancels(t);
    }
    signals_[signal].emit(type);
  }

  // -- Waiting

  void wait() {
    if (io_ == nullptr || is_failing_)
      return; // handlers would be called on other threads, or could not be called
    std::size_t number = readers_.size();
    if (number == 0 || in_.number(1) % 4 == 1) {
      const timer* const t = any_timer();
      if (t == nullptr || number >= 64 || t->is == state::running || depth_ != 0)
        return; // whether a firing that has begun is told depends on who else is
      readers_.push_back(
          {callables_[t->callable].timer, wheel_->handle(t->id), t->is != state::gone});
      readers_.back().told = t->fired; // from its first wait on
    } else {
      number -= 1 + in_.number(1) % number;
    }
    reader& r = readers_[number];
    if (r.waits)
      return;
    r.waits = true;
    r.cut = false;
    r.signal = std::make_unique<asio::cancellation_signal>();
    r.handle.async_wait(asio::bind_cancellation_slot(
        r.signal->slot(), [this, number, of = wheels_](asio::error_code ec, completion what) {
          if (of == wheels_)
            told(readers_[number], ec, what);
        }));
  }

  void told(reader& r, asio::error_code ec, completion what) {
    const memory_for this_handler(no_failure);
    const timer& t = oracle_->timers()[r.timer];
    check(std::exchange(r.waits, false), "a wait ends once");
    if (ec == asio::error::operation_aborted) {
      check(r.cut || (is_shut_down_ && t.is == state::gone), "a wait is aborted for a reason");
    } else if (ec) {
      check(ec == kestrel::errc::no_such_timer, "the errors of a wait");
      check(t.is == state::gone, "a timer that is pending exists");
      check(!r.watches || (r.told == t.fired && (!t.cancelled || r.told_of_cancellation)),
            "all is told before a timer exists no more");
    } else {
      take(r, t, what);
    }
    act(in_.number(1));
  }

  static void take(reader& r, const timer& t, completion what) {
    check(r.watches, "who came too late is told nothing");
    if (what == completion::fired) {
      r.told += what.count();
      check(what.count() != 0 && r.told <= t.fired, "no firing is told twice");
    } else {
      check(t.cancelled && r.told == t.fired, "a cancellation is told last");
      check(!std::exchange(r.told_of_cancellation, true), "a cancellation is told once");
    }
  }

  void try_wait() {
    if (readers_.empty() || running_ != none || depth_ != 0)
      return; // a firing is told when its callback has run and is gone
    reader& r = readers_[readers_.size() - 1 - in_.number(1) % readers_.size()];
    if (r.waits || !r.watches)
      return;
    const timer& t = oracle_->timers()[r.timer];
    const bool news = r.told != t.fired || (t.cancelled && !r.told_of_cancellation);
    const std::optional<completion> what = r.handle.try_wait();
    check(what.has_value() == news, "try_wait tells what there is to tell");
    if (what)
      take(r, t, *what);
  }

  void wait_after() {
    if (io_ == nullptr || is_failing_ || pauses_.size() >= 64)
      return;
    const ns d = delay();
    const std::size_t number = pauses_.size();
    pause& p = pauses_.emplace_back();
    p.deadline = oracle_->deadline_after(now(), d, false);
    p.signal = std::make_unique<asio::cancellation_signal>();
    wheel_->async_wait_after(
        nanoseconds(d), asio::bind_cancellation_slot(
                            p.signal->slot(), [this, number, of = wheels_](asio::error_code ec) {
                              if (of == wheels_)
                                over(pauses_[number], ec);
                            }));
  }

  void over(pause& p, asio::error_code ec) {
    const memory_for this_handler(no_failure);
    check(!std::exchange(p.over, true), "a wait ends once");
    if (ec == kestrel::errc::shut_down)
      check(is_shut_down_, "a wait begins before the end");
    else if (ec == kestrel::errc::too_many_timers)
      check(was_limited_, "a wait is refused at the limit only");
    else if (ec)
      check(ec == asio::error::operation_aborted && (p.cut || is_shut_down_),
            "a wait is aborted for a reason");
    else
      check(has_stepped_back_ || now() >= p.deadline, "no wait ends early");
    act(in_.number(1));
  }

  // ---- What callables do

  void runs(std::size_t number, timer_id id, std::uint64_t missed) override {
    const memory_for this_callback(no_failure);
    check(checked_mutex::held() == 0, "callbacks run outside the lock");
    check(callables_[number].timer != none, "what runs was scheduled");
    timer& t = oracle_->timers()[callables_[number].timer];
    check(t.callable == number, "what was replaced does not run");
    oracle_->begins(t, id, missed, now());
    struct turn {
      turn(wheel_run& r, timer& of, std::size_t n)
          : run{r}, t{of}, outer{std::exchange(r.running_, n)} {}
      ~turn() {
        run.oracle_->ends(t);
        run.running_ = outer;
      }
      wheel_run& run;
      timer& t;
      std::size_t outer;
    } const this_one(*this, t, number);
    const auto expiry = wheel_->expiry(id);
    check(expiry.has_value() == t.periodic(), "a timer that fires again is pending meanwhile");
    check(!expiry || expiry->time_since_epoch().count() == t.deadline, "its next deadline");
    if (!t.periodic())
      check(!wheel_->cancel(id), "what has begun is not cancelled");
    const std::uint64_t what = in_.number(1);
    act(what);
    if (what % 16 == 15)
      throw thrown_by_callback{};
  }

  void act(std::uint64_t what) {
    if (what < 100)
      return;
    operation(in_.number(1), true);
    if (what > 200)
      operation(in_.number(1), true);
  }

  void destroyed(std::size_t number) noexcept override {
    if (ending_)
      return;
    const memory_for this_destructor(no_failure);
    try {
      record& c = callables_[number];
      check(std::exchange(c.alive, false), "a callable is destroyed once");
      check(checked_mutex::held() == 0, "callables are destroyed outside the lock");
      if (c.timer == none)
        return;
      const auto replaces = [&](const change& of) {
        return of.by != none && of.callable == number;
      };
      if (std::any_of(changes_.begin(), changes_.end(), replaces))
        changed();
      const timer& t = oracle_->timers()[c.timer];
      check(t.callable != number || t.is == state::gone, "a pending timer keeps its callable");
      if (c.acts && depth_ < 2) {
        ++depth_;
        operation(in_.number(1), true);
        --depth_;
      }
    } catch (const broken_promise& broken) {
      failure_ = broken.what();
    }
  }

  // ---- Comparing

  void compare() {
    check(failure_.empty(), failure_.c_str());
    check(checked_mutex::take_violations() == 0, "no lock is taken twice");
    if (wheel_ == nullptr)
      return;
    check(wheel_->size() >= oracle_->pending() &&
              wheel_->size() <= oracle_->pending() + pauses_under_way(),
          "size");
    const auto& timers = oracle_->timers();
    if (timers.empty())
      return;
    const timer& t = timers[step_ % timers.size()];
    const auto expiry = wheel_->expiry(t.id);
    check(expiry.has_value() == (t.is != state::gone), "expiry knows who is pending");
    check(!expiry || expiry->time_since_epoch().count() == t.deadline, "expiry is exact");
  }

  void compare_exactly() {
    if (wheel_ == nullptr)
      return;
    check(wheel_->empty() || !is_shut_down_, "a wheel that was shut down is empty");
    check(is_shut_down_ || wheel_->size() == oracle_->pending() + pauses_under_way(), "size");
    const auto is = wheel_->stats();
    const auto& expected = oracle_->count();
    check(is.postponed == expected.postponed && is.missed_periods == expected.missed,
          "what was postponed and missed is counted");
    if (pauses_.empty())
      check(is.scheduled == expected.scheduled && is.fired == expected.fired &&
                is.cancelled == expected.cancelled,
            "what was scheduled, fired and cancelled is counted");
  }

  // ---- The end

  void end_well() {
    memory_is_short_ = false;
    moves_throw = false;
    settle();
    while (readers_.size() != 0 && wheel_ != nullptr) {
      reader& r = readers_.back();
      if (r.watches && !r.waits) {
        const timer& t = oracle_->timers()[r.timer];
        while (const std::optional<completion> what = r.handle.try_wait())
          take(r, t, *what);
        check(r.told == t.fired && r.told_of_cancellation == t.cancelled, "all is told");
      }
      if (r.waits)
        break; // its handler knows it by its number
      readers_.pop_back();
    }
    switch (ending_with_ % 4) {
    case 0: // nothing is pending any more, so nothing is left to do
      if (wheel_ != nullptr) {
        for (std::size_t i = 0; i != oracle_->timers().size(); ++i) { // destructors add to them
          timer& t = oracle_->timers()[i];
          const bool expected = oracle_->cancels(t);
          check(wheel_->cancel(t.id) == expected, "cancel tells the truth");
        }
        for (pause& p : pauses_) {
          p.cut = true;
          p.signal->emit(asio::cancellation_type::total);
        }
        settle();
        check(is_shut_down_ || wheel_->empty() || oracle_->pending() != 0, "empty");
      }
      break;
    case 1:
      end_timers();
      wheel_.reset();
      break;
    case 2:
      end_timers();
      if (wheel_ != nullptr)
        wheel_->shutdown();
      break;
    default:
      end_timers();
      strand_.reset();
      io_.reset();
      return check_all_destroyed();
    }
    if (is_shut_down_)
      check_all_destroyed();
    settle();
    for (const pause& p : pauses_)
      check(p.over || io_was_lost_ || !is_shut_down_, "the end of the wheel ends every wait");
    for (const reader& r : readers_)
      check(!r.waits || io_was_lost_ || !is_shut_down_, "the end of the wheel ends every wait");
  }

  static manual_clock::time_point time_at(ns time) {
    return manual_clock::time_point(nanoseconds(time));
  }

  byte_reader& in_;
  std::deque<asio::cancellation_signal> signals_;
  std::unique_ptr<asio::io_context> io_;
  std::optional<asio::strand<asio::io_context::executor_type>> strand_;
  std::unique_ptr<wheel_type> wheel_;
  std::optional<timer_oracle> oracle_;
  std::deque<record> callables_;
  std::deque<reader> readers_;
  std::vector<owner> owners_;
  std::vector<change> changes_; // that the wheel has been asked for
  std::deque<pause> pauses_;
  std::vector<kestrel::timer_slot> slots_;
  std::vector<kestrel::timer_slot> slots_of_old_wheels_;
  std::vector<typename wheel_type::batch_handle_type> batches_;

  ns l1_tick_ = 0;
  ns turn_ = 0;
  std::uint64_t ending_with_ = 0;
  std::size_t running_ = none; // the callable
  std::size_t wheels_ = 0;     // that were made
  std::size_t step_ = 0;
  int depth_ = 0; // of destructors
  std::size_t limit_ = std::numeric_limits<std::size_t>::max();
  bool was_limited_ = false;
  bool is_shut_down_ = false;
  bool io_was_lost_ = false;
  bool has_stepped_back_ = false;
  bool has_used_strand_ = false;
  bool is_failing_ = false; // memory, while handlers run
  bool memory_is_short_ = false;
  bool ending_ = false;
  std::string failure_; // of a destructor, which must not throw
};

struct single_threaded_tiny : tiny_traits {
  using mutex = kestrel::null_mutex;
};

template <class Traits>
void run_on(byte_reader& in) {
  wheel_run<Traits> run(in);
  try {
    run.run();
  } catch (const broken_promise& broken) {
    throw broken_promise(std::string(broken.what()) + ", step " + std::to_string(run.step()));
  }
}

} // namespace

void kestrel_tests::fuzz(std::span<const std::byte> bytes) {
  byte_reader in(bytes);
  if (in.number(1) % 4 == 1)
    run_on<single_threaded_tiny>(in);
  else
    run_on<manual_traits>(in);
}
