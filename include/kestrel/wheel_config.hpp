// SPDX-License-Identifier: MIT
//
// The geometry of a wheel and its validation: wheel_config for people, static_geometry and
// dynamic_geometry for wheel<T>. A geometry that makes no sense is refused, at compile time where
// it is a constant, with an errc that names the field where it is a run-time value.

#ifndef KESTREL_WHEEL_CONFIG_HPP
#define KESTREL_WHEEL_CONFIG_HPP

#include <kestrel/detail/divisor.hpp>
#include <kestrel/error.hpp>

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <system_error>

KESTREL_BEGIN_NAMESPACE

namespace detail {

inline constexpr std::uint64_t max_slots = std::uint64_t{1} << 20;

constexpr bool is_slot_count(std::uint64_t n) noexcept {
  return n <= max_slots && std::has_single_bit(n);
}

// The first field that makes no sense, or errc{} when all do. The ticks may be in any one unit.
constexpr errc geometry_problem(std::int64_t l0_tick, std::uint64_t l0_slots, std::int64_t l1_tick,
                                std::uint64_t l1_slots) noexcept {
  constexpr std::int64_t max = (std::numeric_limits<std::int64_t>::max)();
  if (l0_tick <= 0)
    return errc::invalid_l0_tick;
  if (!is_slot_count(l0_slots))
    return errc::invalid_l0_slots;
  if (l1_tick <= 0 || l1_tick % l0_tick != 0 ||
      static_cast<std::uint64_t>(l1_tick / l0_tick) > l0_slots)
    return errc::invalid_l1_tick;
  if (!is_slot_count(l1_slots) || l1_tick > max / static_cast<std::int64_t>(l1_slots))
    return errc::invalid_l1_slots;
  return errc{};
}

} // namespace detail

/// The two levels of a wheel: how long one slot lasts and how many there are.
///
///     wheel_config{}           512 x 10 ms = 5.12 s      64 x 1 s    = 64 s
///     network_timeouts()      1024 x  5 ms = 5.12 s      64 x 500 ms = 32 s
///     heartbeats()             512 x 100 ms = 51.2 s    128 x 10 s   = 21 min 20 s
///
/// `l0_tick` is the precision: a timer fires up to one `l0_tick` late, never early, however far
/// away its deadline was. Timers beyond the second level wait there for another turn. The slot
/// counts decide memory (24 or 32 bytes a slot) and how often a long timer is looked at before it
/// is due.
struct wheel_config {
  /// The precision, and how long a slot of level 0 lasts.
  std::chrono::nanoseconds l0_tick = std::chrono::milliseconds(10);
  /// A power of two up to 2^20.
  std::size_t l0_slots = 512;
  /// How long a slot of level 1 lasts: a multiple of `l0_tick`, and at most all of level 0.
  std::chrono::nanoseconds l1_tick = std::chrono::seconds(1);
  /// A power of two up to 2^20.
  std::size_t l1_slots = 64;

  /// For timeouts of connections and requests: 1024 x 5 ms, 64 x 500 ms.
  [[nodiscard]] static constexpr wheel_config network_timeouts() noexcept {
    return {std::chrono::milliseconds(5), 1024, std::chrono::milliseconds(500), 64};
  }

  /// For heartbeats and sessions: 512 x 100 ms, 128 x 10 s.
  [[nodiscard]] static constexpr wheel_config heartbeats() noexcept {
    return {std::chrono::milliseconds(100), 512, std::chrono::seconds(10), 128};
  }

  ///@{
  /// One field changed, for those who would rather chain than list:
  /// `wheel_config().with_l0_tick(5ms).with_l0_slots(1024)`
  [[nodiscard]] constexpr wheel_config with_l0_tick(std::chrono::nanoseconds tick) const noexcept {
    return {tick, l0_slots, l1_tick, l1_slots};
  }
  [[nodiscard]] constexpr wheel_config with_l0_slots(std::size_t slots) const noexcept {
    return {l0_tick, slots, l1_tick, l1_slots};
  }
  [[nodiscard]] constexpr wheel_config with_l1_tick(std::chrono::nanoseconds tick) const noexcept {
    return {l0_tick, l0_slots, tick, l1_slots};
  }
  [[nodiscard]] constexpr wheel_config with_l1_slots(std::size_t slots) const noexcept {
    return {l0_tick, l0_slots, l1_tick, slots};
  }
  ///@}

  /// The first field that makes no sense, or `errc{}`. Usable in a static_assert.
  [[nodiscard]] constexpr errc problem() const noexcept {
    return detail::geometry_problem(l0_tick.count(), l0_slots, l1_tick.count(), l1_slots);
  }

  /// The same as an error_code, which is false when the configuration is valid.
  [[nodiscard]] std::error_code validate() const noexcept {
    const errc e = problem();
    return e == errc{} ? std::error_code{} : make_error_code(e);
  }

  /// Field by field.
  friend constexpr bool operator==(const wheel_config&, const wheel_config&) noexcept = default;
};

namespace detail {

inline std::string in_ns(const char* what, std::chrono::nanoseconds time) {
  return std::string(what) + " = " + std::to_string(time.count()) + " ns";
}

/// The field that `problem` is about, its value, and what else it depends on.
inline std::string field_and_value(errc problem, const wheel_config& c) {
  switch (problem) {
  case errc::invalid_l0_tick:
    return in_ns("l0_tick", c.l0_tick);
  case errc::invalid_l0_slots:
    return "l0_slots = " + std::to_string(c.l0_slots);
  case errc::invalid_l1_tick:
    return in_ns("l1_tick", c.l1_tick) + ", " +
           (c.l1_tick <= c.l1_tick.zero() || c.l1_tick % c.l0_tick != c.l1_tick.zero()
                ? in_ns("l0_tick", c.l0_tick)
                : in_ns("l0_tick * l0_slots", c.l0_tick * c.l0_slots)); // the smaller of the two
  case errc::invalid_l1_slots:
    return "l1_slots = " + std::to_string(c.l1_slots) + ", " + in_ns("l1_tick", c.l1_tick);
  default:
    return {};
  }
}

inline std::string all_fields(const wheel_config& c) {
  return in_ns("l0_tick", c.l0_tick) + ", l0_slots = " + std::to_string(c.l0_slots) + ", " +
         in_ns("l1_tick", c.l1_tick) + ", l1_slots = " + std::to_string(c.l1_slots);
}

} // namespace detail

/// A geometry fixed at compile time: indexing is a constant mask, bad values do not compile.
///
/// `L1Ticks` is the length of a level-1 slot in level-0 ticks. `Granularity` is the number of time
/// units in one level-0 tick: 1 when the wheel is stepped in ticks, the tick's nanoseconds when
/// deadlines are in nanoseconds (`static_geometry<512, 64, 100, 10'000'000>` is the default
/// `wheel_config`).
template <std::uint64_t L0Slots = 512, std::uint64_t L1Slots = 64, std::uint64_t L1Ticks = 100,
          std::uint64_t Granularity = 1>
class static_geometry {
  static_assert(Granularity > 0, "kestrel: l0_tick must be positive");
  static_assert(detail::is_slot_count(L0Slots),
                "kestrel: l0_slots must be a power of two from 1 to 2^20");
  static_assert(L1Ticks > 0 && L1Ticks <= L0Slots,
                "kestrel: l1_tick must be a positive multiple of l0_tick, and at most "
                "l0_tick * l0_slots");
  static_assert(detail::is_slot_count(L1Slots),
                "kestrel: l1_slots must be a power of two from 1 to 2^20");
  static_assert(Granularity <= (std::numeric_limits<std::int64_t>::max)() / (L1Ticks * L1Slots),
                "kestrel: l1_slots makes l1_tick * l1_slots overflow");

public:
  ///@{
  /// The slots of both levels, the ticks of a level-1 slot, and the units of a tick.
  [[nodiscard]] static constexpr std::uint64_t l0_slots() noexcept { return L0Slots; }
  [[nodiscard]] static constexpr std::uint64_t l1_slots() noexcept { return L1Slots; }
  [[nodiscard]] static constexpr std::uint64_t l1_ticks() noexcept { return L1Ticks; }
  [[nodiscard]] static constexpr std::uint64_t granularity() noexcept { return Granularity; }
  ///@}

  ///@{
  /// Time in units, in whole level-0 and level-1 ticks.
  [[nodiscard]] static constexpr std::uint64_t to_ticks(std::uint64_t units) noexcept {
    return units / Granularity;
  }
  [[nodiscard]] static constexpr std::uint64_t to_l1_ticks(std::uint64_t units) noexcept {
    return units / (Granularity * L1Ticks);
  }
  ///@}
};

/// A geometry chosen at run time. Throws `std::system_error` with the `errc` of the bad field.
class dynamic_geometry {
public:
  /// That of `config`, in nanoseconds.
  explicit dynamic_geometry(const wheel_config& config = {})
      : dynamic_geometry(config.problem(), config) {}

  /// Without a clock: `l1_ticks` is the length of a level-1 slot in level-0 ticks.
  [[nodiscard]] static dynamic_geometry in_ticks(std::size_t l0_slots, std::size_t l1_slots,
                                                 std::int64_t l1_ticks) {
    return dynamic_geometry(wheel_config{std::chrono::nanoseconds(1), l0_slots,
                                         std::chrono::nanoseconds(l1_ticks), l1_slots});
  }

  ///@{
  /// The slots of both levels, the ticks of a level-1 slot, and the units of a tick.
  [[nodiscard]] std::uint64_t l0_slots() const noexcept { return l0_slots_; }
  [[nodiscard]] std::uint64_t l1_slots() const noexcept { return l1_slots_; }
  [[nodiscard]] std::uint64_t l1_ticks() const noexcept { return l1_ticks_; }
  [[nodiscard]] std::uint64_t granularity() const noexcept { return l0_units_.value(); }
  ///@}

  ///@{
  /// Time in units, in whole level-0 and level-1 ticks.
  [[nodiscard]] std::uint64_t to_ticks(std::uint64_t units) const noexcept {
    return l0_units_.divide(units);
  }
  [[nodiscard]] std::uint64_t to_l1_ticks(std::uint64_t units) const noexcept {
    return l1_units_.divide(units);
  }
  ///@}

private:
  // The problem is looked for before anything divides by a field.
  dynamic_geometry(errc problem, const wheel_config& config)
      : l0_slots_{config.l0_slots}, l1_slots_{config.l1_slots} {
    if (problem != errc{})
      detail::throw_error(problem, detail::field_and_value(problem, config));
    l0_units_ = detail::divisor(static_cast<std::uint64_t>(config.l0_tick.count()));
    l1_units_ = detail::divisor(static_cast<std::uint64_t>(config.l1_tick.count()));
    l1_ticks_ = static_cast<std::uint64_t>(config.l1_tick / config.l0_tick);
  }

  std::uint64_t l0_slots_;
  std::uint64_t l1_slots_;
  std::uint64_t l1_ticks_ = 1;
  detail::divisor l0_units_{1};
  detail::divisor l1_units_{1};
};

KESTREL_END_NAMESPACE

#endif // KESTREL_WHEEL_CONFIG_HPP
