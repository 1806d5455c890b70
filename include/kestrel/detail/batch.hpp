// SPDX-License-Identifier: MIT
//
// What is gathered from the ranges of a batch before the wheel's lock is taken once for all of it.

#ifndef KESTREL_DETAIL_BATCH_HPP
#define KESTREL_DETAIL_BATCH_HPP

#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/exceptions.hpp>
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
#include <optional>
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

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
concept optional_like = is_optional<std::remove_cvref_t<T>>;

template <class R>
concept range_of_ids =
    std::ranges::input_range<R> && std::convertible_to<std::ranges::range_reference_t<R>, timer_id>;

template <class R>
concept range_of_tuples = std::ranges::input_range<R> && tuple_like<std::ranges::range_value_t<R>>;

/// Of whatever type, in a list in braces.
struct any_delay : std::chrono::nanoseconds {
  template <class Rep, class Period>
  any_delay(const std::chrono::duration<Rep, Period>& delay)
      : std::chrono::nanoseconds(delay_of(delay)) {}
};

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

/// Elements of type T that can be moved from: `T&`, `T&&` or `T`.
template <class R, class T>
concept range_to_take_from = std::ranges::input_range<R> &&
    std::same_as<std::remove_reference_t<std::ranges::range_reference_t<R>>, T>;

/// Calls `f` with elements that stay where they are. Those that the range makes as it goes, or that
/// it can go through only once, are moved into `made`.
template <class T, class Range, class F>
void for_each_lasting(Range& range, std::vector<T>& made, F&& f) {
  if constexpr (std::ranges::forward_range<Range> &&
                std::is_reference_v<std::ranges::range_reference_t<Range>>) {
    for (auto&& element : range)
      f(element);
  } else {
    for (auto&& element : range)
      made.push_back(std::move(element));
    for (T& element : made)
      f(element);
  }
}

/// Watches that only those ask who wait.
inline constexpr auto watches_to_ask = [](const auto& ids, const auto& /* specs */) {
  std::vector<std::shared_ptr<watch>> made(ids.size());
  for (std::shared_ptr<watch>& w : made)
    w = std::make_shared<watch>();
  return made;
};

/// The slots of a batch, empty until this is destroyed, so that none is in it twice, and for good
/// if they are used.
template <range_to_take_from<timer_slot> Slots>
class slots_taken {
public:
  slots_taken(Slots& slots, const std::shared_ptr<timer_host>& host) : host_{host} {
    for_each_lasting(slots, made_, [this](timer_slot& slot) { slots_.push_back(&slot); });
    ids_.reserve(slots_.size());
    for (timer_slot* slot : slots_) {
      if (slot_access::host(*slot) != host) {
        put_back();
        throw_error(errc::invalid_slot, "slot " + std::to_string(ids_.size()));
      }
      ids_.push_back(slot_access::take(*slot));
    }
  }

  slots_taken(const slots_taken&) = delete;
  slots_taken& operator=(const slots_taken&) = delete;

  ~slots_taken() { put_back(); }

  [[nodiscard]] const std::vector<timer_id>& ids() const noexcept { return ids_; }
  std::vector<timer_id> use() noexcept { return std::exchange(ids_, {}); }

private:
  void put_back() noexcept {
    for (std::size_t i = 0; i != ids_.size(); ++i)
      slot_access::put_back(*slots_[i], host_, ids_[i]);
  }

  const std::shared_ptr<timer_host>& host_;
  std::vector<timer_slot> made_;
  std::vector<timer_slot*> slots_;
  std::vector<timer_id> ids_;
};

/// The tasks of a batch on their way to becoming timers, whose watches are made by
/// `make_watches(ids, specs)`. What `ids` and `watches` have in the end is in the order of the
/// tasks.
template <range_to_take_from<timer_task> Tasks>
class new_timers {
public:
  explicit new_timers(Tasks& tasks) {
    for_each_lasting(tasks, made_,
                     [this](timer_task& task) { specs_.push_back(&task_access::spec(task)); });
    require_callables();
  }

  template <class MakeWatches>
  void schedule(timer_host& host, MakeWatches&& make_watches) {
    slots_aside aside(host, specs_.size());
    schedule_in_all(aside, host, make_watches);
  }

  /// In slots that were set aside before, and that are empty afterwards.
  template <range_to_take_from<timer_slot> Slots, class MakeWatches>
  void schedule_in(Slots& slots, const std::shared_ptr<timer_host>& host,
                   MakeWatches&& make_watches) {
    slots_taken taken(slots, host);
    require_same_length("slots", taken.ids().size(), "tasks", specs_.size());
    schedule_in_all(taken, *host, make_watches);
  }

  std::vector<timer_id> ids;
  std::vector<std::shared_ptr<watch>> watches;

private:
  /// Each has one, which is in no other task of the batch.
  void require_callables() {
    std::size_t i = 0;
    while (i != specs_.size() && specs_[i]->action && !std::exchange(specs_[i]->is_marked, true))
      ++i;
    for (std::size_t marked = 0; marked != i; ++marked)
      specs_[marked]->is_marked = false;
    if (i != specs_.size())
      throw_error(errc::invalid_callback, "task " + std::to_string(i));
  }

  /// Connects the cancellation slots of the callables first.
  template <class Slots, class MakeWatches>
  void schedule_in_all(Slots& slots, timer_host& host, MakeWatches& make_watches) {
    watches = make_watches(slots.ids(), specs_);
    KESTREL_TRY {
      for (std::size_t i = 0; i != specs_.size(); ++i)
        specs_[i]->action.connect(host, slots.ids()[i]);
      host.schedule(slots.ids(), specs_, watches);
    }
    KESTREL_CATCH_ALL {
      for (timer_spec* s : specs_)
        s->action.disconnect();
      KESTREL_RETHROW;
    }
    ids = slots.use();
  }

  std::vector<timer_task> made_;
  std::vector<timer_spec*> specs_; // of the tasks
};

template <class Host>
class postponements {
public:
  explicit postponements(std::shared_ptr<Host> host) noexcept : host_(std::move(host)) {}

  template <class Rep, class Period>
  void add(timer_id id, const std::chrono::duration<Rep, Period>& delay) {
    moves_.push_back({id, delay_of(delay), {}});
  }

  template <class Rep, class Period, class F>
  void add(timer_id id, const std::chrono::duration<Rep, Period>& delay, F&& f) {
    if (is_empty_callback(f))
      throw_error(errc::invalid_callback, "callback of timer " + std::to_string(id.index()) + "." +
                                              std::to_string(id.generation()));
    moves_.push_back({id, delay_of(delay), replacement(*host_, id, std::forward<F>(f))});
  }

  /// Without a callback, the one there is stays.
  template <class Rep, class Period, optional_like F>
  void add(timer_id id, const std::chrono::duration<Rep, Period>& delay, F&& f) {
    if (f)
      add(id, delay, *std::forward<F>(f));
    else
      add(id, delay);
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
  std::shared_ptr<Host> host_;
  std::vector<postponement> moves_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_BATCH_HPP
