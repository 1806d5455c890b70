// SPDX-License-Identifier: MIT
//
// Long delays: turns of level 1, years, the end of time, and wheels whose time starts near the ends
// of the number ranges.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <random>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {
constexpr tick turn = 6400; // 64 s in ticks of 10 ms
constexpr tick never = kestrel::wheel<int>::never;
constexpr tick latest = never - 1;
} // namespace

TEST_CASE("Whole turns of level 1, and a tick less or more, from every phase", "[wheel][long]") {
  const tick k = GENERATE(1u, 2u, 3u, 64u, 1000u);
  // 37 shares no factor with 6400, so that all residues of both levels are met.
  std::size_t wrong = 0;
  for (tick phase = 0; phase < turn; phase += k == 1 ? 1 : 37) {
    kestrel::wheel<int> wheel(kestrel::static_geometry<>(), phase);
    wheel.insert(k * turn - 1, 0);
    wheel.insert(k * turn, 1);
    wheel.insert(k * turn + 1, 2);
    const tick due = phase + k * turn;
    wrong +=
        fired_in(wheel, k * turn + 1) == firings{{0, due - 1}, {1, due}, {2, due + 1}} ? 0u : 1u;
  }
  CHECK(wrong == 0);
}

TEST_CASE("Years and decades are exact", "[wheel][long]") {
  const tick delay = GENERATE((tick{1} << 32) - 1, tick{1} << 32, (tick{1} << 38) + 700,
                              tick{315'360'000'000}, (tick{1} << 62) + 1);
  kestrel::wheel<int> wheel(kestrel::static_geometry<>(), 77);
  wheel.insert(delay, 1);
  wheel.insert(delay, 2);
  CHECK(fired_in(wheel, delay - 1).empty());
  CHECK(fired_in(wheel, 1) == firings{{1, 77 + delay}, {2, 77 + delay}});
}

TEST_CASE("A delay beyond the end of time saturates", "[wheel][long]") {
  const tick delay = GENERATE(as<tick>{}, never, never - 1, never - 1000);
  kestrel::wheel<int> wheel;
  fired_in(wheel, 1000);
  const kestrel::timer_id id = wheel.insert(delay, 1);
  CHECK(wheel.expiry(id) == latest);
  CHECK(wheel.next_expiry() <= latest);
  CHECK(wheel.check_invariants());
  CHECK(fired_until(wheel, tick{1} << 63).empty());
  CHECK(wheel.size() == 1);
  CHECK(fired_until(wheel, latest - 1).empty());
  CHECK(fired_until(wheel, latest) == firings{{1, latest}});
  CHECK(wheel.empty());
}

TEST_CASE("Postponing to the end of time saturates and can be taken back", "[wheel][long]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(50, 1);
  wheel.postpone(id, never);
  CHECK(wheel.expiry(id) == latest);
  CHECK(fired_in(wheel, 1'000'000).empty());
  wheel.postpone(id, 10);
  CHECK(fired_in(wheel, 10) == firings{{1, 1'000'010}});
}

TEST_CASE("An advance by the largest number ends at the end of time", "[wheel][long]") {
  kestrel::wheel<int> wheel;
  wheel.insert(5, 1);
  wheel.insert(never, 2);
  std::vector<int> fired;
  wheel.advance(never, [&](kestrel::timer_id, int payload) { fired.push_back(payload); });
  CHECK(fired == std::vector{1, 2});
  CHECK(wheel.now() == never);
  CHECK(wheel.empty());
}

TEST_CASE("A wheel may start anywhere in time", "[wheel][long]") {
  const tick start = GENERATE((tick{1} << 32) - 300, (tick{1} << 63) - 300, never - 20'000);
  const tick phase = GENERATE(0u, 1u, 99u, 250u, 511u);
  kestrel::wheel<int> wheel(kestrel::static_geometry<>(), start + phase);
  CHECK(wheel.now() == start + phase);
  firings expected;
  int next = 0;
  for (const tick delay : {1u, 299u, 300u, 511u, 512u, 599u, 6399u, 6400u, 6401u, 12'800u}) {
    wheel.insert(delay, next);
    expected.push_back({next++, start + phase + delay});
  }
  CHECK(wheel.next_expiry() == start + phase + 1);
  CHECK(fired_in(wheel, 15'000) == expected);
}

TEST_CASE("A wheel at the very end of time still fires and cancels", "[wheel][long]") {
  const tick left = GENERATE(1u, 2u, 99u, 100u, 101u, 511u, 512u, 513u, 700u);
  kestrel::wheel<int> wheel(kestrel::static_geometry<>(), latest - left);
  const kestrel::timer_id cancelled = wheel.insert(left, 0);
  wheel.insert(left, 1);
  wheel.insert(left + 1, 2);
  wheel.insert(never, 3);
  wheel.insert(1, 4);
  CHECK(wheel.check_invariants());
  CHECK(wheel.cancel(cancelled));
  const std::vector<int> fired = payloads_until(wheel, latest);
  CHECK(fired == (left == 1 ? std::vector{1, 2, 3, 4} : std::vector{4, 1, 2, 3}));
  wheel.insert(1, 5);
  CHECK(payloads_until(wheel, latest) == std::vector{5});
  CHECK(wheel.check_invariants());
}

TEST_CASE("The next expiry is after now and never too late, after any history", "[wheel][long]") {
  kestrel::wheel<int> wheel;
  std::vector<std::pair<kestrel::timer_id, tick>> pending;
  std::mt19937_64 random;
  std::size_t wrong = 0;
  for (int i = 0; i != 20'000; ++i) {
    const tick delay = random() % 3 == 0 ? random() % 40'000 + 1 : random() % 300 + 1;
    if (random() % 3 != 0 || pending.empty()) {
      pending.emplace_back(wheel.insert(delay, i), wheel.now() + delay);
    } else {
      const std::size_t chosen = random() % pending.size();
      if (random() % 2 == 0) {
        wheel.cancel(pending[chosen].first);
        pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(chosen));
      } else {
        wheel.postpone(pending[chosen].first, delay);
        pending[chosen].second = wheel.now() + delay;
      }
    }
    if (pending.size() > 40 || random() % 10 == 0)
      fired_in(wheel, random() % 2'000);
    std::erase_if(pending, [&](const auto& p) { return p.second <= wheel.now(); });
    const std::optional<tick> next = wheel.next_expiry();
    wrong += next.has_value() == !pending.empty() ? 0u : 1u;
    wrong += !next || *next > wheel.now() ? 0u : 1u;
    for (const auto& p : pending)
      wrong += next <= p.second ? 0u : 1u;
  }
  CHECK(wrong == 0);
}

TEST_CASE("A timer an hour away wakes its owner twice", "[wheel][long]") {
  kestrel::wheel<int> wheel;
  wheel.insert(360'000, 1);
  int wakes = 0;
  for (; const std::optional<tick> next = wheel.next_expiry(); ++wakes)
    fired_until(wheel, *next);
  CHECK(wheel.now() == 360'000);
  CHECK(wakes == 2); // when its slot comes down from level 1, and when it is due
}
