// SPDX-License-Identifier: MIT
//
// Where a timer lands: every delay from every phase fires on its own tick, on the seams between
// slots and levels too.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <algorithm>
#include <vector>

using namespace kestrel_tests;

namespace {

// One timer of each delay up to `delays`, from every phase up to `phases`; returns how many did not
// fire exactly on their tick.
template <class Geometry>
std::size_t misplaced(tick phases, tick delays) {
  std::size_t wrong = 0;
  for (tick phase = 0; phase != phases; ++phase) {
    kestrel::wheel<tick, Geometry> wheel;
    wheel.advance(phase, [](kestrel::timer_id, tick) {});
    for (tick delay = 1; delay <= delays; ++delay)
      wheel.insert(delay, phase + delay);
    tick expected = phase;
    wheel.advance(2 * delays, [&](kestrel::timer_id, tick due) {
      ++expected;
      wrong += due == expected && wheel.now() == due ? 0u : 1u;
    });
    wrong += static_cast<std::size_t>(phase + delays - expected) + wheel.size();
  }
  return wrong;
}

} // namespace

TEST_CASE("The first timer ever fires on its tick", "[wheel][placement]") {
  const tick delay = GENERATE(1u, 2u, 99u, 100u, 499u, 500u, 511u, 512u, 513u, 6399u, 6400u, 6401u);
  kestrel::wheel<int> wheel;
  wheel.insert(delay, 1);
  CHECK(fired_in(wheel, delay - 1).empty());
  CHECK(fired_in(wheel, 1) == firings{{1, delay}});
  CHECK(wheel.empty());
}

TEST_CASE("A delay counts from now, and a delay of zero is one tick", "[wheel][placement]") {
  kestrel::wheel<int> wheel;
  fired_in(wheel, 41);
  const kestrel::timer_id zero = wheel.insert(0, 0);
  const kestrel::timer_id one = wheel.insert(1, 1);
  CHECK(wheel.expiry(zero) == 42u);
  CHECK(wheel.expiry(one) == 42u);
  CHECK(fired_in(wheel, 0).empty());
  CHECK(fired_in(wheel, 1) == firings{{0, 42}, {1, 42}});
}

TEST_CASE("What is scheduled for the past is due at once", "[wheel][placement]") {
  kestrel::wheel<int> wheel;
  fired_in(wheel, 1000);
  const kestrel::timer_id past = wheel.insert_at(3, 1);
  wheel.insert_at(1000, 2);
  wheel.insert_at(0, 3);
  CHECK(wheel.expiry(past) == 3u);
  CHECK(fired_in(wheel, 0) == firings{{1, 1000}, {2, 1000}, {3, 1000}});
}

TEST_CASE("Every delay fires on its tick, from every phase of both levels", "[wheel][placement]") {
  CHECK(misplaced<kestrel::static_geometry<>>(613, 700) == 0);
}

TEMPLATE_TEST_CASE("Small geometries place timers as exactly as large ones", "[wheel][placement]",
                   (kestrel::static_geometry<1, 1, 1>), (kestrel::static_geometry<2, 1, 1>),
                   (kestrel::static_geometry<4, 1, 4>), (kestrel::static_geometry<4, 2, 1>),
                   (kestrel::static_geometry<4, 2, 4>), (kestrel::static_geometry<4, 4, 2>),
                   (kestrel::static_geometry<8, 2, 3>), (kestrel::static_geometry<128, 2, 100>)) {
  CHECK(misplaced<TestType>(70, 150) == 0);
}

TEST_CASE("The largest geometry works", "[wheel][placement]") {
  kestrel::wheel<int, kestrel::dynamic_geometry> wheel(
      kestrel::dynamic_geometry::in_ticks(1u << 20, 1u << 20, 1 << 20));
  const tick far = tick{1} << 40;
  wheel.insert(far + 1, 3);
  wheel.insert(far, 2);
  wheel.insert((tick{1} << 20) + 1, 1);
  wheel.insert((tick{1} << 20) - 1, 0);
  CHECK(fired_in(wheel, far + 1) ==
        firings{{0, (tick{1} << 20) - 1}, {1, (tick{1} << 20) + 1}, {2, far}, {3, far + 1}});
}

TEST_CASE("A timer may be due exactly where a level wraps", "[wheel][placement]") {
  const tick seam = GENERATE(100u, 500u, 512u, 600u, 1024u, 6400u, 12800u);
  const tick lead = GENERATE(2u, 3u, 99u, 100u);
  kestrel::wheel<int> wheel;
  fired_in(wheel, seam - lead);
  wheel.insert_at(seam + 1, 3);
  wheel.insert_at(seam, 2);
  wheel.insert_at(seam - 1, 1);
  CHECK(payloads_until(wheel, seam) == std::vector{1, 2});
  CHECK(fired_in(wheel, 1) == firings{{3, seam + 1}});
}

TEST_CASE("A timer that is due before the next event moves that event forward",
          "[wheel][placement]") {
  kestrel::wheel<int> wheel;
  wheel.insert(400, 4);
  CHECK(wheel.next_expiry() == 400u);
  wheel.insert(40, 3);
  CHECK(wheel.next_expiry() == 40u);
  wheel.insert(4, 2);
  CHECK(wheel.next_expiry() == 4u);
  wheel.insert(1, 1);
  CHECK(wheel.next_expiry() == 1u);
  CHECK(payloads_until(wheel, 400) == std::vector{1, 2, 3, 4});
}

TEST_CASE("A wheel that idled for long is as exact as a new one", "[wheel][placement]") {
  kestrel::wheel<int> wheel;
  CHECK(wheel.next_expiry() == std::nullopt);
  fired_in(wheel, 360'037);
  wheel.insert(1, 1);
  CHECK(wheel.next_expiry() == 360'038u);
  CHECK(fired_in(wheel, 1) == firings{{1, 360'038}});
  CHECK(wheel.next_expiry() == std::nullopt);
}

TEST_CASE("A geometry chosen at run time behaves like the same one at compile time",
          "[wheel][placement]") {
  kestrel::wheel<int> fixed;
  kestrel::wheel<int, kestrel::dynamic_geometry> chosen(
      kestrel::dynamic_geometry::in_ticks(512, 64, 100));
  for (int i = 0; i != 2'000; ++i) {
    const tick delay = static_cast<tick>(i) * 7919 % 9001;
    fixed.insert(delay, i);
    chosen.insert(delay, i);
  }
  CHECK(fired_in(fixed, 10'000) == fired_in(chosen, 10'000));
}
