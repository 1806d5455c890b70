// SPDX-License-Identifier: MIT
//
// What is gathered from the ranges of a batch before the wheel's lock is taken once for all of it.

#ifndef KESTREL_DETAIL_BATCH_HPP
#define KESTREL_DETAIL_BATCH_HPP

#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/detail/watch.hpp>
#include <kestrel/error.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/timer_slot.hpp>
#include <kestrel/timer_task.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class T>
concept tuple_like = requires {
  std::tuple_size<std::remove_cvref_t<T>>::value;
};

template <class R>
concept range_of_ids =
    std::ranges::input_range<R> && std::convertible_to<std::ranges::range_reference_t<R>, timer_id>;

template <class R>
concept range_of_tuples = std::ranges::input_range<R> && tuple_like<std::ranges::range_value_t<R>>;

/// The element at `it`, to be moved from if the range that it is in was passed to be.
template <class Range, class Iterator>
decltype(auto) element(Iterator& it) {
  if constexpr (std::is_lvalue_reference_v<Range> || std::ranges::view<std::remove_cvref_t<Range>>)
    return *it;
  else
    return std::ranges::iter_move(it);
}

template <class Range, class F>
void for_each_element(Range&& range, F&& f) {
  for (auto it = std::ranges::begin(range); it != std::ranges::end(range); ++it)
    f(element<Range>(it));
}

inline void require_same_length(const char* what, std::size_t length, const char* others,
                                std::size_t other_length) {
  if (length != other_length)
    throw_error(errc::batch_length_mismatch, std::string(what) + " = " + std::to_string(length) +
                                                 ", " + others + " = " +
                                                 std::to_string(other_length));
}

/// For a range that may have no end: unless all of it `fits`, there is more of it than timers.
inline void require_at_most(const char* what, bool fits, std::size_t timers) {
  if (!fits)
    throw_error(errc::batch_length_mismatch, std::string(what) + " > " + std::to_string(timers) +
                                                 ", timers = " + std::to_string(timers));
}

/// Watches that only those ask who wait.
inline std::vector<std::shared_ptr<watch>> make_watches(std::span<const timer_id> ids,
                                                        std::span<timer_spec* const>) {
  std::vector<std::shared_ptr<watch>> made(ids.size());
  for (std::shared_ptr<watch>& w : made)
    w = std::make_shared<watch>();
  return made;
}

/// The tasks of a batch on their way to becoming timers, whose watches are made by
/// `make_watches(ids, specs)`. What `ids` and `watches` have in the end is in the order of the
/// tasks.
struct new_timers {
  template <class Tasks>
  explicit new_timers(Tasks& tasks) {
    for (timer_task& task : tasks) {
      timer_spec& spec = task_access::spec(task);
      if (!spec.action)
        throw_error(errc::invalid_callback); // the task was used
      specs.push_back(&spec);
    }
  }

  template <class MakeWatches>
  void schedule(timer_host& host, MakeWatches&& make_watches) {
    slots_aside aside(host, specs.size());
    watches = make_watches(aside.ids(), specs);
    schedule_linked(host, aside.ids());
    ids = aside.use();
  }

  /// In slots that were set aside before, and that are empty afterwards.
  template <class Slots, class MakeWatches>
  void schedule_in(Slots& slots, const std::shared_ptr<timer_host>& host,
                   MakeWatches&& make_watches) {
    for (const timer_slot& slot : slots) {
      if (slot_access::host(slot) != host)
        throw_error(errc::invalid_slot);
      ids.push_back(slot.id());
    }
    require_same_length("slots", ids.size(), "tasks", specs.size());
    watches = make_watches(ids, specs);
    schedule_linked(*host, ids);
    for (timer_slot& slot : slots)
      slot_access::use(slot);
  }

  /// Connects the cancellation slots of the callables first.
  void schedule_linked(timer_host& host, std::span<const timer_id> slots) {
    try {
      for (std::size_t i = 0; i != specs.size(); ++i)
        specs[i]->action.connect(host, slots[i]);
      host.schedule(slots, specs, watches);
    } catch (...) {
      for (timer_spec* s : specs)
        s->action.disconnect();
      throw;
    }
  }

  std::vector<timer_spec*> specs;
  std::vector<timer_id> ids;
  std::vector<std::shared_ptr<watch>> watches;
};

class postponements {
public:
  explicit postponements(std::shared_ptr<timer_host> host) noexcept : host_(std::move(host)) {}

  template <class Rep, class Period>
  void add(timer_id id, const std::chrono::duration<Rep, Period>& delay) {
    moves_.push_back({id, delay_of(delay), {}});
  }

  template <class Rep, class Period, class F>
  void add(timer_id id, const std::chrono::duration<Rep, Period>& delay, F&& f) {
    moves_.push_back({id, delay_of(delay), replacement(*host_, id, std::forward<F>(f))});
  }

  /// A pair of a delay and a callback.
  template <tuple_like Pair>
  void add(timer_id id, Pair&& pair) {
    static_assert(std::tuple_size_v<std::remove_cvref_t<Pair>> == 2);
    add(id, std::get<0>(pair), std::get<1>(std::forward<Pair>(pair)));
  }

  /// {id, delay} or {id, delay, callback}.
  template <tuple_like Tuple>
  void add(Tuple&& tuple) {
    std::apply([this](auto&&... parts) { this->add(std::forward<decltype(parts)>(parts)...); },
               std::forward<Tuple>(tuple));
  }

  std::size_t apply() { return moves_.empty() ? 0 : host_->postpone(moves_); }

private:
  std::shared_ptr<timer_host> host_;
  std::vector<postponement> moves_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_BATCH_HPP
