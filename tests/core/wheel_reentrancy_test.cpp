// SPDX-License-Identifier: MIT
//
// From inside a callback, and from inside a payload's destructor, everything may be called.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <array>
#include <functional>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {

// Three timers of one tick and one of the next; `inside` runs in the first one's callback.
template <class F>
std::vector<int> fired_around(F&& inside) {
  kestrel::wheel<int> wheel;
  std::array<kestrel::timer_id, 4> ids;
  for (std::size_t i = 0; i != 3; ++i)
    ids[i] = wheel.insert(10, static_cast<int>(i));
  ids[3] = wheel.insert(11, 3);
  std::vector<int> fired;
  const auto record = [&](kestrel::timer_id, int payload) {
    fired.push_back(payload);
    if (payload == 0)
      inside(wheel, ids, fired);
  };
  wheel.advance(10, record);
  CHECK(wheel.check_invariants());
  fired.push_back(-1); // the end of the first advance
  wheel.advance(100'000, record);
  CHECK(wheel.empty());
  CHECK(wheel.check_invariants());
  return fired;
}

using ids4 = std::array<kestrel::timer_id, 4>;
using int_wheel = kestrel::wheel<int>;
using log_of = std::vector<int>;

} // namespace

TEST_CASE("What a callback schedules for its own tick runs in the same advance, last",
          "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4&, log_of&) { wheel.insert_at(10, 7); }) ==
        log_of{0, 1, 2, 7, -1, 3});
}

TEST_CASE("What a callback schedules for the past runs in the same advance too",
          "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4&, log_of&) { wheel.insert_at(1, 7); }) ==
        log_of{0, 1, 2, 7, -1, 3});
}

TEST_CASE("What a callback schedules for later waits", "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4&, log_of&) {
          wheel.insert(1, 7);
          wheel.insert(0, 8);
        }) == log_of{0, 1, 2, -1, 3, 7, 8});
}

TEST_CASE("A callback may schedule into the slot that is being fired, a whole wheel later",
          "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4&, log_of&) {
          wheel.insert(512, 7);
          wheel.insert(6400, 8);
        }) == log_of{0, 1, 2, -1, 3, 7, 8});
}

TEST_CASE("A callback cannot cancel or postpone its own timer: it has started",
          "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4& ids, log_of&) {
          CHECK_FALSE(wheel.cancel(ids[0]));
          CHECK_FALSE(wheel.postpone(ids[0], 5));
          CHECK(wheel.get(ids[0]) == nullptr);
          CHECK(wheel.expiry(ids[0]) == std::nullopt);
          CHECK(wheel.size() == 3);
        }) == log_of{0, 1, 2, -1, 3});
}

TEST_CASE("A callback may cancel a timer of the same tick", "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4& ids, log_of&) {
          CHECK(wheel.cancel(ids[1]));
          CHECK_FALSE(wheel.cancel(ids[1]));
        }) == log_of{0, 2, -1, 3});
}

TEST_CASE("A slot that is cancelled and used again inside a callback fires only its new timer",
          "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4& ids, log_of&) {
          CHECK(wheel.cancel(ids[1]));
          const kestrel::timer_id again = wheel.insert_at(10, 7);
          CHECK(again.index() == ids[1].index());
          CHECK(wheel.cancel(ids[2]));
          wheel.insert(5, 8);
        }) == log_of{0, 7, -1, 3, 8});
}

TEST_CASE("A callback may postpone a timer of the same tick to later", "[wheel][reentrancy]") {
  const tick delay = GENERATE(1u, 512u, 6400u);
  CHECK(fired_around([&](int_wheel& wheel, ids4& ids, log_of&) {
          CHECK(wheel.postpone(ids[1], delay));
        }) == (log_of{0, 2, -1, 3, 1}));
}

TEST_CASE("A callback may postpone a timer of the same tick to earlier: it is due all the same",
          "[wheel][reentrancy]") {
  const std::vector<int> fired = fired_around([](int_wheel& wheel, ids4& ids, log_of&) {
    CHECK(wheel.postpone_at(ids[1], 2));
    CHECK(wheel.postpone_at(ids[3], 2));
  });
  REQUIRE(fired.size() == 5);
  CHECK(fired[0] == 0);
  CHECK(fired.back() == -1); // all of them in the first advance, each once
  CHECK(std::vector<int>(fired.begin() + 1, fired.begin() + 2) == std::vector{2});
}

TEST_CASE("A callback may move a timer of the same tick away and back", "[wheel][reentrancy]") {
  const std::vector<int> fired = fired_around([](int_wheel& wheel, ids4& ids, log_of&) {
    CHECK(wheel.postpone_at(ids[1], 20'000));
    CHECK(wheel.postpone_at(ids[1], 600));
    CHECK(wheel.postpone_at(ids[1], 10));
  });
  CHECK(fired == log_of{0, 2, 1, -1, 3});
}

TEST_CASE("A callback may clear the wheel", "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4&, log_of&) {
          wheel.clear();
          CHECK(wheel.empty());
          wheel.insert(3, 7);
        }) == log_of{0, -1, 7});
}

TEST_CASE("A callback may advance the wheel itself", "[wheel][reentrancy]") {
  CHECK(fired_around([](int_wheel& wheel, ids4&, log_of& fired) {
          wheel.insert(40, 7);
          wheel.advance(20, [&](kestrel::timer_id, int payload) { fired.push_back(payload + 10); });
          CHECK(wheel.now() == 30);
        }) == log_of{0, 11, 12, 13, -1, 7});
}

TEST_CASE("A callback may reserve, and schedule more than the wheel ever held",
          "[wheel][reentrancy]") {
  kestrel::wheel<int> wheel;
  int fired = 0;
  wheel.insert(1, 0);
  wheel.insert(1, 1);
  wheel.advance(3, [&](kestrel::timer_id, const int& payload) {
    ++fired;
    if (payload != 0)
      return;
    const int* address = &payload;
    wheel.reserve(20'000);
    for (int i = 1; i <= 20'000; ++i)
      wheel.insert(1, i);
    CHECK(&payload == address);
    CHECK(payload == 0);
  });
  CHECK(fired == 20'002);
}

namespace {

// A payload whose destructor does something to the wheel.
class on_destruction {
public:
  explicit on_destruction(std::function<void()> f) : f_(std::move(f)) {}
  on_destruction(on_destruction&& other) noexcept : f_(std::exchange(other.f_, nullptr)) {}
  on_destruction& operator=(on_destruction&&) = delete;
  ~on_destruction() {
    if (f_)
      f_();
  }

private:
  std::function<void()> f_;
};

struct destructor_fixture {
  // Where the destructors find them: everything they may touch outlives the wheel.
  std::vector<kestrel::timer_id> ids;
  int destroyed = 0;
  int fired = 0;
  kestrel::wheel<on_destruction> wheel;

  void fire(tick n) {
    wheel.advance(n, [&](kestrel::timer_id, on_destruction&) { ++fired; });
  }
};

} // namespace

TEST_CASE("A payload's destructor may schedule when its timer is cancelled",
          "[wheel][reentrancy]") {
  destructor_fixture t;
  t.ids.push_back(t.wheel.insert(5, on_destruction([&] {
                                   ++t.destroyed;
                                   t.ids.push_back(
                                       t.wheel.insert(5, on_destruction([&] { ++t.destroyed; })));
                                 })));
  CHECK(t.wheel.cancel(t.ids[0]));
  CHECK(t.destroyed == 1);
  REQUIRE(t.ids.size() == 2);
  CHECK(t.ids[1] != t.ids[0]);
  CHECK(t.wheel.size() == 1);
  CHECK(t.wheel.check_invariants());
  t.fire(5);
  CHECK(t.fired == 1);
  CHECK(t.destroyed == 2);
}

TEST_CASE("A payload's destructor may cancel, postpone and schedule after its callback",
          "[wheel][reentrancy]") {
  destructor_fixture t;
  t.ids.push_back(t.wheel.insert(5, on_destruction([&] {
                                   ++t.destroyed;
                                   CHECK_FALSE(t.wheel.cancel(t.ids[0]));
                                   CHECK(t.wheel.cancel(t.ids[1]));
                                   CHECK(t.wheel.postpone(t.ids[2], 100));
                                   t.wheel.insert(1, on_destruction([&] { ++t.destroyed; }));
                                 })));
  for (int i = 0; i != 3; ++i)
    t.ids.push_back(t.wheel.insert(5, on_destruction([&] { ++t.destroyed; })));
  t.fire(5);
  CHECK(t.fired == 2);
  CHECK(t.destroyed == 3);
  CHECK(t.wheel.size() == 2);
  CHECK(t.wheel.check_invariants());
  t.fire(100);
  CHECK(t.fired == 4);
  CHECK(t.destroyed == 5);
}

TEST_CASE("A payload's destructor may advance the wheel", "[wheel][reentrancy]") {
  destructor_fixture t;
  t.wheel.insert(5, on_destruction([&] { t.fire(50); }));
  t.wheel.insert(5, on_destruction([&] { ++t.destroyed; }));
  t.wheel.insert(50, on_destruction([&] { ++t.destroyed; }));
  t.fire(5);
  CHECK(t.fired == 3);
  CHECK(t.destroyed == 2);
  CHECK(t.wheel.now() == 55);
  CHECK(t.wheel.check_invariants());
}

TEST_CASE("Destructors that cancel each other while the wheel is cleared run once each",
          "[wheel][reentrancy]") {
  destructor_fixture t;
  for (std::size_t i = 0; i != 100; ++i) {
    t.ids.push_back(t.wheel.insert(5 + i * 40, on_destruction([&t, i] {
                                     ++t.destroyed;
                                     t.wheel.cancel(t.ids[(i * 37 + 11) % 100]);
                                     t.wheel.clear();
                                   })));
  }
  t.wheel.clear();
  CHECK(t.destroyed == 100);
  CHECK(t.wheel.empty());
  CHECK(t.wheel.check_invariants());
}

TEST_CASE("Destructors may cancel their siblings while the wheel is destroyed",
          "[wheel][reentrancy]") {
  std::vector<kestrel::timer_id> ids;
  int destroyed = 0;
  {
    kestrel::wheel<on_destruction> wheel;
    for (std::size_t i = 0; i != 100; ++i) {
      ids.push_back(wheel.insert(5 + i * 40, on_destruction([&, i] {
                                   ++destroyed;
                                   wheel.cancel(ids[(i * 37 + 11) % 100]);
                                 })));
    }
  }
  CHECK(destroyed == 100);
}
