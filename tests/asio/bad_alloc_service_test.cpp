// SPDX-License-Identifier: MIT
//
// Whichever allocation fails in whichever operation of a timer_service, it is as if the operation
// had not been tried.

#include "shortage.hpp"

#include <kestrel/timer_service.hpp>

#include <tuple>
#include <utility>
#include <vector>

#include <catch.hpp>

using namespace kestrel_tests;

namespace {

/// Whose notifications a consumer notes.
struct service_scene : scene {
  explicit service_scene(int others) : scene(others) {
    own = service.schedule_after(100ms, note(11));
    own_periodic = service.schedule_every(200ms, 900ms, note(12));
    ids.insert(ids.end(), {own, own_periodic});
    receive();
    settle(io);
  }

  void receive() {
    service.async_receive([this](asio::error_code ec, kestrel::timer_notification n) {
      if (ec)
        return;
      note(100 + static_cast<int>(n.count))();
      receive();
    });
  }

  [[nodiscard]] view look() {
    view v = scene::look();
    v.size += 10'000 * service.size();
    return v;
  }

  kestrel::basic_timer_service<manual_clock> service{wheel, {.capacity = 4}};
  kestrel::timer_id own;
  kestrel::timer_id own_periodic;
};

} // namespace

TEMPLATE_TEST_CASE("What a service cannot do for want of memory it has not tried",
                   "[memory][exceptions][service]", owning, bulky, with_slot) {
  const auto each = [](auto operation) {
    return whichever_allocation_fails<service_scene>(operation);
  };
  SECTION("scheduling after a delay") {
    CHECK(each([](service_scene& s) { s.service.schedule_after(15ms, TestType::of(s, 5)); }) > 0);
  }
  SECTION("scheduling at a time") {
    CHECK(each([](service_scene& s) {
            s.service.schedule_at(manual_clock::start + 15ms, TestType::of(s, 5));
          }) > 0);
  }
  SECTION("scheduling periodically") {
    CHECK(each([](service_scene& s) {
            s.service.schedule_every(15ms, 700ms, TestType::of(s, 5));
          }) > 0);
  }
  SECTION("scheduling a task") {
    CHECK(each([](service_scene& s) {
            s.service.schedule(kestrel::timer_task::one_shot(15ms, TestType::of(s, 5)));
          }) > 0);
  }
  SECTION("scheduling a task in a slot") {
    CHECK(each([](service_scene& s) {
            s.service.schedule(s.service.allocate(),
                               kestrel::timer_task::one_shot(15ms, TestType::of(s, 5)));
          }) > 0);
  }
  SECTION("scheduling a batch") {
    CHECK(each([](service_scene& s) { s.service.schedule(tasks_of<TestType>(s)); }) > 0);
  }
  SECTION("scheduling a batch in slots") {
    CHECK(each([](service_scene& s) {
            auto tasks = tasks_of<TestType>(s);
            s.service.schedule(s.service.allocate(tasks.size()), tasks);
          }) > 0);
  }
  SECTION("replacing several callbacks") {
    using callable = decltype(TestType::of(std::declval<scene&>(), 5));
    each([](service_scene& s) {
      std::vector<std::tuple<kestrel::timer_id, manual_clock::duration, callable>> moves;
      moves.emplace_back(s.own, 15ms, TestType::of(s, 5));
      moves.emplace_back(s.own_periodic, 25ms, TestType::of(s, 6));
      s.service.postpone(std::move(moves));
    });
  }
  SECTION("replacing a callback") {
    each([](service_scene& s) { s.service.postpone(s.own, 15ms, TestType::of(s, 5)); });
  }
}

TEST_CASE("What a service cannot postpone, cancel or receive for want of memory it has not tried",
          "[memory][exceptions][service]") {
  const auto each = [](auto operation) {
    return whichever_allocation_fails<service_scene>(operation);
  };
  SECTION("postponing") {
    each([](service_scene& s) { s.service.postpone(s.own_periodic, 15ms); });
  }
  SECTION("postponing several") {
    CHECK(each([](service_scene& s) {
            s.service.postpone({{s.own, 15ms}, {s.own_periodic, 1500ms}});
          }) > 0);
  }
  SECTION("cancelling one needs none") {
    CHECK(each([](service_scene& s) { s.service.cancel(s.own); }) == 0);
  }
  SECTION("cancelling several") {
    CHECK(each([](service_scene& s) { s.service.cancel({s.own, s.own_periodic}); }) > 0);
  }
  SECTION("receiving") {
    CHECK(each([](service_scene& s) {
            s.service.async_receive([n = s.note(8)](auto, auto) mutable { n(); });
          }) > 0);
  }
  SECTION("looking for a notification needs none") {
    CHECK(each([](service_scene& s) {
            with_memory([&] { stall(s.io, 100ms); });
            static_cast<void>(s.service.try_receive());
          }) == 0);
  }
  SECTION("shutting down needs none, and ends the waits of consumers") {
    CHECK(each([](service_scene& s) { s.service.shutdown(); }) == 0);
  }
  SECTION("another service") {
    CHECK(each([](service_scene& s) {
            kestrel::basic_timer_service<manual_clock> other{s.wheel};
            with_memory([&] { other.schedule_after(15ms, s.note(8)); });
          }) > 0);
  }
}
